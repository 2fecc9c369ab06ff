"""LSH: the sides of random hyperplanes.

Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002: two
vectors differ in a bit with the probability of their angle over pi.
"""

from dnnh.baselines.base import Hasher


class LSH(Hasher):
    """Random hyperplanes through the mean of the samples."""

    name = "LSH"

    def _fit(self, x, labels, rng):
        self.normals = rng.standard_normal((x.shape[1], self.bits))

    def _project(self, x):
        return x @ self.normals

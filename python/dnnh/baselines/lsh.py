"""LSH: the sides of random hyperplanes.

Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002: two
vectors differ in a bit with the probability of their angle over pi.
"""

from typing import Any

import numpy as np

from dnnh.baselines.base import Floats, Hasher


class LSH(Hasher):
    """Random hyperplanes through the mean of the samples."""

    name = "lsh"
    learned = ("normals",)

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        self.normals = rng.standard_normal((x.shape[1], self.bits))

    def _project(self, x: Floats) -> Floats:
        return x @ self.normals

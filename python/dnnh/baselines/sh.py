"""SH: spectral hashing.

Weiss, Torralba, Fergus, "Spectral hashing", NIPS 2008: the samples are assumed to be
uniform in a box along their principal directions, whose Laplacian has eigenfunctions
in closed form; the smoothest q of them are thresholded at 0.
"""

from typing import Any

import numpy as np

from dnnh.baselines.base import Floats, Hasher, principal_directions


class SH(Hasher):
    """Spectral hashing with the single-dimension eigenfunctions of the authors' code."""

    name = "sh"
    learned = ("directions", "low", "axes", "frequencies")

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        self.directions = principal_directions(x, min(self.bits, x.shape[1]))
        along = x @ self.directions  # (n, p)
        self.low = along.min(axis=0)
        length = along.max(axis=0) - self.low
        # The k-th function along a side of length l has the frequency k pi / l.
        frequencies = np.pi * np.arange(1, self.bits + 1)[:, np.newaxis] / length
        smoothest = np.argsort(frequencies, axis=None, kind="stable")[: self.bits]
        _, self.axes = np.unravel_index(smoothest, frequencies.shape)
        self.frequencies = frequencies.ravel()[smoothest]  # (q,)

    def _project(self, x: Floats) -> Floats:
        along = (x @ self.directions - self.low)[:, self.axes]  # (n, q)
        return np.sin(np.pi / 2 + self.frequencies * along)

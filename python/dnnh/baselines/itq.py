"""ITQ and ITQ-CCA: projections, rotated so that quantization loses little.

Gong, Lazebnik, "Iterative quantization: a Procrustean approach to learning binary
codes", CVPR 2011.
"""

from typing import Any

import numpy as np
import scipy.linalg

from dnnh.baselines.base import Floats, Hasher, one_hot, principal_directions

ROTATIONS = 50  # their section 2.2
REGULARIZATION = 1e-4  # their code, of both covariances of the CCA


def rotate(
    projected: Floats, rng: np.random.Generator, losses: list[float] | None = None
) -> Floats:
    """The rotation that brings projections close to the corners of a cube.

    Minimizes |sign(V R) - V R|^2 in turn over the signs and over R (their eq. 2).

    Parameters
    ----------
    projected : float64 array of shape (n, q)
        V.
    losses : list, optional
        The loss after each iteration is appended.

    Returns
    -------
    float64 array of shape (q, q), orthogonal
    """
    q = projected.shape[1]
    rotation, _ = np.linalg.qr(rng.standard_normal((q, q)))
    for _ in range(ROTATIONS):
        signs = np.where(projected @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(projected.T @ signs)
        rotation = left @ right
        if losses is not None:
            losses.append(float(np.sum((signs - projected @ rotation) ** 2)))
    return rotation


class ITQ(Hasher):
    """Principal directions, rotated."""

    name = "itq"
    learned = ("projection",)

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        directions = principal_directions(x, self.bits)
        self.projection = directions @ rotate(x @ directions, rng)

    def _project(self, x: Floats) -> Floats:
        return x @ self.projection


class ITQCCA(Hasher):
    """The directions most correlated with the labels, weighted by the correlation,
    rotated.

    c classes have at most c - 1 such directions. Longer codes are those coordinates and
    zeros, rotated together: more hyperplanes in the same space.
    """

    name = "itq_cca"
    learned = ("projection",)
    supervised = True

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        y = one_hot(labels)
        y -= y.mean(axis=0)
        within = x.T @ x / len(x) + REGULARIZATION * np.eye(x.shape[1])
        labels_within = y.T @ y / len(y) + REGULARIZATION * np.eye(y.shape[1])
        between = x.T @ y / len(x)
        explained = between @ np.linalg.solve(labels_within, between.T)
        squares, directions = scipy.linalg.eigh(explained, within)
        count = min(self.bits, np.linalg.matrix_rank(y), x.shape[1])
        correlations = np.sqrt(np.clip(squares[::-1][:count], 0, 1))
        directions = directions[:, ::-1][:, :count] * correlations
        padded = np.zeros((x.shape[1], self.bits))
        padded[:, :count] = directions
        self.projection = padded @ rotate(x @ padded, rng)

    def _project(self, x: Floats) -> Floats:
        return x @ self.projection

"""KSH: supervised hashing with kernels.

Liu, Wang, Ji, Jiang, Chang, "Supervised hashing with kernels", CVPR 2012.
"""

from typing import Any

import numpy as np
import scipy.linalg
from scipy.special import expit

from dnnh.baselines.base import Anchors, Floats, Hasher, Similarities, signs

ANCHORS = 300  # their section 4
STEPS = 500  # of the accelerated gradient, as in their code
SPREAD = 5  # of the values at its start: near 6 their y is almost a sign


class KSH(Hasher):
    """Bits one by one, each fitted to the residual of the similarities.

    Attributes
    ----------
    objectives : list of float
        |q S - sum of b b^T|^2 / n^2 after each bit (their eq. 8), with S the similarities
        and b the bits so far, both 1 or -1.
    """

    name = "ksh"
    learned = ("kernel", "weights")
    supervised = True

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        self.kernel = Anchors(x, ANCHORS, rng, self.name)
        k = self.kernel(x)  # (n, m)
        residual = _Residual(Similarities(labels), self.bits)
        gram = k.T @ k
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        self.weights = np.empty((k.shape[1], self.bits))
        self.objectives = []
        for bit in range(self.bits):
            start = _spectral(k, gram, residual)
            smoothed = _smoothed(k, residual, start)
            best = start
            if residual.agreement(signs(k @ smoothed)) > residual.agreement(signs(k @ start)):
                best = smoothed
            self.weights[:, bit] = best
            residual.subtract(signs(k @ best))
            self.objectives.append(residual.square() / len(x) ** 2)

    def _project(self, x: Floats) -> Floats:
        return self.kernel(x) @ self.weights


class _Residual:
    """R = q S - B B^T: what the bits B so far leave of the similarities S."""

    def __init__(self, similarities: Similarities, bits: int) -> None:
        self.similarities = similarities
        self.bits = bits
        self.subtracted = np.zeros((len(similarities), 0))  # B

    def __matmul__(self, v: Floats) -> Floats:
        return self.bits * (self.similarities @ v) - self.subtracted @ (self.subtracted.T @ v)

    def agreement(self, y: Floats) -> float:
        """y^T R y"""
        return float(y @ (self @ y))

    def subtract(self, b: Floats) -> None:
        self.subtracted = np.column_stack([self.subtracted, b])

    def square(self) -> float:
        """|R|^2; each entry of S has the square 1."""
        b = self.subtracted
        return float(
            (self.bits * len(b)) ** 2
            + np.sum((b.T @ b) ** 2)
            - 2 * self.bits * np.sum(b * (self.similarities @ b))
        )


def _spectral(k: Floats, gram: Floats, residual: _Residual) -> Floats:
    """The relaxed optimum (their eq. 11), scaled so that its values spread by SPREAD."""
    target = k.T @ (residual @ k)
    _, vectors = scipy.linalg.eigh(
        (target + target.T) / 2, gram, subset_by_index=[len(gram) - 1] * 2
    )
    return vectors[:, 0] * SPREAD * np.sqrt(len(k))


def _smoothed(k: Floats, residual: _Residual, a: Floats) -> Floats:
    """Maximizes y^T R y with y = 2 / (1 + exp(-k a)) - 1 (their eq. 13), by Nesterov's
    accelerated gradient. The step doubles, and halves where the value would not rise."""
    size = len(k)
    momentum, previous, best, step = 1.0, a, a, 1.0
    best_value = residual.agreement(_soft(k @ a))
    for _ in range(STEPS):
        step *= 2
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = best + (momentum - 1) / next_momentum * (best - previous)
        y = _soft(k @ ahead)
        pulled = residual @ y
        gradient = k.T @ (pulled * (1 - y**2)) / size
        value, slope = y @ pulled, gradient @ gradient * size
        while True:
            tried = ahead + step * gradient
            gained = residual.agreement(_soft(k @ tried)) - value
            if gained >= 0.5 * step * slope or step < 1e-12:
                break
            step /= 2
        if value + gained > best_value:
            previous, best, best_value = best, tried, value + gained
            momentum = next_momentum
        elif momentum > 1:
            previous, momentum = best, 1.0  # overshot: restart without momentum
        else:
            break
    return best


def _soft(values: Floats) -> Floats:
    return 2 * expit(values) - 1

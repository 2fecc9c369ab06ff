"""KSH: supervised hashing with kernels.

Liu, Wang, Ji, Jiang, Chang, "Supervised hashing with kernels", CVPR 2012.
"""

import numpy as np
import scipy.linalg
from scipy.special import expit

from dnnh.baselines.base import Anchors, Hasher, Similarities, signs

ANCHORS = 300              # their section 4
STEPS = 500                # of the accelerated gradient, as in their code
SPREAD = 5                 # of the values at its start: near 6 their y is near a sign


class KSH(Hasher):
    """Bits one by one, each fitted to what the ones before leave of the similarities.

    Attributes
    ----------
    objectives : list of float
        |q S - sum of b b^T|^2 / n^2 after each bit (their eq. 8); with S the
        similarities, 1 or -1, and b the bits so far, likewise.
    """

    name = "KSH"
    supervised = True

    def _fit(self, x, labels, rng):
        self.kernel = Anchors(x, ANCHORS, rng, self.name)
        k = self.kernel(x)                                        # (n, m)
        left = _Left(Similarities(labels), self.bits)
        gram = k.T @ k
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        self.weights = np.empty((k.shape[1], self.bits))
        self.objectives = []
        for bit in range(self.bits):
            start = _spectral(k, gram, left)
            smoothed = _smoothed(k, left, start)
            best = max((start, smoothed), key=lambda a: left.agreement(signs(k @ a)))
            self.weights[:, bit] = best
            left.take_away(signs(k @ best))
            self.objectives.append(left.square() / len(x)**2)

    def _project(self, x):
        return self.kernel(x) @ self.weights


class _Left:
    """R = q S - B B^T, what the bits B so far leave of the similarities S."""

    def __init__(self, similarities, bits):
        self.similarities = similarities
        self.bits = bits
        self.taken = np.zeros((len(similarities), 0))

    def __matmul__(self, v):
        return self.bits * (self.similarities @ v) - self.taken @ (self.taken.T @ v)

    def agreement(self, y):
        return float(y @ (self @ y))

    def take_away(self, b):
        self.taken = np.column_stack([self.taken, b])

    def square(self):
        """|R|^2; each entry of S has the square 1."""
        b = self.taken
        return float((self.bits * len(b))**2 + np.sum((b.T @ b)**2)
                     - 2 * self.bits * np.sum(b * (self.similarities @ b)))


def _spectral(k, gram, left):
    """The relaxed optimum (their eq. 11), scaled so that its values spread by SPREAD."""
    target = k.T @ (left @ k)
    _, vectors = scipy.linalg.eigh((target + target.T) / 2, gram,
                                   subset_by_index=[len(gram) - 1] * 2)
    return vectors[:, 0] * SPREAD * np.sqrt(len(k))


def _smoothed(k, left, a):
    """Ascends y^T R y with y = 2 / (1 + exp(-k a)) - 1 (their eq. 13), by Nesterov's
    accelerated gradient. The step doubles, and halves where it would not go up."""
    size = len(k)
    momentum, previous, best, step = 1.0, a, a, 1.0
    best_value = left.agreement(_soft(k @ a))
    for _ in range(STEPS):
        step *= 2
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = best + (momentum - 1) / next_momentum * (best - previous)
        y = _soft(k @ ahead)
        pushed = left @ y
        gradient = k.T @ (pushed * (1 - y**2)) / size
        value, slope = y @ pushed, gradient @ gradient * size
        while True:
            tried = ahead + step * gradient
            gained = left.agreement(_soft(k @ tried)) - value
            if gained >= 0.5 * step * slope or step < 1e-12:
                break
            step /= 2
        if value + gained > best_value:
            previous, best, best_value = best, tried, value + gained
            momentum = next_momentum
        elif momentum > 1:
            previous, momentum = best, 1.0     # it shot past: from here without momentum
        else:
            break
    return best


def _soft(values):
    return 2 * expit(values) - 1

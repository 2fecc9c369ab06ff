"""KSH: supervised hashing with kernels.

Liu, Wang, Ji, Jiang, Chang, "Supervised hashing with kernels", CVPR 2012.
"""

import numpy as np
import scipy.linalg
from scipy.special import expit

from dnnh.baselines.base import Anchors, Hasher, similarity

ANCHORS = 300              # their section 4
STEPS = 500                # of the accelerated gradient, as in their code


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
        left = self.bits * similarity(labels)                     # (n, n), float32
        gram = k.T @ k
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        self.weights = np.empty((k.shape[1], self.bits))
        self.objectives = []
        for bit in range(self.bits):
            start = self._spectral(k, gram, left)
            smoothed = self._smoothed(k, left, start)
            best = max((start, smoothed), key=lambda a: _agreement(_signs(k @ a), left))
            self.weights[:, bit] = best
            signs = _signs(k @ best).astype(np.float32)
            left -= np.outer(signs, signs)
            self.objectives.append(float(np.einsum("ij,ij->", left, left)) / left.size)

    def _spectral(self, k, gram, left):
        """The relaxed optimum (their eq. 11), scaled so that its values spread by 1."""
        target = k.T @ (left @ k.astype(np.float32)).astype(float)
        _, vectors = scipy.linalg.eigh((target + target.T) / 2, gram,
                                       subset_by_index=[len(gram) - 1] * 2)
        return vectors[:, 0] * np.sqrt(len(k))

    def _smoothed(self, k, left, a):
        """Ascends y^T R y with y = 2 / (1 + exp(-k a)) - 1 (their eq. 13), by Nesterov's
        accelerated gradient with a step that halves where it would go down."""
        size = left.shape[0]
        momentum, previous, best = 1.0, a, a
        step = 1.0
        best_value = _agreement(_soft(k @ a), left)
        for _ in range(STEPS):
            next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = best + (momentum - 1) / next_momentum * (best - previous)
            y = _soft(k @ ahead)
            pushed = (left @ y.astype(np.float32)).astype(float)
            gradient = k.T @ (pushed * (1 - y**2)) / size
            value, slope = y @ pushed, gradient @ gradient * size
            while True:
                tried = ahead + step * gradient
                gained = _agreement(_soft(k @ tried), left) - value
                if gained >= 0.5 * step * slope or step < 1e-8:
                    break
                step /= 2
            new_value = value + gained
            if new_value - best_value < 1e-6 * abs(best_value):
                break
            previous, best, best_value, momentum = best, tried, new_value, next_momentum
        return best

    def _project(self, x):
        return self.kernel(x) @ self.weights


def _signs(values):
    return np.where(values > 0, 1.0, -1.0)


def _soft(values):
    return 2 * expit(values) - 1


def _agreement(y, left):
    return float(y @ (left @ y.astype(np.float32)))

"""SDH: supervised discrete hashing.

Shen, Shen, Liu, Shen, "Supervised discrete hashing", CVPR 2015: codes from which a
linear classifier tells the labels, found bit by bit without relaxing them.
"""

import numpy as np

from dnnh.baselines.base import Anchors, Hasher, one_hot

ANCHORS = 1000             # their section 4
ROUNDS = 5                 # their code
RIDGE = 1.0                # lambda, their section 4
FIT = 1e-5                 # nu, their section 4
SWEEPS = 10                # over the bits, at most, in each round


class SDH(Hasher):
    """Codes, classifier and hash functions in turn.

    Attributes
    ----------
    objectives : list of float
        Their eq. 4 after each of the three steps of each round.
    """

    name = "SDH"
    supervised = True

    def _fit(self, x, labels, rng):
        self.kernel = Anchors(x, min(ANCHORS, len(x)), rng, self.name)
        phi = self.kernel(x)                                      # (n, m)
        y = one_hot(labels)                                       # (n, c)
        gram = phi.T @ phi
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        b = np.where(rng.standard_normal((len(x), self.bits)) >= 0, 1.0, -1.0)
        self.objectives = []

        def hash_functions():
            return np.linalg.solve(gram, phi.T @ b)

        p = hash_functions()
        for _ in range(ROUNDS):
            w = np.linalg.solve(b.T @ b + RIDGE * np.eye(self.bits), b.T @ y)   # (q, c)
            self._note(y, b, w, phi, p)
            self._codes(b, w, y @ w.T + FIT * (phi @ p))
            self._note(y, b, w, phi, p)
            p = hash_functions()
            self._note(y, b, w, phi, p)
        self.weights = p

    def _note(self, y, b, w, phi, p):
        self.objectives.append(float(
            np.sum((y - b @ w)**2) + RIDGE * np.sum(w**2) + FIT * np.sum((b - phi @ p)**2)))

    @staticmethod
    def _codes(b, w, pull):
        """Each bit's best value, given the others, over and over (their eq. 10)."""
        for _ in range(SWEEPS):
            before = b.copy()
            for bit in range(b.shape[1]):
                others = b @ (w @ w[bit]) - b[:, bit] * (w[bit] @ w[bit])
                b[:, bit] = np.where(pull[:, bit] - others >= 0, 1.0, -1.0)
            if np.array_equal(before, b):
                break

    def _project(self, x):
        return self.kernel(x) @ self.weights

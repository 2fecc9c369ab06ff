"""SDH: supervised discrete hashing.

Shen, Shen, Liu, Shen, "Supervised discrete hashing", CVPR 2015: codes from which a
linear classifier predicts the labels, optimized bit by bit without relaxation.
"""

from typing import Any

import numpy as np

from dnnh.baselines.base import Anchors, Floats, Hasher, improve_signs, one_hot, signs

ANCHORS = 1000  # their section 4
ROUNDS = 5  # their code
RIDGE = 1.0  # lambda, their section 4
FIT = 1e-5  # nu, their section 4


class SDH(Hasher):
    """Alternates between codes, classifier and hash functions.

    The kernel width is computed from the samples, as in KSH (the authors' demo has a constant
    for its data); hash functions have a bias, as theirs do.

    Attributes
    ----------
    objectives : list of float
        Their eq. 4 after each of the three steps of each round.
    codes : float64 array of shape (n, q)
        The samples' codes, 1 and -1, which the hash functions approximate.
    """

    name = "sdh"
    learned = ("kernel", "weights")
    supervised = True

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        self.kernel = Anchors(x, min(ANCHORS, len(x)), rng, self.name)
        phi = self._mapped(x)  # (n, m + 1)
        y = one_hot(labels)  # (n, c)
        gram = phi.T @ phi
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        b = signs(rng.standard_normal((len(x), self.bits)))
        self.objectives = []

        def hash_functions() -> Floats:
            return np.linalg.solve(gram, phi.T @ b)

        p = hash_functions()
        for _ in range(ROUNDS):
            w = np.linalg.solve(b.T @ b + RIDGE * np.eye(self.bits), b.T @ y)  # (q, c)
            self._note(y, b, w, phi, p)
            improve_signs(b, w, y @ w.T + FIT * (phi @ p))
            self._note(y, b, w, phi, p)
            p = hash_functions()
            self._note(y, b, w, phi, p)
        self.weights, self.codes = p, b

    def _note(self, y: Floats, b: Floats, w: Floats, phi: Floats, p: Floats) -> None:
        self.objectives.append(
            float(
                np.sum((y - b @ w) ** 2) + RIDGE * np.sum(w**2) + FIT * np.sum((b - phi @ p) ** 2)
            )
        )

    def _mapped(self, x: Floats) -> Floats:
        return np.column_stack([self.kernel(x), np.ones(len(x))])

    def _project(self, x: Floats) -> Floats:
        return self._mapped(x) @ self.weights

"""MLH: minimal loss hashing.

Norouzi, Fleet, "Minimal loss hashing for compact binary codes", ICML 2011: hyperplanes
that minimize a bound of a hinge loss of the Hamming distance of pairs, as a structural
support vector machine with latent variables.
"""

import numpy as np

from dnnh import metrics, ranking
from dnnh.baselines.base import Hasher, Similarities, one_hot, signs

DISSIMILAR = 0.5           # lambda: the weight of pairs that are not alike
SHARES = (0.1, 0.2, 0.3, 0.4)    # of q: the radii rho that are tried
HELD_OUT = 5               # one sample in so many chooses rho
PAIRS = 100                # in a mini-batch
RATE, MOMENTUM = 0.1, 0.9
TRIED = 50                 # samples that are looked at for a partner
STEPS = 3000               # mini-batches


class MLH(Hasher):
    """Hyperplanes through the origin of samples brought to length 1, with a bias.

    Attributes
    ----------
    radius : float
        rho, chosen by MAP on held-out training samples; then all are trained on.
    losses : list of float
        Mean loss of the pairs of each mini-batch in the last training.
    """

    name = "MLH"
    supervised = True

    def _fit(self, x, labels, rng):
        x = _on_sphere(x)
        order = rng.permutation(len(x))
        held_out, kept = np.split(order, [len(x) // HELD_OUT])
        if len(np.unique(one_hot(labels)[held_out], axis=0)) < 2:
            kept = held_out = order                   # too few to choose by
        scores = {}
        for share in SHARES:
            radius = max(1.0, share * self.bits)
            w, _ = self._train(x[kept], labels[kept], radius, np.random.default_rng(
                self.seed))
            codes = ranking.pack(x[held_out] @ w > 0)
            scores[radius] = metrics.evaluate(
                codes, codes, labels[held_out], labels[held_out], self.bits,
                same=list(range(len(held_out))))["map"]
        self.radius = max(scores, key=scores.get)
        self.w, self.losses = self._train(x, labels, self.radius, rng)

    def _train(self, x, labels, radius, rng):
        similarities = Similarities(labels)
        distances = np.arange(self.bits + 1)
        # The loss of a pair at each distance: alike, and not alike.
        loss_of = np.stack([DISSIMILAR * np.maximum(radius - distances + 1, 0),
                            np.maximum(distances - radius + 1, 0)])
        w = rng.standard_normal((x.shape[1], self.bits))
        w /= np.linalg.norm(w, axis=0)
        velocity = np.zeros_like(w)
        losses = []
        for step in range(STEPS):
            one, other, alike = _pairs(similarities, rng)
            a, b = x[one] @ w, x[other] @ w                       # (pairs, q)
            losses.append(loss_of[alike, (signs(a) != signs(b)).sum(axis=1)].mean())
            worst_a, worst_b = most_violating(a, b, loss_of[alike])
            velocity = MOMENTUM * velocity + (
                x[one].T @ (signs(a) - worst_a) + x[other].T @ (signs(b) - worst_b)) / PAIRS
            w += RATE * (1 - step / STEPS) * velocity
            w /= np.maximum(np.linalg.norm(w, axis=0), 1)         # |w| of at most 1
        return w, losses

    def _project(self, x):
        return _on_sphere(x) @ self.w


def _on_sphere(x):
    """Samples of length 1, and a 1 for the bias."""
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return np.column_stack([x, np.ones(len(x))])


def _pairs(similarities, rng):
    """A mini-batch of pairs, half of them alike where chance finds such.

    Returns (one, other, alike), integer arrays of shape (pairs,).
    """
    one = rng.integers(len(similarities), size=PAIRS)
    tried = rng.integers(len(similarities), size=(PAIRS, TRIED))
    alike = similarities.alike(one[:, np.newaxis], tried)
    wanted = np.arange(PAIRS)[:, np.newaxis] % 2 == 0
    first = (alike == wanted).argmax(axis=1)          # 0 where there is none
    every = np.arange(PAIRS)
    return one, tried[every, first], alike[every, first].astype(int)


def most_violating(a, b, losses):
    """The codes g, h that maximize loss(|g - h|) + g a + h b for each pair (their eq. 9).

    Parameters
    ----------
    a, b : float64 arrays of shape (pairs, q)
        The hyperplanes' values of both samples.
    losses : float64 array of shape (pairs, q + 1)
        The pair's loss at each Hamming distance.

    Returns
    -------
    (g, h) : float64 arrays of shape (pairs, q), 1 and -1
    """
    # What it brings to let a bit differ, best bits first; then the best number of them.
    brings = np.abs(a - b) - np.abs(a + b)
    order = np.argsort(-brings, axis=1, kind="stable")
    gains = np.cumsum(np.take_along_axis(brings, order, axis=1), axis=1)
    totals = losses + np.concatenate([np.zeros((len(a), 1)), gains], axis=1)
    count = totals.argmax(axis=1)
    differ = np.empty(a.shape, bool)
    np.put_along_axis(differ, order, np.arange(a.shape[1]) < count[:, np.newaxis], axis=1)
    g = np.where(differ, signs(a - b), signs(a + b))
    return g, np.where(differ, -g, g)

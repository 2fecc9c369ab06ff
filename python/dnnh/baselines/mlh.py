"""MLH: minimal loss hashing.

Norouzi, Fleet, "Minimal loss hashing for compact binary codes", ICML 2011: hyperplanes
that minimize a bound of a hinge loss of the Hamming distance of pairs, as a structural
support vector machine with latent variables. What the paper does not specify follows the
authors' published code.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.baselines.base import Floats, Hasher, Similarities, map_among, one_hot, signs, unit

SIMILAR = 0.5  # lambda: the share of similar pairs in a mini-batch
RECALL = 0.3  # of similar pairs within the first rho, with random hyperplanes
STEPS_ASIDE = (-2, -1, 0, 1, 2)  # the radii that are tried: so many steps from the first, ...
STEP_ASIDE = 1 / 16  # ... each of this share of q
HELD_OUT = 5  # one sample in so many chooses rho
PAIRS = 100  # in a mini-batch
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
TRIED = 50  # candidates for the second sample of a pair
TRIAL = 3_000  # mini-batches to choose rho
STEPS = 30_000  # mini-batches of the final training; ours, theirs are 50 million pairs


class MLH(Hasher):
    """Hyperplanes through the mean of the samples, which are scaled to length 1.

    Attributes
    ----------
    radius : int
        rho, chosen by MAP on held-out training samples; the final training uses all.
    losses : list of float
        Mean loss of the pairs of each mini-batch in the final training.
    """

    name = "mlh"
    supervised = True

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        x = unit(x)
        order = rng.permutation(len(x))
        held_out, kept = np.split(order, [len(x) // HELD_OUT])
        if len(np.unique(one_hot(labels)[held_out], axis=0)) < 2:
            kept = held_out = order  # too few to choose with
        scores = {}
        for radius in self._radii(x, labels, rng):
            w, _ = self._train(
                x[kept], labels[kept], radius, TRIAL, np.random.default_rng(self.seed)
            )
            scores[radius] = map_among(x[held_out] @ w, labels[held_out])
        self.radius = max(scores, key=lambda radius: scores[radius])
        self.w, self.losses = self._train(x, labels, self.radius, STEPS, rng)

    def _radii(self, x: Floats, labels: NDArray, rng: np.random.Generator) -> list[int]:
        """Candidates for rho: around the radius where random hyperplanes have recall RECALL."""
        b = signs(x @ rng.standard_normal((x.shape[1], self.bits)))
        one, other, similar = _pairs(Similarities(labels), rng, 10_000)
        distances = (b[one] != b[other]).sum(axis=1)[similar == 1]
        middle = np.quantile(distances, RECALL) if len(distances) else self.bits / 4
        step = max(1, round(STEP_ASIDE * self.bits))
        return sorted(
            {int(np.clip(round(middle) + aside * step, 1, self.bits - 1)) for aside in STEPS_ASIDE}
        )

    def _train(
        self, x: Floats, labels: NDArray, radius: int, steps: int, rng: np.random.Generator
    ) -> tuple[Floats, list[float]]:
        """Hyperplanes of shape (d, q), and the mean loss of each mini-batch."""
        similarities = Similarities(labels)
        loss_of = pair_losses(radius, self.bits)
        w = 0.1 * rng.standard_normal((x.shape[1], self.bits))
        velocity = np.zeros_like(w)
        losses = []
        for step in range(steps):
            one, other, similar = _pairs(similarities, rng)
            a, b = x[one] @ w, x[other] @ w  # (pairs, q)
            losses.append(loss_of[similar, (signs(a) != signs(b)).sum(axis=1)].mean())
            worst_a, worst_b = most_violating(a, b, loss_of[similar])
            gain = x[one].T @ (signs(a) - worst_a) + x[other].T @ (signs(b) - worst_b)
            velocity = MOMENTUM * velocity + RATE * (1 - step / steps) * (gain / PAIRS - DECAY * w)
            w += velocity
        return w, losses

    def _project(self, x: Floats) -> Floats:
        return unit(x) @ self.w


def pair_losses(radius: int, bits: int) -> Floats:
    """The loss of a pair at each distance, at most 1: float64 array of shape (2, bits + 1).

    Row 0 is of dissimilar pairs, row 1 of similar ones.
    """
    distances = np.arange(bits + 1)
    return np.stack(
        [
            np.maximum(radius - distances + 1, 0) / (radius + 1),
            np.maximum(distances - radius + 1, 0) / (bits - radius + 1),
        ]
    )


def _pairs(
    similarities: Similarities, rng: np.random.Generator, count: int = PAIRS
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A mini-batch of pairs, half of them similar if the candidates have such.

    Returns (one, other, similar), integer arrays of shape (pairs,).
    """
    one = rng.integers(len(similarities), size=count)
    tried = rng.integers(len(similarities), size=(count, TRIED))
    similar = similarities.similar(one[:, np.newaxis], tried)
    wanted = np.arange(count)[:, np.newaxis] < SIMILAR * count
    first = (similar == wanted).argmax(axis=1)  # 0 if there is none
    every = np.arange(count)
    return one, tried[every, first], similar[every, first].astype(int)


def most_violating(a: Floats, b: Floats, losses: Floats) -> tuple[Floats, Floats]:
    """The codes g, h that maximize loss(|g - h|) + g a + h b for each pair (their eq. 9).

    Parameters
    ----------
    a, b : float64 arrays of shape (pairs, q)
        The projections of both samples.
    losses : float64 array of shape (pairs, q + 1)
        The pair's loss at each Hamming distance.

    Returns
    -------
    (g, h) : float64 arrays of shape (pairs, q), 1 and -1
    """
    # The gain of letting a bit differ, best bits first; then the best number of them.
    bit_gains = np.abs(a - b) - np.abs(a + b)
    order = np.argsort(-bit_gains, axis=1, kind="stable")
    gains = np.cumsum(np.take_along_axis(bit_gains, order, axis=1), axis=1)
    totals = losses + np.concatenate([np.zeros((len(a), 1)), gains], axis=1)
    count = totals.argmax(axis=1)
    differ = np.empty(a.shape, bool)
    np.put_along_axis(differ, order, np.arange(a.shape[1]) < count[:, np.newaxis], axis=1)
    g = np.where(differ, signs(a - b), signs(a + b))
    return g, np.where(differ, -g, g)

"""BRE: binary reconstructive embedding, with labels.

Kulis, Darrell, "Learning to hash with binary reconstructive embeddings", NIPS 2009:
hash functions of kernels with samples. The labels give the target distances of the codes:
0 for samples that share one, 1 for others.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.baselines.base import Floats, Hasher, Similarities, signs, unit

POINTS = 1000  # training samples, at most
KERNELS = 50  # samples in each hash function, their s
SWEEPS = 3  # over all bits


class BRE(Hasher):
    """Coordinate descent: sets one weight of one hash function at a time to its optimum.

    Samples are centred and scaled to length 1, as in their section 4.

    Attributes
    ----------
    objectives : list of float
        Mean of (d - |b - b'|^2 / q)^2 over pairs, with b of 0 and 1: at the start, and
        after each sweep.
    """

    name = "bre"
    supervised = True

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        chosen = np.sort(rng.choice(len(x), min(POINTS, len(x)), replace=False))
        x = unit(x[chosen])
        # Single precision, here and for costs: memory traffic of n x n arrays dominates.
        target = ((1 - Similarities(labels[chosen]).rows(slice(None))) / 2).astype("f4")
        count = min(KERNELS, len(x))
        anchors = np.stack(
            [rng.choice(len(x), count, replace=False) for _ in range(self.bits)]
        )  # (q, s)
        kernel = x @ x.T  # linear, as in their section 4
        means = [kernel[:, anchor].mean(axis=0) for anchor in anchors]
        parts = [kernel[:, anchor] - mean for anchor, mean in zip(anchors, means)]
        weights = rng.standard_normal((self.bits, count))
        s = np.stack([signs(part @ w) for part, w in zip(parts, weights)], axis=1)
        self.objectives = [self._objective(target, s)]
        for _ in range(SWEEPS):
            for bit in rng.permutation(self.bits):
                others = np.delete(s, bit, axis=1).astype("f4")
                apart = (self.bits - 1 - others @ others.T) / 2 / self.bits
                # The cost of two samples that differ in this bit.
                cost = 1 / self.bits**2 - 2 * (target - apart) / self.bits
                for place in rng.permutation(count):
                    weights[bit, place] = best_weight(parts[bit], weights[bit], place, cost)
                s[:, bit] = signs(parts[bit] @ weights[bit])
            self.objectives.append(self._objective(target, s))
        # One matrix for all hash functions: sum of w (x_a . x - its mean).
        self.projection = np.stack([x[anchor].T @ w for anchor, w in zip(anchors, weights)], axis=1)
        self.threshold = np.array([m @ w for m, w in zip(means, weights)])

    @staticmethod
    def _objective(target: NDArray[np.float32], s: Floats) -> float:
        q = s.shape[1]
        return float(np.mean((target - (q - s @ s.T) / 2 / q) ** 2))

    def _project(self, x: Floats) -> Floats:
        return unit(x) @ self.projection - self.threshold


def best_weight(part: Floats, weights: Floats, place: int, cost: NDArray) -> float:
    """The value of one weight with the smallest cost of the pairs whose bits differ.

    Parameters
    ----------
    part : float64 array of shape (n, s)
        The kernels' values.
    weights : float64 array of shape (s,)
    place : int
        Which weight.
    cost : float64 array of shape (n, n), symmetric

    Returns
    -------
    float; the current weight if no other is better
    """
    slope = part[:, place]
    rest = part @ weights - slope * weights[place]
    moving = np.flatnonzero(np.abs(slope) > 1e-12)
    if not len(moving):
        return weights[place]
    crossing = -rest[moving] / slope[moving]  # where a sample changes sides
    order = moving[np.argsort(crossing, kind="stable")]
    crossing = np.sort(crossing)
    # Far to the left, the sign of a sample that moves is opposite to that of its slope.
    start = signs(rest).astype(cost.dtype)
    start[moving] = -signs(slope[moving])
    # y^T cost y after each crossing; the smaller it is, the higher the cost.
    linked = cost * start * start[:, np.newaxis]
    among = linked[np.ix_(order, order)]
    to_all = linked.sum(axis=1, dtype=float)[order]
    # Samples 1..t changed sides: pairs of one of them with one that did not change sign.
    inside = np.cumsum(2 * np.tril(among, -1).sum(axis=1, dtype=float) + np.diag(among))
    change = -4 * (np.cumsum(to_all) - inside)
    values = np.concatenate([[0], change]) + linked.sum(dtype=float)
    scale = np.abs(values).max()
    # Samples that change sides at the same weight change together.
    values[1:-1][np.diff(crossing) <= 0] = -np.inf
    # Bits differ: (1 - y y') / 2. The cost is smallest where y^T cost y is largest.
    best = values.argmax()
    now = signs(part @ weights).astype(cost.dtype)
    if values[best] <= float(now @ (cost @ now)) + 1e-6 * scale:
        return weights[place]
    if best == 0:
        return crossing[0] - 1
    if best == len(order):
        return crossing[-1] + 1
    return float((crossing[best - 1] + crossing[best]) / 2)

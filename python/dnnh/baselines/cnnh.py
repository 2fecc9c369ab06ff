"""The first stage of CNNH: codes for the training images, from their labels alone.

Xia, Pan, Lai, Liu, Yan, "Supervised hashing for image retrieval via image
representation learning", AAAI 2014. The second stage is a net that learns these target
codes: `cnnh` (their architecture) and `cnnh_star` (ours) of dnnh.nets.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from dnnh.baselines.base import Floats, Similarities
from dnnh.errors import UserError

SWEEPS = 5  # over all values of H; ours: the objective then no longer falls


def approximate_codes(
    labels: ArrayLike, bits: int, seed: int = 0, objectives: list[float] | None = None
) -> NDArray[np.uint8]:
    """Codes whose inner products approximate the similarities.

    Minimizes |S - H H^T / q|^2 over H of values from -1 to 1 (section "Stage 1"), S being
    1 for two images that share a label, else -1: one value of H after the other takes
    Newton's step, clipped to the range; then H is replaced by its signs.

    Parameters
    ----------
    labels : int64 array of shape (n,), or 0/1 array of shape (n, classes)
    bits : int
        q.
    seed : int
        Of the initial H, and of the order in which its values are updated.
    objectives : list, optional
        The objective, divided by n^2, at the start and after each sweep is appended.

    Returns
    -------
    uint8 array of shape (n, q), 0 and 1

    Raises
    ------
    UserError
        If all images are similar, or none is similar to another: there is nothing to learn
        from such labels. If the seed is below 0.
    """
    if seed < 0:
        raise UserError(f"seed {seed}: seeds are 0 or more")
    rng = np.random.default_rng(seed)
    labels = np.asarray(labels)
    n = len(labels)
    s = Similarities(labels).rows(np.arange(n)).astype(np.float32)  # (n, n)
    similar_pairs = int((s > 0).sum())
    if similar_pairs in (n, n * n):
        which = "no two share" if similar_pairs == n else "any two share"
        raise UserError(
            f"of {n} training images {which} a label; CNNH needs similar and dissimilar ones"
        )
    h = rng.uniform(-1, 1, (n, bits))
    if objectives is None:
        objectives = []
    objectives.append(_objective(s, h))
    for _ in tqdm(range(SWEEPS), "approximate codes", unit=" sweeps"):
        for bit in rng.permutation(bits):
            _improve(h, bit, s, rng.permutation(n))
        objectives.append(_objective(s, h))
    return (h > 0).astype(np.uint8)


def _objective(s: Floats, h: Floats) -> float:
    """|S - H H^T / q|^2 / n^2; each entry of S has the square 1."""
    n, q = h.shape
    return float(1 + np.sum((h.T @ h) ** 2) / (q * n) ** 2 - 2 * np.sum(h * (s @ h)) / (q * n * n))


def _improve(h: Floats, bit: int, s: Floats, order: Iterable[int]) -> None:
    """Update the values of one column of H in place, one after the other.

    With R the residual of q S without the other columns, the objective is |h h^T - R|^2 for the
    column h. In the value x of row i its derivatives are 4 sum_l (x h_l - R_il) h_l and
    4 (sum_l h_l^2 + 2 x^2 - R_ii).
    """
    q = h.shape[1]
    column = h[:, bit]  # a view: it moves with H
    pulled = s @ column  # S h, kept up to date
    mixed = h.T @ column  # H^T h, likewise
    size = mixed[bit]
    row_squares = np.einsum("ij,ij->i", h, h)  # each row comes once
    for i in order:
        x = column[i]
        left = q - row_squares[i] + x * x  # R_ii
        curvature = size + 2 * x * x - left
        # H_i (H^T h) - q (S h)_i is sum_l (x h_l - R_il) h_l.
        step = -(h[i] @ mixed - q * pulled[i]) / curvature if curvature > 0 else 0.0
        step = min(max(step, -1 - x), 1 - x)
        if step == 0:
            continue
        mixed += step * h[i]
        mixed[bit] += step * (x + step)
        pulled += np.float32(step) * s[i]
        column[i] = x + step
        size = mixed[bit]

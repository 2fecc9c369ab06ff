"""Random triplets from labels.

The layer TripletData draws its own while a net trains (online). These are for lists of triplets
(listed), and for databases of whole triplets (materialized).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnnh.errors import UserError

MEMBERS = ("query", "positive", "negative")


def draw_triplets(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw random triplets.

    The query is uniform over the images; the positive uniform over the
    others that share a label with it; the negative uniform over those
    that share none (Lai et al., CVPR 2015, section 4.1: "randomly constructed
    based on the image class labels").

    Parameters
    ----------
    labels : int64 array of shape (n,), or uint8 multi-hot of shape (n, classes)
    count : int
    seed : int

    Returns
    -------
    int64 array of shape (count, 3): query, positive, negative, indices into
    ``labels``.

    Raises
    ------
    UserError
        If no triplet is asked for, or some image has no positive or no negative.
    """
    if count < 1:
        raise UserError(f"{count} triplets were asked for; ask for at least 1")
    multi_hot = _multi_hot(labels)  # (n, classes)
    _check_possible(multi_hot)
    rng = np.random.default_rng(seed)
    query = rng.integers(len(multi_hot), size=count)
    positive = _draw_partners(multi_hot, query, True, rng)
    negative = _draw_partners(multi_hot, query, False, rng)
    return np.stack([query, positive, negative], axis=1)


def _multi_hot(labels: ArrayLike) -> NDArray[np.bool_]:
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return labels.astype(bool)
    return labels[:, np.newaxis] == np.unique(labels)


def _check_possible(multi_hot: NDArray[np.bool_]) -> None:
    """Every image must have a positive and a negative."""
    hot = multi_hot.astype(np.float32)
    at_once = max(
        1, 50_000_000 // len(hot)
    )  # rows of the product, which has a number for each image
    for start in range(0, len(hot), at_once):
        block = hot[start : start + at_once]
        sharing = (block @ hot.T > 0).sum(1)  # images that share a label, itself included
        unlabelled = block.sum(1) == 0
        for kind, wrong in (
            ("has no label", unlabelled),
            ("has no positive: no other image has a label of its", (sharing == 1) & ~unlabelled),
            ("has no negative: every image shares a label with it", sharing == len(hot)),
        ):
            if wrong.any():
                raise UserError(
                    f"training image {start + np.flatnonzero(wrong)[0]} {kind}; "
                    "triplets need two images of a class and two classes"
                )


def _draw_partners(
    multi_hot: NDArray[np.bool_],
    query: NDArray[np.int64],
    shares_label: bool,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Uniform partners by rejection: draw for all, redraw those that do not fit."""
    partner = np.empty_like(query)
    missing = np.arange(len(query))  # triplets that have no partner yet
    while len(missing):
        candidate = rng.integers(len(multi_hot), size=len(missing))
        its_query = query[missing]
        fits = (multi_hot[its_query] & multi_hot[candidate]).any(1) == shares_label
        fits &= candidate != its_query
        partner[missing[fits]] = candidate[fits]
        missing = missing[~fits]
    return partner

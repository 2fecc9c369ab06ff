"""Random triplets from labels.

The layer TripletData draws its own while it trains; these are for lists of
triplets, and for databases of whole triplets.
"""

import numpy as np

from dnnh.errors import UserError

MEMBERS = ("query", "similar", "dissimilar")


def draw_triplets(labels, count, seed=0):
    """Draw random triplets.

    The query is uniform over the images; the similar one uniform over the
    others that share a label with it; the dissimilar one uniform over those
    that share none (Lai et al., CVPR 2015, section 4.1: "randomly constructed
    based on the image class labels").

    Parameters
    ----------
    labels : int64 array of shape (n,), or uint8 multi-hot of shape (n, classes)
    count : int
    seed : int

    Returns
    -------
    int64 array of shape (count, 3): query, similar, dissimilar, indices into
    ``labels``.

    Raises
    ------
    UserError
        If no triplet is asked for, or some image has nothing similar or
        nothing dissimilar.
    """
    if count < 1:
        raise UserError(f"{count} triplets were asked for; ask for at least 1")
    hot = _multi_hot(labels)                       # (n, classes)
    _check_possible(hot)
    rng = np.random.default_rng(seed)
    query = rng.integers(len(hot), size=count)
    similar = _draw_partners(hot, query, True, rng)
    dissimilar = _draw_partners(hot, query, False, rng)
    return np.stack([query, similar, dissimilar], axis=1)


def _multi_hot(labels):
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return labels.astype(bool)
    return labels[:, np.newaxis] == np.unique(labels)


def _check_possible(hot):
    """Every image must have a partner of both kinds."""
    hot = hot.astype(np.float32)
    for start in range(0, len(hot), 4096):
        block = hot[start:start + 4096]
        shares = (block @ hot.T > 0).sum(1)        # itself included
        unlabelled = block.sum(1) == 0
        for kind, wrong in (
                ("has no label", unlabelled),
                ("has no similar image: no other one has a label of its",
                 (shares == 1) & ~unlabelled),
                ("has no dissimilar image: every one shares a label with it",
                 shares == len(hot))):
            if wrong.any():
                raise UserError(
                    f"training image {start + np.flatnonzero(wrong)[0]} {kind}; "
                    "triplets need two images of a class and two classes")


def _draw_partners(hot, query, similar, rng):
    """Uniform partners by rejection: draw for all, redraw those that don't fit."""
    partner = np.empty_like(query)
    waiting = np.arange(len(query))
    while len(waiting):
        drawn = rng.integers(len(hot), size=len(waiting))
        ours = query[waiting]
        fits = (hot[ours] & hot[drawn]).any(1) == similar
        fits &= drawn != ours
        partner[waiting[fits]] = drawn[fits]
        waiting = waiting[~fits]
    return partner

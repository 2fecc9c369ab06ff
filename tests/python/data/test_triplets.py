"""Triplets: drawn by the labels, uniformly."""

import numpy as np
import pytest

from dnnh.data import triplets
from dnnh.errors import UserError

LABELS = np.repeat(np.arange(5), 20)


def test_the_positive_shares_the_label_and_the_negative_does_not():
    drawn = triplets.draw_triplets(LABELS, 5000, seed=1)
    query, positive, negative = drawn.T
    assert (LABELS[query] == LABELS[positive]).all()
    assert (query != positive).all()
    assert (LABELS[query] != LABELS[negative]).all()


def test_multi_hot_triplets():
    rng = np.random.default_rng(0)
    hot = (rng.random((60, 6)) < 0.2).astype(np.uint8)
    hot[hot.sum(axis=1) == 0, 0] = 1
    query, positive, negative = triplets.draw_triplets(hot, 3000, seed=1).T
    assert (hot[query] & hot[positive]).any(axis=1).all()
    assert (query != positive).all()
    assert not (hot[query] & hot[negative]).any(axis=1).any()


def test_draws_are_uniform():
    """Chi-square at five standard deviations, over all that may be drawn."""
    drawn = triplets.draw_triplets(LABELS, 40_000, seed=2)
    for column in drawn.T:
        counts = np.bincount(column, minlength=100)
        expected = 40_000 / 100
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_square - 99) < 5 * np.sqrt(2 * 99)
    query = drawn[:, 0]
    for column, pairs in ((drawn[:, 1], 100 * 19), (drawn[:, 2], 100 * 80)):
        counts = np.bincount(100 * query + column, minlength=100 * 100)
        expected = 40_000 / pairs
        # Other pairs are never drawn, as tested above.
        chi_square = (counts**2 / expected).sum() - 40_000
        assert abs(chi_square - (pairs - 1)) < 5 * np.sqrt(2 * (pairs - 1))


def test_the_seed_decides():
    first = triplets.draw_triplets(LABELS, 100, seed=3)
    assert (first == triplets.draw_triplets(LABELS, 100, seed=3)).all()
    assert (first != triplets.draw_triplets(LABELS, 100, seed=4)).any()


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 0, 1], "image 2 has no positive"),
        ([0, 0, 0], "image 0 has no negative"),
        (np.array([[1, 1], [1, 0], [0, 1], [1, 1]], np.uint8), "no negative"),
        (np.array([[1, 0], [1, 0], [0, 0]], np.uint8), "image 2 has no label"),
    ],
)
def test_impossible_labels(labels, message):
    with pytest.raises(UserError, match=message):
        triplets.draw_triplets(np.array(labels), 10)


def test_no_triplets():
    with pytest.raises(UserError, match="0 triplets were asked for"):
        triplets.draw_triplets(LABELS, 0)

"""Metrics against tables worked by hand and an independent implementation."""

import dataclasses

import numpy as np
import pytest
import pytrec_eval

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.evaluation import metrics


def test_average_precision_by_hand():
    # Relevant at ranks 1, 3, 4: (1/1 + 2/3 + 3/4) / 3.
    assert metrics.average_precision(np.array([1, 0, 1, 1, 0], bool)) == pytest.approx(
        (1 + 2 / 3 + 3 / 4) / 3
    )
    assert metrics.average_precision(np.zeros(4, bool)) == 0


def test_average_precision_agrees_with_trec_eval():
    rng = np.random.default_rng(0)
    for _ in range(20):
        relevant = rng.random(50) < 0.3
        run = {"q": {f"d{i:02}": float(100 - i) for i in range(50)}}
        qrel = {"q": {f"d{i:02}": int(r) for i, r in enumerate(relevant)}}
        theirs = pytrec_eval.RelevanceEvaluator(qrel, {"map"}).evaluate(run)["q"]["map"]
        assert metrics.average_precision(relevant) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("top", [None, 1, 7, 12, 29])
def test_tie_aware_is_the_mean_over_shuffles(top):
    rng = np.random.default_rng(1)
    distance, relevant = rng.integers(0, 4, size=30), rng.random(30) < 0.3
    shuffled = []
    for _ in range(20_000):
        order = rng.permutation(30)
        order = order[np.argsort(distance[order], kind="stable")]
        shuffled.append(metrics.average_precision(relevant[order][:top]))
    items = np.bincount(distance, minlength=6)[np.newaxis]
    hits = np.bincount(distance[relevant], minlength=6)[np.newaxis]
    spread = np.std(shuffled) / np.sqrt(len(shuffled))
    assert metrics.tie_aware_average_precision(items, hits, top)[0] == pytest.approx(
        np.mean(shuffled), abs=5 * spread + 1e-12
    )


def test_tie_aware_by_hand():
    # Two items tied, one relevant: AP is 1 or 1/2, each half of the time.
    assert metrics.tie_aware_average_precision(np.array([[2, 0]]), np.array([[1, 0]]))[
        0
    ] == pytest.approx(0.75)


def codes_of(*rows):
    return packed_codes.pack(np.array(rows))


# One query 000; database by distance: 000 right (0), 100 wrong (1), 110 right (2),
# 111 wrong (3).
BY_HAND = dict(
    query_codes=codes_of([0, 0, 0]),
    database_codes=codes_of([1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]),
    query_labels=np.array([5]),
    database_labels=np.array([7, 5, 5, 6]),
    bits=3,
)


def test_evaluate_by_hand():
    result = metrics.evaluate(**BY_HAND)
    assert result.map == pytest.approx((1 + 2 / 3) / 2)
    assert result.map_tie_aware == pytest.approx((1 + 2 / 3) / 2)
    assert result.precision_radius2 == pytest.approx(2 / 3)
    assert result.pr_curve.recall == pytest.approx([0.5, 0.5, 1, 1])
    assert result.pr_curve.precision == pytest.approx([1, 0.5, 2 / 3, 0.5])
    assert (result.queries, result.database) == (1, 4)
    assert result.precision_at == {}  # the database has no 100 items
    assert result.queries_without_relevant == result.queries_without_radius2 == 0
    assert result.relevant_share == 0.5
    # Of all orders of two right and two wrong ones: 1, 5/6, 3/4, 7/12, 1/2 and 5/12.
    assert result.map_random == pytest.approx((1 + 5 / 6 + 3 / 4 + 7 / 12 + 1 / 2 + 5 / 12) / 6)


def test_top_counts_the_relevant_within_it():
    assert metrics.evaluate(**BY_HAND, top=2).map == pytest.approx(1)


def test_multi_hot_labels_share_at_least_one():
    single = metrics.evaluate(**BY_HAND)
    hot = dict(
        BY_HAND,
        query_labels=np.array([[1, 1, 0]], np.uint8),
        database_labels=np.array([[0, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8),
    )
    assert metrics.evaluate(**hot).map == pytest.approx(single.map)


def test_nothing_relevant_and_nothing_retrieved_count_zero():
    result = metrics.evaluate(
        codes_of([0] * 5, [1] * 5),
        codes_of([0, 0, 1, 1, 1], [0, 1, 1, 1, 0]),
        np.array([1, 2]),
        np.array([1, 1]),
        bits=5,
    )
    # Query 0 has nothing within radius 2; query 1 has nothing relevant.
    assert result.precision_radius2 == 0
    assert result.map == pytest.approx(0.5)
    assert result.queries_without_relevant == result.queries_without_radius2 == 1
    assert result.relevant_share == 0.5


def test_a_query_in_the_database_is_left_out_of_its_own_ranking():
    rng = np.random.default_rng(3)
    codes, labels = packed_codes.pack(rng.random((30, 12)) < 0.5), rng.integers(3, size=30)
    result = metrics.evaluate(codes, codes, labels, labels, 12, query_rows=np.arange(30))
    expected = []
    for i in range(30):
        others = np.arange(30) != i
        alone = metrics.evaluate(
            codes[i : i + 1], codes[others], labels[i : i + 1], labels[others], 12
        )
        expected.append(alone.map_tie_aware)
    assert result.map_tie_aware == pytest.approx(np.mean(expected))
    assert result.database == 29


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("bits", [1, 7, 8, 12, 33, 64])
def test_random_codes_against_plain_loops(bits, is_weighted):
    rng = np.random.default_rng(bits)
    query, database = rng.random((6, bits)) < 0.5, rng.random((150, bits)) < 0.5
    query_labels, database_labels = rng.integers(4, size=6), rng.integers(4, size=150)
    weights = np.ones(bits)
    if is_weighted:
        weights = rng.integers(1, 64, bits).astype(np.float32)  # sums are exact
    arguments = (
        packed_codes.pack(query),
        packed_codes.pack(database),
        query_labels,
        database_labels,
        bits,
    )
    result = metrics.evaluate(*arguments, bit_weights=weights if is_weighted else None)
    shuffle = np.random.default_rng(metrics.SHUFFLE_SEED).permutation(150)
    average, within, first, recall, precision = [], [], [], [], []
    for bit_row, label in zip(query, query_labels):
        differs = bit_row != database
        near, distance = differs.sum(axis=1) <= 2, differs @ weights
        right = database_labels == label
        within.append(right[near].mean() if near.any() else 0)
        inside = differs.sum(axis=1)[:, np.newaxis] <= np.arange(bits + 1)
        found = (inside & right[:, np.newaxis]).sum(axis=0)
        recall.append(found / right.sum())
        precision.append(found / np.maximum(inside.sum(axis=0), 1))
        order = sorted(shuffle, key=lambda item: distance[item])  # stable
        average.append(metrics.average_precision(right[order]))
        first.append(right[order[:100]].mean())
    assert result.map == pytest.approx(np.mean(average))
    assert result.precision_radius2 == pytest.approx(np.mean(within))
    assert result.precision_at == {100: pytest.approx(np.mean(first))}
    assert result.pr_curve.recall == pytest.approx(np.mean(recall, axis=0))
    assert result.pr_curve.precision == pytest.approx(np.mean(precision, axis=0))
    if not is_weighted:
        assert metrics.evaluate(*arguments, top=10).precision_at == result.precision_at


def test_more_classes_than_a_byte_has():
    labels = np.arange(300)
    assert np.array_equal(metrics.relevance(labels, labels)(0, 300), np.eye(300, dtype=bool))


def test_equal_codes_everywhere_give_the_share_of_relevant_ones():
    labels = np.arange(1000) % 10
    codes = np.zeros((1000, 1), np.uint8)
    result = metrics.evaluate(codes[:10], codes, labels[:10], labels, 8)
    assert result.map == pytest.approx(0.1, abs=0.02)
    assert result.map_tie_aware == pytest.approx(0.1, abs=0.01)


def test_empty_sides_are_refused():
    with pytest.raises(UserError, match="0 queries and 4 database codes"):
        metrics.evaluate(
            **dict(BY_HAND, query_codes=codes_of([0, 0, 0])[:0], query_labels=np.array([], int))
        )


def test_weighted_ranking_by_hand():
    """Bit 0 weighs less than bits 1 and 2: 100 is nearer than 010, and these are no longer tied."""
    by_hand = dict(
        query_codes=codes_of([0, 0, 0]),
        database_codes=codes_of([0, 1, 0], [1, 0, 0], [0, 0, 1]),
        query_labels=np.array([5]),
        database_labels=np.array([7, 5, 5]),
        bits=3,
    )
    plain = metrics.evaluate(**by_hand)
    weighted = metrics.evaluate(**by_hand, bit_weights=np.array([0.5, 1, 1], np.float32))
    assert plain.map_tie_aware < weighted.map_tie_aware
    # 100 first; of the other two, tied, one is relevant: 2/2 or 2/3 at its rank.
    assert weighted.map_tie_aware == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)
    assert weighted.map in (pytest.approx(1), pytest.approx((1 + 2 / 3) / 2))
    # What lies within a radius does not depend on weights.
    assert weighted.precision_radius2 == plain.precision_radius2 == pytest.approx(2 / 3)
    assert weighted.pr_curve == plain.pr_curve


@pytest.mark.parametrize("weight", [2, 0.1, 0.3])
@pytest.mark.parametrize("top", [None, 17])
def test_equal_weights_rank_as_none(top, weight):
    rng = np.random.default_rng(5)
    arguments = dict(
        query_codes=packed_codes.pack(rng.random((9, 48)) < 0.5),
        database_codes=packed_codes.pack(rng.random((60, 48)) < 0.5),
        query_labels=rng.integers(0, 3, 9),
        database_labels=rng.integers(0, 3, 60),
        bits=48,
        top=top,
    )
    plain = metrics.evaluate(**arguments)
    weighted = metrics.evaluate(**arguments, bit_weights=np.full(48, weight, np.float32))
    assert weighted.map == plain.map
    assert weighted.map_tie_aware == pytest.approx(plain.map_tie_aware)
    assert weighted == dataclasses.replace(plain, map_tie_aware=weighted.map_tie_aware)


def test_a_weighted_query_is_excluded_from_its_own_ranking():
    rng = np.random.default_rng(6)
    codes = packed_codes.pack(rng.random((40, 13)) < 0.5)
    labels = rng.integers(0, 3, 40)
    arguments = dict(
        query_codes=codes,
        database_codes=codes,
        query_labels=labels,
        database_labels=labels,
        bits=13,
    )
    weights = rng.random(13).astype(np.float32)
    within = metrics.evaluate(**arguments, query_rows=np.arange(40), bit_weights=weights)
    singly = []
    for i in range(40):
        others = np.delete(np.arange(40), i)
        singly.append(
            metrics.evaluate(
                codes[[i]], codes[others], labels[[i]], labels[others], 13, bit_weights=weights
            ).map_tie_aware
        )
    assert within.map_tie_aware == pytest.approx(np.mean(singly))

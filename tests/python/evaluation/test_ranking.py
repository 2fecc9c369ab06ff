"""Packing and distances."""

import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.evaluation import ranking


def test_bit_i_is_in_byte_i_over_8_least_significant_first():
    bits = np.zeros((1, 12), int)
    bits[0, [0, 3, 9]] = 1
    assert packed_codes.pack(bits).tolist() == [[0b00001001, 0b00000010]]


@pytest.mark.parametrize("bits", [1, 8, 12, 48, 63, 64, 100])
def test_unpack_inverts_pack(bits):
    codes = np.random.default_rng(0).random((20, bits)) < 0.5
    assert (packed_codes.unpack(packed_codes.pack(codes), bits) == codes).all()


@pytest.mark.parametrize("bits", [1, 12, 48, 64, 100])
def test_distances_count_differing_bits(bits, monkeypatch):
    rng = np.random.default_rng(1)
    queries, database = rng.random((7, bits)) < 0.5, rng.random((31, bits)) < 0.5
    expected = (queries[:, np.newaxis] != database).sum(axis=2)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 3 * 8 * 31)  # three queries at once
    blocks = list(ranking.distances(packed_codes.pack(queries), packed_codes.pack(database)))
    assert [first for first, _ in blocks] == [0, 3, 6]
    assert (np.concatenate([block for _, block in blocks]) == expected).all()


def test_order_keeps_equal_distances_in_place():
    assert ranking.order(np.array([2, 0, 2, 1, 0], np.uint8)).tolist() == [1, 4, 3, 0, 2]


@pytest.mark.parametrize("bits", [3, 8, 13, 64])
def test_weighted_distances_are_the_weights_of_the_bits_that_differ(bits):
    rng = np.random.default_rng(bits)
    weights = rng.random(bits).astype(np.float32)
    queries, database = rng.random((3, bits)) < 0.5, rng.random((50, bits)) < 0.5
    distances_of = ranking.weighted_distances(packed_codes.pack(database), weights)
    for query in queries:
        expected = ((query != database) * weights).sum(axis=1)
        found = distances_of(packed_codes.pack(query[np.newaxis])[0])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5)

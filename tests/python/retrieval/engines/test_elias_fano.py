"""Increasing integers in few bits, against an array of them."""

import numpy as np
import pytest

from dnnh.retrieval.engines import elias_fano
from dnnh.retrieval.engines.elias_fano import IncreasingIntegers

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "count, bound",
    [(0, 1), (1, 1), (1, 10**9), (700, 700), (700, 10**6), (20_000, 2 * 10**6), (3000, 10**11)],
)
def test_integers_are_read_as_they_were_set(count, bound, monkeypatch):
    monkeypatch.setattr(elias_fano, "GROUPS", 2)
    if bound < 10**7:
        integers = np.sort(RNG.choice(bound, count, replace=False))
    else:
        integers = np.sort(RNG.integers(bound, size=count))
    encoded = IncreasingIntegers(count, bound)
    places = RNG.permutation(count)
    for part in np.array_split(places, 3):  # in any order
        encoded.set(part, integers[part])
    encoded.finish()
    assert np.array_equal(encoded[places], integers[places])
    assert np.array_equal(encoded[places.reshape(-1, 1)], integers[places, np.newaxis])
    pieces = list(encoded.pieces())
    assert np.array_equal(np.concatenate([part for _, part in pieces]), integers)
    lengths = [len(part) for _, part in pieces]
    assert [first for first, _ in pieces] == np.cumsum([0, *lengths])[:-1].tolist()


def test_the_example_of_the_docstring():
    encoded = IncreasingIntegers(4, 701)
    encoded.set(np.arange(4), np.array([3, 260, 261, 700]))
    encoded.finish()
    assert encoded._low.tolist() == [3, 4, 5, 188]
    bits = np.unpackbits(encoded._field, bitorder="little")
    assert bits[:6].tolist() == [1, 0, 1, 1, 0, 1] and bits.sum() == 4
    assert encoded[np.array([2])].tolist() == [261]


def test_integers_take_the_bits_that_the_docstring_says():
    count = 100_000
    encoded = IncreasingIntegers(count, 512 * count)
    assert 8 * encoded.nbytes / count == pytest.approx(11.4, abs=0.05)

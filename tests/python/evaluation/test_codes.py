"""Codes files: what is written comes back; what does not fit is refused."""

import dataclasses

import h5py
import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.evaluation import codes, metrics, results

RNG = np.random.default_rng(0)
GOOD = codes.Codes(
    packed_codes.pack(RNG.random((5, 12)) < 0.5),
    packed_codes.pack(RNG.random((9, 12)) < 0.5),
    RNG.integers(3, size=5),
    RNG.integers(3, size=9),
    bits=12,
    dataset="digits",
    method="dnnh",
    seed=0,
    query_ids=np.arange(5),
    database_ids=np.arange(5, 14),
)


def same(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        for f in dataclasses.fields(codes.Codes)
    )


@pytest.mark.parametrize(
    "encoded",
    [
        GOOD,
        dataclasses.replace(GOOD, query_ids=None, database_ids=None),
        dataclasses.replace(GOOD, bit_weights=np.linspace(0, 2, 12, dtype=np.float32), cut_from=48),
        dataclasses.replace(
            GOOD, query_labels=np.ones((5, 3), np.uint8), database_labels=np.ones((9, 3), np.uint8)
        ),
    ],
)
def test_what_is_written_comes_back(tmp_path, encoded):
    codes.save(tmp_path / "c.h5", encoded)
    assert same(codes.load(tmp_path / "c.h5"), encoded)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bits": 20}, r"query_codes is uint8 of shape \(5, 2\); codes of 20 bits.*\(n, 3\)"),
        ({"bits": 11}, "ones beyond bit 11"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 256}, "from 1 to 255"),
        ({"cut_from": 12}, "cut_from is 12; codes of 12 bits are cut from more, at most 255"),
        ({"cut_from": 256}, "cut_from is 256"),
        ({"query_labels": np.zeros((5, 1), int)}, r"shape \(5, 1\).*single labels"),
        ({"query_labels": np.zeros(5)}, "query_labels is float64"),
        ({"query_labels": np.zeros(4)}, r"query_labels has shape \(4,\) for 5 codes"),
        ({"database_ids": np.arange(3)}, r"database_ids has shape \(3,\) for 9"),
        ({"query_labels": np.ones((5, 2), np.uint8)}, "both must be one label"),
        ({"query_codes": np.zeros((5, 2))}, "query_codes is float64"),
        ({"query_labels": np.full(5, 1 << 63, np.uint64)}, "values that are not int64"),
        ({"query_labels": -np.ones((5, 3), int)}, "multi-hot labels are 0 or 1"),
        ({"database_ids": np.full(9, 4)}, "database_ids names some image twice"),
        ({"database_ids": np.linspace(0, 1, 9)}, "database_ids is float64; ids are int64"),
        ({"method": "x\x1b]0;owned\x07"}, r"method is 'x\\x1b\]0;owned\\x07', 11 letters; texts"),
        ({"dataset": "two\nlines"}, "dataset is .* one line of at most 200 letters"),
        ({"source": "x" * 201}, "source is .*, 201 letters"),
        (
            {"bit_weights": np.ones(11, np.float32)},
            r"weights of 12 bits are float32 of shape \(12,",
        ),
        ({"bit_weights": np.ones(12)}, "bit_weights is float64"),
        ({"bit_weights": np.full(12, -1, np.float32)}, "negative or not finite"),
        ({"bit_weights": np.full(12, np.nan, np.float32)}, "negative or not finite"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        codes.save(tmp_path / "c.h5", dataclasses.replace(GOOD, **change))
    assert not list(tmp_path.iterdir())


def test_unsigned_labels_are_compared_exactly(tmp_path):
    """Beside int64 NumPy takes them for floats, in which 2**53 is 2**53 + 1."""
    large = {
        "query_labels": np.full(5, 2**53, np.uint64),
        "database_labels": np.full(9, 2**53 + 1),
    }
    codes.save(tmp_path / "c.h5", dataclasses.replace(GOOD, **large))
    again = codes.load(tmp_path / "c.h5")
    assert again.query_labels.dtype == np.int64
    relevant = metrics.relevance(again.query_labels, again.database_labels)
    assert not relevant(0, 5).any()


def test_the_heaviest_bits_are_kept_in_their_order():
    weights = np.array([5, 1, 7, 0, 6, 2, 2, 2, 2, 8, 2, 2], np.float32)
    weighted = dataclasses.replace(GOOD, bit_weights=weights)
    cut = codes.keep_heaviest(weighted, 4)
    assert cut.bits == 4 and cut.bit_weights.tolist() == [5, 7, 6, 8]
    assert (cut.cut_from, codes.keep_heaviest(cut, 2).cut_from) == (12, 12)
    for side in ("query_codes", "database_codes"):
        whole = packed_codes.unpack(getattr(GOOD, side), 12)
        assert (packed_codes.unpack(getattr(cut, side), 4) == whole[:, [0, 2, 4, 9]]).all()
    assert cut.query_labels is GOOD.query_labels
    for bits in (0, 12, 13):
        with pytest.raises(UserError, match=f"codes of 12 bits cannot be cut to {bits}"):
            codes.keep_heaviest(weighted, bits)
    with pytest.raises(UserError, match="codes of dnnh have no bit weights"):
        codes.keep_heaviest(GOOD, 4)


def test_both_kinds_of_strings(tmp_path):
    codes.save(tmp_path / "c.h5", dataclasses.replace(GOOD, source="a copy"))
    assert codes.load(tmp_path / "c.h5").source == "a copy"
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs["dataset"] = np.bytes_("nuswide")
    assert codes.load(tmp_path / "c.h5").dataset == "nuswide"


def test_text_that_is_no_utf_8(tmp_path):
    codes.save(tmp_path / "c.h5", GOOD)
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs.create("method", b"\xff", dtype=h5py.string_dtype("utf-8"))
    with pytest.raises(UserError, match=r"c.h5: method is '\\udcff'"):
        codes.load(tmp_path / "c.h5")


def test_lengths_are_whole_numbers(tmp_path):
    codes.save(tmp_path / "c.h5", GOOD)
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs["bits"] = 12.5
    with pytest.raises(UserError, match="bits is 12.5, not a whole number"):
        codes.load(tmp_path / "c.h5")


def test_unreadable_files(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(UserError, match="text.h5 is not a readable codes file"):
        codes.load(tmp_path / "text.h5")
    with pytest.raises(UserError, match="none.h5 is not a readable codes file"):
        codes.load(tmp_path / "none.h5")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["query_codes"] = GOOD.query_codes
    with pytest.raises(UserError, match="has no database_codes, query_labels"):
        codes.load(tmp_path / "part.h5")
    codes.save(tmp_path / "c.h5", GOOD)
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs["bits"] = "many"
    with pytest.raises(UserError, match="c.h5 is not a readable codes file"):
        codes.load(tmp_path / "c.h5")


def test_values_of_variable_length_are_not_read(tmp_path):
    """All of them may be one value of the file, which takes memory for each."""
    codes.save(tmp_path / "c.h5", GOOD)
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        del file["query_codes"]
        stored = file.create_dataset("query_codes", (5,), h5py.vlen_dtype(np.uint8))
        stored[0] = np.zeros(1000, np.uint8)
    with pytest.raises(
        UserError, match="c.h5 is not a readable codes file .*query_codes has no num"
    ):
        codes.load(tmp_path / "c.h5")


def test_codes_keep_their_model(tmp_path):
    of_model = dataclasses.replace(GOOD, model="net.caffemodel", model_sha256="0" * 64)
    codes.save(tmp_path / "c.h5", of_model)
    result = results.measure(codes.load(tmp_path / "c.h5"), source="a copy", protocol="paper")
    assert (result.model, result.model_sha256) == ("net.caffemodel", "0" * 64)

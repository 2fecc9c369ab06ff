"""Result files: what is written comes back; committed results are read and written."""

import dataclasses
import json

import numpy as np
import pytest

from dnnh import files, packed_codes, paths
from dnnh.data import datasets, splits
from dnnh.errors import UserError
from dnnh.evaluation import codes, report, results
from dnnh.evaluation.metrics import Metrics, PrecisionRecall

COMMITTED = sorted((paths.ROOT / "models/results").rglob("*.json"))
RESULT = results.Result(
    dataset="cifar10",
    method="dnnh",
    bits=12,
    seed=0,
    source="made up",
    protocol="paper",
    note="A <note>.",
    metrics=Metrics(
        map=0.6,
        precision_radius2=0.5,
        precision_at={100: 0.5, 200: 0.25},
        pr_curve=PrecisionRecall(recall=[0.0, 0.5, 1.0], precision=[0.0, 0.4, 0.1]),
    ),
)


def test_there_are_committed_results():
    assert COMMITTED


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_written_as_they_are(path, tmp_path):
    results.write_result(tmp_path / "result.json", results.read_result(path))
    assert (tmp_path / "result.json").read_bytes() == path.read_bytes()


def test_what_is_written_comes_back(tmp_path):
    path = tmp_path / "result.json"
    results.write_result(path, RESULT)
    assert results.read_result(path) == RESULT
    fields = json.loads(path.read_text())
    assert fields["precision_at"] == {"100": 0.5, "200": 0.25}
    assert fields["top"] is None and "model" not in fields and "map_random" not in fields
    without_note = dataclasses.replace(RESULT, note=None)
    results.write_result(path, without_note)
    assert json.loads(path.read_text())["note"] == ""
    assert results.read_result(path) == without_note


def test_a_released_model_was_trained_on_the_images_of_one_split(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    model = tmp_path / "released.caffemodel.h5"
    model.write_bytes(b"weights")
    digits = dataclasses.replace(datasets.load("digits"), images_sha256="1" * 64)
    split = splits.make_split(digits)
    assert results.seen_in_training(model, digits, split) is None
    (tmp_path / "results").mkdir()
    of_model = dataclasses.replace(RESULT, dataset="digits", model_sha256=files.sha256(model))
    same_source = dataclasses.replace(of_model, source=digits.source)

    def problem(result, split=split, **options):
        results.write_result(tmp_path / "results/released.json", result)
        return results.seen_in_training(model, digits, split, **options)

    assert "trained on 'made up'; digits here is 'scikit-learn's" in problem(of_model)
    for other in (
        same_source,
        dataclasses.replace(same_source, images_sha256="1" * 64),
        dataclasses.replace(of_model, dataset="cifar10"),
        dataclasses.replace(of_model, model_sha256="0" * 64),
    ):
        assert problem(other) is None
    # Copies of one data set may have other orders, and a split is drawn by position.
    other = dataclasses.replace(same_source, images_sha256="2" * 64)
    assert "digits here is other images, or in another order" in problem(other)
    another = splits.make_split(digits, seed=1)
    assert "queries of protocol paper, split seed 1, may be among its" in problem(
        same_source, another
    )
    assert "queries of the validation split" in problem(same_source, validation=True)


@pytest.mark.parametrize("name", ["DNNH (plus)", "CNNH*", "mine"])
def test_any_method_has_results(tmp_path, name):
    named = dataclasses.replace(RESULT, method=name)
    results.write_result(tmp_path / "result.json", named)
    assert results.read_result(tmp_path / "result.json") == named


@pytest.mark.parametrize(
    "changes",
    [
        {"queries": "many"},
        {"top": 0.5},
        {"model": 3},
        {"seconds": "1"},
        {"top": True},
        {"queries": -5},
    ],
)
def test_optional_fields_of_another_type(tmp_path, changes):
    path = tmp_path / "result.json"
    results.write_result(path, RESULT)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(
        UserError, match="result.json is not a result .* not (of type|text|a whole)"
    ):
        results.read_result(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"map": 1.5},
        {"map": -0.1},
        {"map": float("nan")},
        {"precision_radius2": 2},
        {"map_tie_aware": float("nan")},
        {"precision_at": {"100": 7}},
        {"pr_curve": {"recall": [0, 3], "precision": [1, 1]}},
    ],
)
def test_values_that_are_no_shares(tmp_path, changes):
    path = tmp_path / "result.json"
    results.write_result(path, RESULT)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError, match=r"result.json is not a result .* not from 0 to 1"):
        results.read_result(path)


def some_codes(query_ids, database_ids):
    rng = np.random.default_rng(0)
    packed = packed_codes.pack(rng.random((6, 8)) < 0.5)
    labels = np.arange(6) % 2
    queries, database = slice(0, len(query_ids)), slice(0, len(database_ids))
    return codes.Codes(
        packed[queries],
        packed[database],
        labels[queries],
        labels[database],
        bits=8,
        dataset="digits",
        method="dnnh",
        seed=0,
        query_ids=np.array(query_ids),
        database_ids=np.array(database_ids),
    )


def test_queries_in_the_database(capsys):
    def database(query_ids, database_ids):
        measured = results.measure(
            some_codes(query_ids, database_ids), source="made up", protocol="paper"
        )
        return measured.metrics.database

    assert database([7, 8], [1, 2, 3]) == 3
    assert "excluded" not in capsys.readouterr().out
    assert database([2, 1], [1, 2, 3]) == 2
    assert "each query is in the database and is excluded" in capsys.readouterr().out
    with pytest.raises(UserError, match="some queries are in the database and some are not"):
        database([2, 7], [1, 2, 3])


def test_weights_of_bits_rank(tmp_path):
    encoded = some_codes([7, 8], [1, 2, 3])
    weighted = dataclasses.replace(encoded, bit_weights=np.eye(8, dtype=np.float32)[0])
    maps = []
    for some, distance in ((encoded, None), (weighted, "weighted Hamming distance")):
        measured = results.measure(some, source="made up", protocol="paper")
        assert measured.distance == distance
        maps.append(measured.metrics.map_tie_aware)
        described = report.describe(measured)
        assert described.endswith(f", ranked by {distance}" if distance else " in the database")
        results.write_result(tmp_path / "result.json", measured)
        assert results.read_result(tmp_path / "result.json") == measured
    assert maps[0] != maps[1]
    fields = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**fields, "distance": "two\nlines"}))
    with pytest.raises(UserError, match="distance is not text"):
        results.read_result(tmp_path / "result.json")


def test_the_cut_of_map():
    encoded = some_codes([7, 8], [1, 2, 3])
    nuswide = dataclasses.replace(encoded, dataset="nuswide")
    for some, map_at, top in ((encoded, None, None), (nuswide, None, 5000), (nuswide, 2, 2)):
        measured = results.measure(some, source="made up", protocol="paper", map_at=map_at)
        assert measured.metrics.top == top
    with pytest.raises(UserError, match="--map-at 0: "):
        results.measure(encoded, source="made up", protocol="paper", map_at=0)

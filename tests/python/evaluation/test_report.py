"""The report: every number in it, every picture inside it."""

import base64
import csv
import dataclasses
import html.parser
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from dnnh import packed_codes
from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.evaluation import codes, gallery, metrics, report, result_folder
from dnnh.evaluation.results import Result, write_result

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
DATASET = datasets.Dataset("cifar10", IMAGES, LABELS, ("a<b", "cat", "dog"), "made up")
# Codes that tell the classes apart, but for one bit in ten.
PROTOTYPES = RNG.random((3, 12)) < 0.5
BITS = PROTOTYPES[LABELS] ^ (RNG.random((60, 12)) < 0.1)
CODES = codes.Codes(
    packed_codes.pack(BITS[:6]),
    packed_codes.pack(BITS[6:]),
    LABELS[:6],
    LABELS[6:],
    12,
    "cifar10",
    "dnnh",
    0,
    np.arange(6),
    np.arange(6, 60),
)


@pytest.fixture(scope="module")
def result():
    measured = metrics.evaluate(
        CODES.query_codes, CODES.database_codes, CODES.query_labels, CODES.database_labels, 12
    )
    measured.precision_at = {100: 0.5, 200: 0.25}
    return Result(
        dataset="cifar10",
        method="dnnh",
        bits=12,
        seed=0,
        source="made up",
        protocol="paper",
        note="A <note>.",
        metrics=measured,
        seconds=0.5,
    )


def with_metrics(result, **changes):
    return dataclasses.replace(result, metrics=dataclasses.replace(result.metrics, **changes))


def test_summary_has_the_numbers(result):
    measured = result.metrics
    text = report.summary(result)
    assert re.search(rf"MAP +{measured.map:.4f}\n", text)
    assert re.search(rf"within radius 2 +{measured.precision_radius2:.4f}\n", text)
    assert "dnnh, 12 bits, cifar10 (made up), protocol paper: 6 queries, 54 in" in text
    assert f"at random, precision would be 0.3333, and MAP {measured.map_random:.4f}" in text
    for none in (0, 4):
        text = report.summary(with_metrics(result, queries_without_radius2=none))
        sentence = "(4 queries retrieve nothing within radius 2 and count 0 there)"
        assert (sentence in text) == bool(none)


def test_json_and_csv_hold_what_was_measured(result, tmp_path):
    write_result(tmp_path / "r.json", result)
    read = json.loads((tmp_path / "r.json").read_text())
    curve = result.metrics.pr_curve
    assert read["map"] == result.metrics.map
    assert read["pr_curve"] == {"recall": curve.recall, "precision": curve.precision}
    assert read["precision_at"] == {"100": 0.5, "200": 0.25}
    assert read["top"] is None
    report.write_csv(tmp_path / "r.csv", result)
    rows = list(csv.reader((tmp_path / "r.csv").open()))
    assert rows[0] == ["figure", "x", "y"]
    assert ["source", "", "made up"] in rows and ["note", "", "A <note>."] in rows
    points = [(float(x), float(y)) for figure, x, y in rows[1:] if figure == "precision_recall"]
    assert points == list(zip(curve.recall, curve.precision))


def test_plots_draw_the_figures(result):
    longer = dataclasses.replace(with_metrics(result, precision_radius2=0.3), bits=48)
    drawn = report.draw(result, [longer])
    data = {name: plot.figure.axes[0].lines[0].get_xydata() for name, plot in drawn.items()}
    measured = result.metrics
    assert data["precision_radius2"].tolist() == [[12, measured.precision_radius2], [48, 0.3]]
    assert data["precision_at"].tolist() == [[100, 0.5], [200, 0.25]]
    assert data["precision_recall"][-1].tolist() == [1, measured.pr_curve.precision[-1]]


def test_no_plot_has_a_single_point(result):
    assert list(report.draw(result)) == ["precision_recall", "precision_at"]  # one length
    assert list(report.draw(with_metrics(result, precision_at={54: 0.3}))) == ["precision_recall"]
    page = report.page(result, {})
    assert f"{result.metrics.precision_radius2:.4f}" in page and "Plots" not in page


def test_a_plot_of_an_earlier_result_is_removed(result, tmp_path):
    for name in ("precision_radius2.png", "precision_radius2.pdf", "mine.png", "result.json"):
        (tmp_path / name).write_bytes(b"")
    result_folder.write(CODES, result, DATASET, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "precision_radius2.png" not in names and "precision_radius2.pdf" not in names
    assert {"mine.png", "precision_at.png", "report.html"} <= names


def test_alternative_texts_say_what_the_plots_show(result):
    plot = report.draw(result)["precision_at"]
    assert plot.alt == (
        "Line chart: precision vs. number of returned images. "
        "dnnh: 0.500 at 100 images, 0.250 at 200 images."
    )


def test_gallery_ranks_by_distance():
    rows = gallery.gallery(CODES, DATASET, count=4)
    assert len(rows) == 4 and len({row.query.index for row in rows}) == 4
    for row in rows:
        query = row.query.index
        assert row.query.label == DATASET.classes[LABELS[query]]
        distances = [hit.distance for hit in row.hits]
        expected = sorted((BITS[query] != BITS[6:]).sum(axis=1))[: len(row.hits)]
        assert distances == [int(d) for d in expected]
        for hit in row.hits:
            index = hit.image.index
            assert (BITS[query] != BITS[index]).sum() == hit.distance
            assert hit.relevant == (LABELS[query] == LABELS[index])


def test_gallery_shows_each_of_few_queries_once():
    few = dataclasses.replace(
        CODES,
        query_codes=CODES.query_codes[:3],
        query_labels=CODES.query_labels[:3],
        query_ids=CODES.query_ids[:3],
    )
    rows = gallery.gallery(few, DATASET, count=10)
    assert sorted(row.query.index for row in rows) == sorted(CODES.query_ids[:3])


def test_gallery_ranks_by_weighted_distance():
    weights = np.random.default_rng(1).random(BITS.shape[1]).astype(np.float32)
    weighted = dataclasses.replace(CODES, bit_weights=weights)
    rows = gallery.gallery(weighted, DATASET, count=4)
    assert [len(row.hits) for row in rows] == 4 * [gallery.HITS]
    for row in rows:
        differ = BITS[row.query.index] != BITS
        nearest = np.sort(differ[6:] @ weights)[: len(row.hits)]
        hits = [hit.image.index for hit in row.hits]
        assert np.allclose(differ[hits] @ weights, nearest)
        assert [hit.distance for hit in row.hits] == differ[hits].sum(axis=1).tolist()


def test_codes_of_another_result_do_not_stay(tmp_path, result):
    """Beside a result of a codes file that lies elsewhere."""
    folder, elsewhere = tmp_path / "results", tmp_path / "codes.h5"
    result_folder.write(CODES, result, DATASET, folder)
    (folder / "notes.txt").touch()
    shutil.copy(folder / "codes.h5", elsewhere)
    # The folder's own codes, evaluated again.
    result_folder.write(CODES, result, folder=folder, codes_file=folder / "codes.h5")
    assert (folder / "codes.h5").exists()
    result_folder.write(CODES, result, folder=folder, codes_file=elsewhere)
    assert not (folder / "codes.h5").exists()
    # A folder of codes files is none of results.
    (tmp_path / "mine").mkdir()
    shutil.copy(elsewhere, tmp_path / "mine/codes.h5")
    result_folder.write(CODES, result, folder=tmp_path / "mine", codes_file=elsewhere)
    assert (tmp_path / "mine/codes.h5").exists()
    assert (folder / "notes.txt").exists() and (folder / "result.json").exists()


def test_the_copy_of_the_json_comes_last(tmp_path, result, monkeypatch):
    """It would be of a result that is in no folder."""

    def fail(*arguments):
        raise UserError("no room")

    monkeypatch.setattr(report, "write_csv", fail)
    with pytest.raises(UserError, match="no room"):
        result_folder.write(CODES, result, folder=tmp_path / "a", json_copy=tmp_path / "copy.json")
    assert not (tmp_path / "copy.json").exists() and not list((tmp_path / "a").iterdir())


def test_a_query_is_not_its_own_hit():
    within = dataclasses.replace(
        CODES,
        query_codes=CODES.database_codes[:6],
        query_labels=CODES.database_labels[:6],
        query_ids=CODES.database_ids[:6],
    )
    rows = gallery.gallery(within, DATASET, count=4)
    assert [len(row.hits) for row in rows] == 4 * [gallery.HITS]
    for row in rows:
        assert row.query.index not in [hit.image.index for hit in row.hits]


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_page_is_self_contained(result):
    rows = gallery.gallery(CODES, DATASET, count=4)
    page = Page(report.page(result, report.draw(result), rows))
    assert f"{result.metrics.map:.4f}" in page.text
    assert "A <note>." in page.text and "a<b" in page.text  # escaped, not markup
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2 + 4 * (1 + gallery.HITS)
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    for source in pictures:
        assert source.startswith("data:image/png;base64,")
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        Image.open(io.BytesIO(data)).verify()
    for tag, attributes in page.tags:
        assert tag not in ("link", "script", "iframe")
        assert "href" not in attributes
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "li"]
    relevant = sum(hit.relevant for row in rows for hit in row.hits)
    assert classes.count("right") == relevant
    assert classes.count("wrong") == 4 * gallery.HITS - relevant

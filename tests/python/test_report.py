"""The report: every number in it, every picture inside it."""

import base64
import csv
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from dnnh import codes, datasets, metrics, ranking, report

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
DATASET = datasets.Dataset("cifar10", IMAGES, LABELS, ("a<b", "cat", "dog"), "made up")
# Codes that tell the classes apart, but for one bit in ten.
PROTOTYPES = RNG.random((3, 12)) < 0.5
BITS = PROTOTYPES[LABELS] ^ (RNG.random((60, 12)) < 0.1)
CODES = codes.Codes(
    ranking.pack(BITS[:6]), ranking.pack(BITS[6:]), LABELS[:6], LABELS[6:], 12,
    "cifar10", "DNNH", 0, np.arange(6), np.arange(6, 60))


@pytest.fixture(scope="module")
def result():
    measured = metrics.evaluate(CODES.query_codes, CODES.database_codes,
                                CODES.query_labels, CODES.database_labels, 12)
    measured["precision_at"] = {100: 0.5, 200: 0.25}
    return {"dataset": "cifar10", "method": "DNNH", "bits": 12, "seed": 0,
            "source": "made up", "protocol": "paper", "note": "A <note>.", **measured, "seconds": 0.5}


def test_summary_has_the_numbers(result):
    text = report.summary(result)
    assert re.search(rf"MAP +{result['map']:.4f}\n", text)
    assert re.search(rf"within radius 2 +{result['precision_radius2']:.4f}\n", text)
    assert "DNNH, 12 bits, cifar10 (made up), protocol paper: 6 queries, 54 in" in text
    assert f"at random, precision would be 0.3333, and MAP {result['map_random']:.4f}" in text
    for none in (0, 4):
        text = report.summary({**result, "queries_without_radius2": none})
        assert ("(4 queries have nothing within radius 2 and count 0 there)" in text) == bool(none)


def test_json_and_csv_hold_what_was_measured(result, tmp_path):
    report.write_json(tmp_path / "r.json", result)
    read = json.loads((tmp_path / "r.json").read_text())
    assert read["map"] == result["map"]
    assert read["pr_curve"] == result["pr_curve"]
    assert read["precision_at"] == {"100": 0.5, "200": 0.25}
    assert read["top"] is None
    report.write_csv(tmp_path / "r.csv", result)
    rows = list(csv.reader((tmp_path / "r.csv").open()))
    assert rows[0] == ["figure", "x", "y"]
    assert ["source", "", "made up"] in rows and ["note", "", "A <note>."] in rows
    curve = [(float(x), float(y)) for figure, x, y in rows[1:]
             if figure == "precision_recall"]
    assert curve == list(zip(*result["pr_curve"].values()))


def test_plots_draw_the_figures(result):
    figures = report.draw(result, [{**result, "bits": 48, "precision_radius2": 0.3}])
    data = {name: figure.axes[0].get_lines()[0].get_xydata()
            for name, figure in figures.items()}
    assert data["precision_radius2"].tolist() == [
        [12, result["precision_radius2"]], [48, 0.3]]
    assert data["precision_at"].tolist() == [[100, 0.5], [200, 0.25]]
    assert data["precision_recall"][-1].tolist() == [
        1, result["pr_curve"]["precision"][-1]]


def test_gallery_ranks_by_distance():
    rows = report.gallery(CODES, DATASET, count=4)
    assert len(rows) == 4 and len({query for query, _ in rows}) == 4
    for query, hits in rows:
        distances = [distance for _, distance, _ in hits]
        expected = sorted((BITS[query] != BITS[6:]).sum(axis=1))[:len(hits)]
        assert distances == [int(d) for d in expected]
        for hit, distance, relevant in hits:
            assert (BITS[query] != BITS[hit]).sum() == distance
            assert relevant == (LABELS[query] == LABELS[hit])


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
    rows = report.gallery(CODES, DATASET, count=4)
    page = Page(report.page(result, report.draw(result), rows, DATASET))
    assert f"{result['map']:.4f}" in page.text
    assert "A <note>." in page.text and "a<b" in page.text     # escaped, not markup
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3 + 4 * (1 + report.GALLERY_HITS)
    for source in pictures:
        assert source.startswith("data:image/png;base64,")
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        Image.open(io.BytesIO(data)).verify()
    for tag, attributes in page.tags:
        assert tag not in ("link", "script", "iframe")
        assert "href" not in attributes
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "td"]
    relevant = sum(r for _, hits in rows for _, _, r in hits)
    assert classes.count("right") == relevant
    assert classes.count("wrong") == 4 * report.GALLERY_HITS - relevant

"""Ours beside the paper's."""

import html.parser
import importlib
import itertools
import json
import os
import re

import pytest
from matplotlib.text import Text

from dnnh.evaluation import comparison, plots, published
from dnnh.evaluation.comparison_table import Line, csv_text
from dnnh.paths import ROOT


def write(path, **changes):
    path.write_text(
        json.dumps(
            {
                "dataset": "cifar10",
                "method": "dnnh",
                "bits": 48,
                "protocol": "paper",
                "seed": 0,
                "source": "a copy",
                "note": "",
                "map": 0.6,
                "precision_radius2": 0.5,
                "precision_at": {"100": 0.7, "200": 0.65},
                "pr_curve": {"recall": [0, 0.5, 1], "precision": [0, 0.4, 0.1]},
                **changes,
            }
        )
    )
    return path


def test_differences_are_ours_less_the_papers(tmp_path):
    files = [
        write(tmp_path / "1", map=0.1),
        write(tmp_path / "2"),  # the later counts
        write(tmp_path / "3", bits=16, map=0.3),
        write(tmp_path / "4", method="mine", bits=12),
        write(tmp_path / "5", method="other", protocol="validation"),
        write(tmp_path / "6", method="short", note="cut short"),
        write(tmp_path / "7", method="other", seed=3),
        write(tmp_path / "8", dataset="svhn", bits=12, map=0.9),
        write(tmp_path / "9", source="originals", bits=12, map=0.2),
        write(tmp_path / "10", top=100, map=0.9),
        write(
            tmp_path / "11", model="cifar10_dnnh_short_seed2_48bit_iter_9000.caffemodel", map=0.8
        ),
    ]
    results, skipped = comparison.read_results(files)
    assert [re.sub(".*/", "", sentence) for sentence in skipped] == [
        "5 is of protocol validation, split seed 0",
        "6 has a note: cut short",
        "7 is of protocol paper, split seed 3",
        "10 has MAP at another cut than the paper's (--map-at)",
        "11 is of training seed 2",
    ]
    (of_seed,), no_sentence = comparison.read_results(files[-1:], any_seed=True)
    assert of_seed.label == "dnnh" and not no_sentence
    tables = {
        (table.source, table.printed.name, table.printed.measure): table
        for table in comparison.tables("cifar10", results)
    }
    table, radius = (
        tables["a copy", "Table 2", "map"],
        tables["a copy", "Figure 6a", "precision_radius2"],
    )
    other = tables["originals", "Table 2", "map"]
    assert table.lengths == [12, 16, 24, 32, 48]
    rows = {(line.method, line.whose): line.values for line in table.lines()}
    assert rows["dnnh", "paper"] == ["0.552", "", "0.566", "0.558", "0.581"]
    assert rows["dnnh", "ours"] == ["", "0.300", "", "", "0.600"]
    assert rows["dnnh", "difference"] == ["", "", "", "", "+0.019"]
    assert rows["mine", "ours"] == ["0.600", "", "", "", ""]
    assert ("mine", "difference") not in rows and ("ksh", "paper") in rows
    assert rows["ksh", "ours"] == [""] * 5 and ("ksh", "difference") not in rows
    assert {method for method, _ in rows} == {"mine", *table.printed.rows}
    assert Line("dnnh", "difference", ["", "", "", "", "-0.125"]) in radius.lines()
    for text in (table.text(), table.markdown(), comparison.page("cifar10", [table], {}, [])):
        assert "+0.019" in text and "ours on a copy" in text
    assert comparison.summary([table]) == [
        "MAP at 48 bits: dnnh 0.600 (paper 0.581, difference +0.019) (a copy)."
    ]
    assert "Table 2,,cifar10,a copy,map,dnnh,difference,48,+0.019\n" in csv_text(tables.values())
    assert other.source == "originals" and other.ours == {"dnnh": {12: 0.2}}
    svhn = comparison.tables("svhn", results)[0]
    assert Line("dnnh", "difference", ["+0.001", "", "", ""]) in svhn.lines()
    # A closed table has no methods but its own.
    assert set(tables["a copy", "Table 3", "map"].methods) == {"dnnh", "dnnh_fc"}
    axes, _ = plots.comparison([table, radius]).figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["dnnh"] == [[16, 0.3], [48, 0.6]] and lines["mine"] == [[12, 0.6]]
    assert lines["ksh (paper)"] == [[12, 0.303], [24, 0.337], [32, 0.346], [48, 0.356]]
    styles = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert styles["dnnh"] == (plots.BLUE, "-") and styles["dnnh (paper)"] == (plots.BLUE, "--")
    assert styles["mine"] == (plots.GREY["ours"], "-")
    assert styles["ksh (paper)"] == (plots.GREY["paper"], "--")
    assert axes.get_title(loc="left") == "MAP vs. code length"
    assert "a copy: ours (solid), paper (dashed)" in [text.get_text() for text in axes.texts]


def test_each_schedule_has_a_row(tmp_path):
    maps = {
        "_short_48bit": 0.6,
        "_48bit": 0.7,
        "_300iterations_48bit": 0.2,
        "_short_seed2_48bit": 0.5,
    }
    files = [
        write(tmp_path / name, map=value, model=f"cifar10_dnnh{name}.caffemodel.h5")
        for name, value in maps.items()
    ]
    results, _ = comparison.read_results(files[:-1])
    others = [comparison.read_results(files[-1:], any_seed=True)[0]]
    tables = comparison.tables("cifar10", results, comparison.of_seeds(results, others))
    table, ablation = tables[0], tables[1]
    # The schedule that all lengths have goes by the method's name alone.
    assert table.ours["dnnh"] == {48: 0.6} and table.ranges == {"dnnh": {48: (0.5, 0.6)}}
    assert table.methods[:3] == ["dnnh", "dnnh (300 iterations)", "dnnh (schedule paper)"]
    lines = {(line.method, line.whose): line.values[-1] for line in table.lines()}
    assert lines["dnnh (schedule paper)", "difference"] == "+0.119"
    assert ("dnnh (schedule paper)", "paper") not in lines
    assert "dnnh (schedule paper)" in ablation.ours
    (sentence,) = comparison.summary([table])
    assert sentence.startswith("MAP at 48 bits: dnnh 0.600 (paper 0.581")
    assert "Above dnnh at 48 bits: dnnh (schedule paper) 0.700" in sentence
    # Others' methods may have parentheses in their names.
    results, _ = comparison.read_results([write(tmp_path / "mine", method="dnnh (mine)", map=0.9)])
    assert "difference" not in comparison.tables("cifar10", results)[0].markdown().split("order")[0]
    (sentence,) = comparison.summary(
        comparison.tables("cifar10", comparison.read_results(files[1:2])[0])[:1]
    )
    assert sentence.startswith("MAP at 48 bits: dnnh (schedule paper) 0.700 (paper 0.581")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"map": 1}'])
def test_what_is_no_result_is_said_and_left_out(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    results, (sentence,) = comparison.read_results([tmp_path / "result.json"])
    assert "result.json is not a result of tools/evaluate.py" in sentence and not results


def test_the_order_of_methods(tmp_path):
    def order(**maps):
        files = [
            write(tmp_path / method, method=method, map=value) for method, value in maps.items()
        ]
        return comparison.tables("cifar10", comparison.read_results(files)[0])[0].order()

    assert order(dnnh=0.6, ksh=0.4, lsh=0.1, mine=0.9) == (
        "Order at 48 bits, the same as the paper's: dnnh > ksh > lsh."
    )
    assert order(dnnh=0.6, ksh=0.1, lsh=0.4) == (
        "Order at 48 bits: paper dnnh > ksh > lsh; ours dnnh > lsh > ksh."
    )
    assert order(dnnh=0.6, mine=0.9) is None


class Table(html.parser.HTMLParser):
    """The first table of a page: the text and the attributes of each cell, by row."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.images, self.cell = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = {"tag": tag, "text": "", **dict(attributes)}
            self.rows[-1].append(self.cell)
        elif tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.cell["text"] += data


def test_the_page_has_one_row_a_method(tmp_path):
    results, _ = comparison.read_results(
        [write(tmp_path / "1"), write(tmp_path / "2", method="mine", bits=12)]
    )
    table = comparison.tables("cifar10", results)[0]
    empty = comparison.tables("mnist", {})[1]
    assert "No values." in comparison.page("mnist", [empty], {}, [])
    rows = Table(comparison.page("cifar10", [table], {}, [])).rows
    assert [row[0]["text"] for row in rows[2:]] == table.methods
    lengths = [(cell["text"], int(cell["colspan"])) for cell in rows[0][1:]]
    assert lengths == [("12 bits", 2), ("24 bits", 1), ("32 bits", 1), ("48 bits", 3)]
    texts = [[cell["text"] for cell in row] for row in rows[1:]]
    assert texts[0] == ["paper", "ours", "paper", "paper", "paper", "ours", "diff."]
    assert texts[1] == ["dnnh", "0.552", "", "0.566", "0.558", "0.581", "0.600", "+0.019"]
    assert texts[-1] == ["mine", "", "0.600", "", "", "", "", ""]
    for row in rows:
        assert all("scope" in cell for cell in row if cell["tag"] == "th")


def overlaps(figure):
    """Pairs of texts of a plot that overlap (their leader lines may), and those that are cut."""
    figure.draw_without_rendering()
    whole = figure.bbox
    wrong = []
    for axes in figure.axes:
        boxes = [(text.get_text(), Text.get_window_extent(text)) for text in axes.texts]
        wrong += [
            (name, other)
            for (name, box), (other, other_box) in itertools.combinations(boxes, 2)
            if box.overlaps(other_box)
        ]
        for name, box in boxes:
            if box.x1 > whole.x1 + 1 or box.y0 < whole.y0 - 1 or box.y1 > whole.y1 + 1:
                wrong.append((name, "is cut"))
    return wrong


def test_labels_at_the_ends_do_not_overlap(tmp_path):
    released, _ = comparison.read_results(sorted((ROOT / "models/results").glob("*.json")))
    (source,) = comparison.sources("cifar10", released)
    tables = comparison.tables("cifar10", released)
    drawn = comparison.figures_by_length(tables) | comparison.figures("cifar10", source, released)
    drawn["both"] = plots.comparison(comparison.with_curves(tables))
    assert len(drawn) == 6
    for name, plot in drawn.items():
        assert len(plot.figure.axes[0].texts) > 2, name
        assert not overlaps(plot.figure), name


@pytest.mark.parametrize("count", (2, 14, 60))
def test_labels_of_equal_curves_do_not_overlap(count):
    series = [plots.Series(f"method{i}", [0, 0.5, 1], [0.5, 0.4, 0.1]) for i in range(count)]
    for draw in (plots.precision_radius2, plots.precision_recall, plots.precision_at):
        figure = draw(series, "a copy").figure
        names = {text.get_text() for text in figure.axes[0].texts}
        assert {line.name for line in series} <= names
        assert not overlaps(figure)


def test_a_method_without_relevant_images_has_no_curve():
    series = [plots.Series("a", [0, 1], [0.5, 0.1]), plots.Series("b", [], [])]
    assert "0.300 at recall 0.50" in plots.precision_recall(series, "a copy").alt
    # A curve that begins behind it has no value there, and comes last.
    late = plots.Series("c", [0.9, 1], [0.9, 0.1])
    plot = plots.precision_recall([*series[:1], late], "a copy")
    assert "c: 0.900 at recall 0.90, 0.100 at recall 1.00." in plot.alt
    names = [text.get_text() for text in plot.figure.axes[0].texts]
    assert names.index("a") < names.index("c")


def test_ranges_over_seeds_are_bars(tmp_path):
    files = [write(tmp_path / str(i), map=value) for i, value in enumerate((0.5, 0.4, 0.6))]
    others = [comparison.read_results([file])[0] for file in files[1:]]
    results, _ = comparison.read_results([files[0], write(tmp_path / "3", bits=24)])
    trainings = comparison.of_seeds(results, others)
    table = comparison.tables("cifar10", results, trainings)[0]
    assert table.ranges == {"dnnh": {48: (0.4, 0.6)}}
    own, _ = comparison.read_results([write(tmp_path / "own", map=0.1)])
    assert not comparison.tables("cifar10", own, trainings)[0].ranges
    plot = plots.comparison([table])
    assert "Bars: range over training seeds." in plot.caption
    bars = [line.get_segments()[0] for line in plot.figure.axes[0].collections]
    assert [bar.tolist() for bar in bars] == [[[48, 0.4], [48, 0.6]]]
    bar = plots.Series("dnnh", [48.0], [0.5], ranges={48: (0.4, 0.92)})
    assert plots.precision_radius2([bar], "a copy").figure.axes[0].get_ylim()[1] == 1
    without = plots.comparison(comparison.tables("cifar10", results)[:1])
    assert "Bars" not in without.caption and not without.figure.axes[0].collections


def test_places_are_spread():
    assert plots.spread([0.5, 0.2], 0.1) == [0.5, 0.2]
    assert plots.spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert plots.spread([0, 0, 0.9], 0.1) == pytest.approx([0, 0.1, 0.9])
    places = plots.spread([1, 0.99, 0.98, 0.3], 0.1)
    assert places == pytest.approx([1, 0.9, 0.8, 0.3])


def test_no_plot_has_a_single_point(tmp_path):
    results, _ = comparison.read_results(
        [
            write(tmp_path / "1", dataset="mnist", bits=32),
            write(tmp_path / "2", dataset="mnist", bits=32, method="sdh_pixels"),
        ]
    )
    tables = comparison.tables("mnist", results)
    assert comparison.with_curves(tables) == [] and comparison.figures_by_length(tables) == {}
    results, _ = comparison.read_results(
        [
            write(
                tmp_path / "3",
                precision_at={"100": 0.7},
                pr_curve={"recall": [0, 1], "precision": [0, 0.1]},
            )
        ]
    )
    assert comparison.figures("cifar10", "a copy", results) == {}


def test_the_summary_without_dnnh(tmp_path):
    results, _ = comparison.read_results(
        [write(tmp_path / "1", method="a"), write(tmp_path / "2", method="b", map=0.7)]
    )
    assert comparison.summary(comparison.tables("cifar10", results)[:1]) == [
        "MAP at 48 bits: the best of our 2 methods is b, 0.700 (a copy)."
    ]
    assert comparison.summary(comparison.tables("cifar10", {})) == []


def test_a_long_name_is_shortened():
    label = plots.Series("x" * 200, [1], [1], "paper").label
    assert label.endswith("… (paper)") and len(label) == plots.MAX_LABEL + len(" (paper)")
    assert plots.Series("a method of mine", [1], [1]).label == "a method of mine"


def test_the_papers_figures(tmp_path):
    """5b to 7c and 8: at 48 bits."""
    results, _ = comparison.read_results(
        [
            write(tmp_path / "1", method="lsh", bits=12, precision_radius2=0.1),
            write(tmp_path / "2", method="lsh", precision_radius2=0.2),
            write(tmp_path / "3"),
            write(tmp_path / "4", method="dnnh_fc"),
        ]
    )
    figures = comparison.figures("cifar10", "a copy", results)
    drawn = {
        name.removesuffix("_a_copy"): {
            line.get_label(): line.get_xydata().tolist()
            for line in plot.figure.axes[0].lines
            if not line.get_label().startswith("_")
        }
        for name, plot in figures.items()
    }
    assert drawn == {
        "precision_recall": {key: [[0.5, 0.4], [1, 0.1]] for key in ("dnnh", "lsh")},
        "precision_at": {key: [[100, 0.7], [200, 0.65]] for key in ("dnnh", "lsh")},
        "divide_and_encode": {key: [[100, 0.7], [200, 0.65]] for key in ("dnnh", "dnnh_fc")},
    }
    by_length = comparison.figures_by_length(comparison.tables("cifar10", results))
    assert list(by_length) == ["map_a_copy", "precision_radius2_a_copy"]
    lines = by_length["precision_radius2_a_copy"].figure.axes[0].lines
    assert {line.get_label(): line.get_xydata().tolist() for line in lines} == {
        "dnnh (paper)": [[12, 0.527], [24, 0.615], [32, 0.602], [48, 0.625]],
        "dnnh": [[48, 0.5]],
        "lsh": [[12, 0.1], [48, 0.2]],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": "48"},
        {"map": 7},
        {"note": None},
        {"precision_at": {"100": 3}},
        {"pr_curve": {"recall": [0.5], "precision": ["x"]}},
        {"bits": True},
        {"bits": 10**400},
        {"map": 10**400},
        {"map": True},
        {"precision_at": {"9" * 400: 0.5}},
        {"pr_curve": {"recall": {"a": 1}, "precision": [1]}},
        {"source": "a\0b"},
        {"method": "\ud800"},
        {"source": "x" * 201},
        {"pr_curve": {"recall": [1]}},
    ],
)
def test_values_of_another_kind(tmp_path, changes):
    results, (sentence,) = comparison.read_results([write(tmp_path / "result.json", **changes)])
    assert "is not a result of tools/evaluate.py" in sentence and not results


def test_the_newest_of_your_own_comes_first(home, monkeypatch, capsys):
    command = importlib.import_module("report")

    def printed(*arguments):
        monkeypatch.setattr("sys.argv", ["report.py", *arguments])
        command.main()
        return capsys.readouterr().out

    assert "no result of ours yet" in printed()
    for folder, value, age in (
        ("models/results", 0.1, 0),
        ("results/z", 0.2, 20),
        ("results/a", 0.3, 10),
    ):
        (home / folder).mkdir(parents=True)
        path = home / folder / "result.json"
        write(path, map=value)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert re.search(r"dnnh +ours +0.300\n", printed())
    assert re.search(r"dnnh +ours +0.100\n", printed("--released"))
    printed()
    assert (
        "| dnnh | ours |  |  |  | 0.300 |" in (home / "results/comparison_cifar10.md").read_text()
    )
    page = (home / "results/comparison_cifar10.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    images = Table(page).images
    assert len(images) == 4 and all(image["alt"].startswith("Line chart: ") for image in images)
    assert "dnnh: 0.300 at 48 bits." in images[0]["alt"]
    (home / "models/results/seeds").mkdir()
    write(home / "models/results/seeds/2.json", map=0.3, precision_radius2=0.2)
    write(home / "models/results/seeds/3.json", map=0.5)
    write(home / "models/results/seeds/other.json", bits=12)  # of nothing released
    sentence = (
        "dnnh, 48 bits, a copy; mean (and range) of 3 training seeds: MAP 0.300 (0.100 to "
        "0.500), precision within Hamming radius 2 0.400 (0.200 to 0.500)."
    )
    assert printed().count("training seeds") == 1 and sentence in printed()
    for suffix in ("md", "html"):
        assert sentence in (home / f"results/comparison_cifar10.{suffix}").read_text()
    assert {path.name for path in (home / "results/comparison_cifar10").iterdir()} == {
        f"{name}.{kind}"
        for kind in ("png", "pdf")
        for name in (
            "comparison",
            "map_a_copy",
            "precision_radius2_a_copy",
            "precision_recall_a_copy",
            "precision_at_a_copy",
        )
    }


def test_the_papers_own_tables_agree():
    """dnnh is the best row everywhere, as the paper says; all rows have all lengths."""
    for table in published.TABLES:
        for row in table.rows.values():
            assert all(0 < value < 1 for value in row.values())
            best = next(iter(table.rows.values()))
            assert all(row[bits] <= best[bits] for bits in row)
        if table.name.startswith("Table"):
            assert next(iter(table.rows)) == "dnnh"
            assert all(list(row) == [12, 24, 32, 48] for row in table.rows.values())
    assert [len(table.rows) for table in published.TABLES[:3]] == [10, 9, 10]

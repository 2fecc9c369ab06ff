"""Ours beside the paper's."""

import importlib
import json
import os
import re

import pytest

from dnnh.evaluation import comparison, plots, published
from dnnh.evaluation.comparison_table import Line, csv_text


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
    ]
    results, skipped = comparison.read_results(files)
    assert [re.sub(".*/", "", sentence) for sentence in skipped] == [
        "5 is of protocol validation, split seed 0",
        "6 has a note: cut short",
        "7 is of protocol paper, split seed 3",
        "10 has MAP at another cut than the paper's (--map-at)",
    ]
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
    assert "Table 2,cifar10,a copy,map,dnnh,difference,48,+0.019\n" in csv_text(tables.values())
    assert other.source == "originals" and other.ours == {"dnnh": {12: 0.2}}
    svhn = comparison.tables("svhn", results)[0]
    assert Line("dnnh", "difference", ["+0.001", "", "", ""]) in svhn.lines()
    # A closed table has no methods but its own.
    assert set(tables["a copy", "Table 3", "map"].methods) == {"dnnh", "dnnh_fc"}
    figure = plots.comparison([table, radius])
    (legend,) = figure.legends  # each method once, in the order of its values
    assert [text.get_text() for text in legend.get_texts()] == ["dnnh", "mine"]
    axes, _ = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["dnnh, ours"] == [[16, 0.3], [48, 0.6]]
    assert [[12, 0.303], [24, 0.337], [32, 0.346], [48, 0.356]] in lines.values()  # KSH


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


def test_the_legend_is_in_the_order_of_the_lines(tmp_path):
    results, _ = comparison.read_results(
        [
            write(tmp_path / "1", method="a", map=0.2),
            write(tmp_path / "2", method="b", map=0.9),
            write(tmp_path / "3", method="b", bits=12, map=0.1),
            write(tmp_path / "4"),
        ]
    )
    (legend,) = plots.comparison(comparison.tables("cifar10", results)[:1]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["b", "dnnh", "a"]


def test_the_papers_figures(tmp_path):
    """5a to 7c and 8: at 48 bits, but for the plot against the number of bits."""
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
        name: {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
        for name, figure in figures.items()
    }
    assert drawn == {
        "precision_radius2": {"dnnh": [[48, 0.5]], "lsh": [[12, 0.1], [48, 0.2]]},
        "precision_recall": {key: [[0.5, 0.4], [1, 0.1]] for key in ("dnnh", "lsh")},
        "precision_at": {key: [[100, 0.7], [200, 0.65]] for key in ("dnnh", "lsh")},
        "divide_and_encode": {key: [[100, 0.7], [200, 0.65]] for key in ("dnnh", "dnnh_fc")},
    }


def test_many_lines_can_be_told_apart():
    series = [plots.Series(str(i), [0, 1], [0.1, 0.2]) for i in range(14)]
    (axes,) = plots.precision_at(series, "").axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 14


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

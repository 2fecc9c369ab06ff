"""Ours beside the paper's."""

import importlib
import json
import os
import re

import pytest

from dnnh import comparison, plots, published


def write(path, **changes):
    path.write_text(json.dumps({
        "dataset": "cifar10", "method": "DNNH", "bits": 48, "protocol": "paper", "seed": 0,
        "source": "a copy", "note": "", "map": 0.6, "precision_radius2": 0.5, **changes}))
    return path


def test_differences_are_ours_less_the_papers(tmp_path):
    files = [write(tmp_path / "1", map=0.1), write(tmp_path / "2"),     # the later counts
             write(tmp_path / "3", bits=16, map=0.3),
             write(tmp_path / "4", method="mine", bits=12),
             write(tmp_path / "5", method="other", protocol="validation"),
             write(tmp_path / "6", method="short", note="cut short"),
             write(tmp_path / "7", method="other", seed=3),
             write(tmp_path / "8", dataset="svhn", bits=12, map=0.9),
             write(tmp_path / "9", source="originals", bits=12, map=0.2)]
    results, skipped = comparison.read_results(files)
    assert [re.sub(".*/", "", sentence) for sentence in skipped] == [
        "5 is of protocol validation, split seed 0", "6 has a note: cut short",
        "7 is of protocol paper, split seed 3"]
    table, radius, other, _ = comparison.tables("cifar10", results)
    assert table.lengths == [12, 16, 24, 32, 48]
    rows = {(method, whose): values for method, whose, values in table.rows()}
    assert rows["DNNH", "paper"] == ["0.552", "", "0.566", "0.558", "0.581"]
    assert rows["DNNH", "ours"] == ["", "0.300", "", "", "0.600"]
    assert rows["DNNH", "difference"] == ["", "", "", "", "+0.019"]
    assert rows["mine", "ours"] == ["0.600", "", "", "", ""]
    assert ("mine", "difference") not in rows and ("KSH", "paper") in rows
    assert {method for method, _ in rows} == {"mine", *published.MAP["cifar10"]}
    assert {method for method, _, _ in comparison.with_ours_alone(table).rows()} == {
        "DNNH", "mine"}
    assert ("DNNH", "difference", ["", "", "", "", "-0.125"]) in radius.rows()
    for text in (table.text(), table.markdown()):
        assert "+0.019" in text and "ours on a copy" in text
    assert other.source == "originals" and other.ours == {"DNNH": {12: 0.2}}
    svhn = comparison.tables("svhn", results)[0]
    assert ("DNNH", "difference", ["+0.001", "", "", ""]) in svhn.rows()
    axes, _ = plots.comparison([table, radius]).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["DNNH, ours"] == [[16, 0.3], [48, 0.6]]
    assert [[12, 0.303], [24, 0.337], [32, 0.346], [48, 0.356]] in lines.values()   # KSH


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"map": 1}'])
def test_what_is_no_result_is_said_and_left_out(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    results, (sentence,) = comparison.read_results([tmp_path / "result.json"])
    assert "result.json is not a result of tools/evaluate.py" in sentence and not results


@pytest.mark.parametrize("changes", [{"bits": "48"}, {"map": 7}, {"note": None}])
def test_values_of_another_kind(tmp_path, changes):
    results, (sentence,) = comparison.read_results([
        write(tmp_path / "result.json", **changes)])
    assert "another kind" in sentence and not results


def test_the_newest_of_your_own_comes_first(home, monkeypatch, capsys):
    command = importlib.import_module("report")

    def printed(*arguments):
        monkeypatch.setattr("sys.argv", ["report.py", *arguments])
        command.main()
        return capsys.readouterr().out

    assert "no result of ours yet" in printed()
    for folder, value, age in (("models/results", 0.1, 0), ("results/z", 0.2, 20),
                               ("results/a", 0.3, 10)):
        (home / folder).mkdir(parents=True)
        path = home / folder / "result.json"
        write(path, map=value)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert re.search(r"DNNH +ours +0.300\n", printed())
    assert re.search(r"DNNH +ours +0.100\n", printed("--released"))
    assert "KSH" not in printed() and "KSH" in printed("--all")
    assert "| DNNH | ours |  |  |  | 0.300 |" in (
        home / "results/comparison_cifar10.md").read_text()
    assert (home / "results/comparison_cifar10.png").stat().st_size > 10_000


def test_the_papers_own_tables_agree():
    """DNNH is the best row everywhere, as the paper says; all rows have all lengths."""
    for rows in (*published.MAP.values(), *published.PRECISION_RADIUS2.values()):
        assert list(rows)[0] == "DNNH"
        assert all(len(values) == 4 and 0 < min(values) < 1 for values in rows.values())
        best = rows["DNNH"]
        assert all(max(values) <= max(best) for values in rows.values())

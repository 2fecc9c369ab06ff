"""Ours beside the paper's."""

import json

import pytest

from dnnh import comparison, plots, published
from dnnh.errors import UserError


def write(path, **changes):
    path.write_text(json.dumps({
        "dataset": "cifar10", "method": "DNNH", "bits": 48, "protocol": "paper",
        "source": "a copy", "note": "", "map": 0.6, "precision_radius2": 0.5, **changes}))
    return path


def test_differences_are_ours_less_the_papers(tmp_path):
    files = [write(tmp_path / "1", map=0.1), write(tmp_path / "2"),     # the later counts
             write(tmp_path / "3", bits=16, map=0.3),
             write(tmp_path / "4", method="mine", bits=12),
             write(tmp_path / "5", method="other", protocol="validation"),
             write(tmp_path / "6", method="short", note="cut short"),
             write(tmp_path / "7", dataset="svhn", bits=12, map=0.9)]
    results = comparison.read_results(files)
    table, radius = comparison.tables("cifar10", results)
    assert table.lengths == [12, 16, 24, 32, 48]
    rows = {(method, whose): values for method, whose, values in table.rows()}
    assert rows["DNNH", "paper"] == ["0.552", "", "0.566", "0.558", "0.581"]
    assert rows["DNNH", "ours"] == ["", "0.300", "", "", "0.600"]
    assert rows["DNNH", "difference"] == ["", "", "", "", "+0.019"]
    assert rows["mine", "ours"] == ["0.600", "", "", "", ""]
    assert ("mine", "difference") not in rows and ("other", "ours") not in rows
    assert ("short", "ours") not in rows and ("KSH", "paper") in rows
    assert {method for method, _, _ in comparison.with_ours_alone(table).rows()} == {
        "DNNH", "mine"}
    assert ("DNNH", "difference", ["", "", "", "", "-0.125"]) in radius.rows()
    for text in (table.text(), table.markdown()):
        assert "+0.019" in text and "a copy" in text
    svhn = comparison.tables("svhn", results)[0]
    assert ("DNNH", "difference", ["+0.001", "", "", ""]) in svhn.rows()
    axes, _ = plots.comparison([table, radius]).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["DNNH, ours"] == [[16, 0.3], [48, 0.6]]
    assert lines["KSH, the paper"][3] == [48, 0.356]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"map": 1}'])
def test_what_is_no_result(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match="result.json is not a result of tools/eval"):
        comparison.read_results([tmp_path / "result.json"])


@pytest.mark.parametrize("changes", [{"bits": "48"}, {"map": 7}, {"note": None}])
def test_values_of_another_kind(tmp_path, changes):
    with pytest.raises(UserError, match="another kind"):
        comparison.read_results([write(tmp_path / "result.json", **changes)])


def test_the_papers_own_tables_agree():
    """Tables 3 to 5 repeat DNNH's figures of table 2; all rows have all lengths."""
    for rows in (*published.MAP.values(), *published.PRECISION_RADIUS2.values()):
        assert list(rows)[0] == "DNNH"
        assert all(len(values) == 4 and 0 < min(values) < 1 for values in rows.values())
        best = rows["DNNH"]
        assert all(max(values) <= max(best) for values in rows.values())

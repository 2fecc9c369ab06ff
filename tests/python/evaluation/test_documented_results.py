"""The tables of README.md, docs/ and models/ have the values of models/results/."""

import re

import pytest

from dnnh import paths
from dnnh.evaluation import published
from dnnh.evaluation.results import read_result

RESULTS = {path.stem: read_result(path) for path in (paths.MODELS / "results").glob("*.json")}
# The MAP that the papers print, by method.
PRINTED: dict[str, dict[int, float]] = {}
for table in published.TABLES:
    if (table.dataset, table.measure) == ("cifar10", "map"):
        PRINTED = {**table.rows, **PRINTED}
# Nets without a schedule in the name of their result have one alone.
BY_SCHEDULE = ("dnnh", "dnnh_fc", "dnnh_two_towers")


def section(page, title):
    """The text of a section, up to the next title."""
    text = (paths.ROOT / page).read_text()
    return re.split(rf"^#+ {re.escape(title)}$", text, flags=re.MULTILINE)[1].split("\n#")[0]


def result_of(row, bits):
    """The result that a row's first cell names."""
    name = re.search(r"`(\w+)`", row)
    if name is None and not row.startswith("the same"):
        return None
    method = name[1] if name else "dnnh"
    is_paper = "70,000" in row or "schedule `paper`" in row
    short = "_short" if method in BY_SCHEDULE and not is_paper else ""
    return RESULTS.get(f"cifar10_{method}{short}_{bits}bit")


def cells(text):
    """(first cell, bits, cell) of tables with a column for each length."""
    lengths = None
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            lengths = None
        elif lengths is None:
            lengths = [int(head[:2]) if head.endswith(" bits") else None for head in row]
        else:
            for bits, cell in zip(lengths[1:], row[1:]):
                if bits and re.match(r"\d", cell):
                    yield row[0], bits, cell


@pytest.mark.parametrize(
    "page, title, count",
    [
        ("README.md", "DNNH on Caffe", 17),
        ("docs/reproducing.md", "Results on CIFAR-10", 17),
        ("docs/reproducing.md", "Ablations", None),
        ("docs/reproducing.md", "Baselines", 56),
    ],
)
def test_tables_by_length(page, title, count):
    compared = 0
    for row, bits, cell in cells(section(page, title)):
        result = result_of(row, bits)
        numbers = re.fullmatch(r"(\d\.\d{3})(?: \(([+-]?)(\d\.\d{3})\))?", cell)
        assert numbers, cell
        if result is None:
            assert not re.match("`|the same", row), row
            continue
        metrics = result.metrics
        assert float(numbers[1]) == pytest.approx(metrics.map, abs=0.00051), (row, bits)
        if title == "Baselines" and numbers[3]:
            difference = metrics.map - PRINTED[result.method][bits]
            assert float(numbers[2] + numbers[3]) == pytest.approx(difference, abs=0.00051)
        elif numbers[3]:
            precision = metrics.precision_radius2
            assert float(numbers[3]) == pytest.approx(precision, abs=0.00051), (row, bits)
        compared += 1
    assert count in (None, compared) and compared >= 4
    if count is None:  # grows with the ablations that are trained
        ablations = [name for name in RESULTS if re.search("_(fc|two_towers)_", name)]
        assert compared == 4 + len(ablations)


def test_released_models():
    text = (paths.MODELS / "README.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)`(?:, schedule `(\w+)`)? \| (\d+)((?: \| [+-]?\d\.\d+){6}) \|$",
        text,
        re.MULTILINE,
    )
    for method, schedule, bits, values in rows:
        short = "_short" if schedule == "short" else ""
        metrics = RESULTS[f"cifar10_{method}{short}_{bits}bit"].metrics
        numbers = [float(value) for value in values.split(" | ")[1:]]
        for measured, (ours, paper, difference) in (
            (metrics.map, numbers[:3]),
            (metrics.precision_radius2, numbers[3:]),
        ):
            assert ours == pytest.approx(measured, abs=0.00006)
            assert difference == pytest.approx(measured - paper, abs=0.00051)
    assert len(rows) == 17

"""The plots of the paper's figures 5 to 8, and of the training log."""

import dataclasses
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dnnh.evaluation.comparison_table import ComparisonTable
from dnnh.evaluation.published import Row
from dnnh.evaluation.results import Result

matplotlib.rcParams.update(
    {
        "font.size": 10,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,  # a $ in a name is a $
        "pdf.fonttype": 42,  # letters, not outlines, in PDFs
    }
)
# Colors and markers that colorblind readers can tell apart, in grey, too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MAX_LEGEND_INSIDE = 7  # lines; with more the legend stands beside the plot


@dataclasses.dataclass(frozen=True)
class Series:
    """A line of a plot."""

    name: str
    xs: list[float]
    ys: list[float]


def precision_recall_series(result: Result) -> Series:
    curve = result.metrics.pr_curve.above_zero_recall()
    return Series(result.method, curve.recall, curve.precision)


def precision_at_series(result: Result) -> Series:
    precision_at = result.metrics.precision_at
    return Series(result.method, list(precision_at), list(precision_at.values()))


def _new_plot(xlabel: str, ylabel: str, title: str, source: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(f"{title}\n{source}", fontsize=10)
    return figure, axes


def _draw_lines(figure: Figure, axes: Axes, series: Sequence[Series]) -> None:
    """Draw lines and, if there are several, a legend.

    The first seven are solid, the next seven dashed.
    """
    for i, line in enumerate(series):
        style = i % len(COLORS)
        dashes = ("-", "--")[i // len(COLORS) % 2]
        axes.plot(
            line.xs,
            line.ys,
            dashes,
            color=COLORS[style],
            marker=MARKERS[style],
            markersize=4,
            label=line.name,
            clip_on=False,
        )
    axes.set_ylim(0, 1)
    if len(series) > MAX_LEGEND_INSIDE:
        figure.set_figwidth(6.2)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    elif len(series) > 1:
        axes.legend(frameon=False, fontsize=8)


def precision_radius2(series: Sequence[Series], source: str) -> Figure:
    """Precision within Hamming radius 2 against the number of bits.

    Parameters
    ----------
    series : list of Series, bits to precision
    source : str
        What the images were read from.
    """
    figure, axes = _new_plot(
        "number of bits", "precision", "Precision within Hamming radius 2", source
    )
    _draw_lines(figure, axes, series)
    axes.set_xticks(sorted(set(itertools.chain.from_iterable(line.xs for line in series))))
    return figure


def precision_recall(series: Sequence[Series], source: str) -> Figure:
    """Precision-recall curves; ``series`` are recall to precision."""
    figure, axes = _new_plot("recall", "precision", "Precision-recall, by radius", source)
    _draw_lines(figure, axes, series)
    axes.set_xlim(0, 1)
    return figure


def precision_at(series: Sequence[Series], source: str) -> Figure:
    """Precision against the number of returned images."""
    figure, axes = _new_plot(
        "number of top returned images", "precision", "Precision of the top returned images", source
    )
    _draw_lines(figure, axes, series)
    axes.set_xlim(left=0)
    return figure


# Curves of the training log that lie between 0 and 1.
SHARES = ("active", "bit_mean_min", "bit_mean_max", "clipped", "epsilon")


def training(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Figure:
    """The curves of a training log, one small plot each.

    Parameters
    ----------
    curves : dict of name to (iterations, values)
    """
    rows = -(-len(curves) // 2)
    figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
    plots = figure.subplots(rows, 2, squeeze=False, sharex=True).ravel()
    last = max(iterations[-1] for iterations, _ in curves.values())
    for axes, (name, (iterations, values)) in zip(plots, curves.items()):
        if name == "epsilon":  # logged when it changes, constant in between
            axes.step(
                [*iterations, last],
                [*values, values[-1]],
                where="post",
                color=COLORS[0],
                linewidth=1,
            )
        else:
            axes.plot(iterations, values, color=COLORS[0], linewidth=1)
        axes.set_title(name)
        if name.endswith(SHARES):  # "test active", "24bit_active"
            axes.set_ylim(-0.02, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in plots[len(curves) :]:
        axes.set_visible(False)
    for axes in plots[max(0, len(curves) - 2) : len(curves)]:
        axes.set_xlabel("iteration")
        axes.tick_params(labelbottom=True)
    return figure


def comparison(tables: Sequence[ComparisonTable]) -> Figure:
    """Each table against the number of bits: the paper's values dashed, ours solid.

    Methods that only the paper has values of are grey, with their names at the right.
    One legend names the others, from the highest to the lowest.
    """
    ours = {"dnnh"}
    for table in tables:
        ours.update(table.ours)
    methods = sorted(ours, key=lambda method: (-_height(method, tables), method))
    styles = {method: _comparison_style(i) for i, method in enumerate(methods)}
    figure = Figure(figsize=(4.4 * len(tables) + 1.6, 4.6), layout="constrained")
    plots = figure.subplots(1, len(tables), squeeze=False)[0]
    line_of: dict[str, Line2D] = {}
    for axes, table in zip(plots, tables):
        for whose, rows, dashes in (
            ("the paper", table.printed.rows, "--"),
            ("ours", table.ours, "-"),
        ):
            for method, row in rows.items():
                if method not in styles:
                    _draw_grey(axes, method, row, dashes)
                    continue
                bits = sorted(row)
                (line_of[method],) = axes.plot(
                    bits,
                    [row[b] for b in bits],
                    dashes,
                    label=f"{method}, {whose}",
                    **styles[method],
                )
        axes.set_title(textwrap.fill(table.title, 60), fontsize=8)
        axes.set(xlabel="number of bits", ylim=(0, 1), xticks=table.lengths)
    names = [method for method in methods if method in line_of]
    if names:
        figure.legend(
            [line_of[method] for method in names],
            names,
            frameon=False,
            fontsize=8,
            loc="outside right upper",
            title="ours solid,\nthe paper's dashed",
            title_fontsize=8,
        )
    return figure


def _comparison_style(i: int) -> dict[str, Any]:
    """How the i-th method is drawn.

    From the eighth on with the same colors, other markers, and hollow: dashes are the
    paper's.
    """
    repeat, color = divmod(i, len(COLORS))
    return {
        "color": COLORS[color],
        "marker": MARKERS[(i + 3 * repeat) % len(MARKERS)],
        "fillstyle": "none" if repeat else "full",
        "markersize": 4,
    }


def _draw_grey(axes: Axes, method: str, row: Row, dashes: str) -> None:
    bits = sorted(row)
    values = [row[b] for b in bits]
    axes.plot(bits, values, dashes, color="0.6", linewidth=1)
    axes.annotate(
        method,
        (bits[-1], values[-1]),
        (4, -2),
        fontsize=6,
        textcoords="offset points",
        color="0.4",
    )


def _height(method: str, tables: Sequence[ComparisonTable]) -> float:
    """The value of a method's longest code, in the first table that has one; ours, or else
    the paper's."""
    for table in tables:
        for rows in (table.ours, table.printed.rows):
            row = rows.get(method)
            if row:
                return row[max(row)]
    return 0

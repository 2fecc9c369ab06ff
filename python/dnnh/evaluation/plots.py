"""The plots of the paper's figures 5 to 8, and of the training log.

Curves are labelled at their ends. DNNH's are colored, those of other methods grey.
"""

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import scipy.optimize
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dnnh.evaluation.comparison_table import MEASURES, ComparisonTable, method_of
from dnnh.evaluation.published import ABLATIONS
from dnnh.evaluation.results import Result

matplotlib.rcParams.update(
    {
        "font.size": 9.5,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,  # a $ in a name is a $
        "pdf.fonttype": 42,  # letters, not outlines, in PDFs
    }
)
BLUE, ORANGE = "#0072b2", "#d55e00"  # colorblind readers can tell them apart
COLORS = {"dnnh": BLUE, "dnnh_plus": ORANGE}
GREY = {"ours": "0.5", "paper": "0.72"}
LABEL_GREY = "0.3"
MAX_LABEL = 26  # letters of a name at the end of a curve
LABEL_SIZE = 9.0  # points; smaller where there are too many for it
LABEL_SPACE = 1.2  # font sizes from one label to the next
SAME = 0.03  # a grey curve of the paper that ends this near to ours has no label of its own
LENGTH_TITLES = {
    "map": "MAP vs. code length",
    "precision_radius2": "Precision within radius 2 vs. code length",
}
RECALL_ORDER = 0.5  # precision-recall curves are listed by their precision at this recall


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure, and its words for a page.

    Attributes
    ----------
    figure : Figure
    alt : str
        What it shows, for readers who do not see it.
    caption : str
        How to read it.
    """

    figure: Figure
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve of a plot: of a method, "ours" or the "paper"'s.

    ``ranges`` has the lowest and highest value over training seeds, by place.
    """

    name: str
    xs: list[float]
    ys: list[float]
    whose: str = "ours"
    ranges: Mapping[int, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        name = textwrap.shorten(self.name, MAX_LABEL, placeholder="…")
        name = name if name != "…" else self.name[: MAX_LABEL - 1] + "…"
        return f"{name} (paper)" if self.whose == "paper" else name


def precision_recall_series(result: Result) -> Series:
    curve = result.metrics.pr_curve.above_zero_recall()
    return Series(result.label, curve.recall, curve.precision)


def precision_at_series(result: Result) -> Series:
    precision_at = result.metrics.precision_at
    return Series(result.label, list(precision_at), list(precision_at.values()))


def has_curve(series: Iterable[Series]) -> bool:
    """Whether there is more to plot than single points."""
    return any(len(set(zip(line.xs, line.ys))) > 1 for line in series)


# --- precision ------------------------------------------------------------------------


def precision_radius2(series: Sequence[Series], source: str) -> Plot:
    """Precision within Hamming radius 2 against the code length.

    Parameters
    ----------
    series : list of Series, bits to precision
    source : str
        What the images were read from.
    """
    title = LENGTH_TITLES["precision_radius2"]
    figure, axes = _new_plot(title, source, "code length (bits)", MEASURES["precision_radius2"])
    _draw_with_labels(axes, series)
    axes.set_xticks(sorted(set(itertools.chain.from_iterable(line.xs for line in series))))
    return Plot(
        figure,
        _alt(title, series, "{:.0f} bits"),
        "Share of relevant images among those within Hamming distance 2 of the query, averaged "
        "over the queries. A query that retrieves nothing counts 0.",
    )


def precision_recall(series: Sequence[Series], source: str) -> Plot:
    """Precision-recall curves; ``series`` are recall to precision."""
    title = "Precision vs. recall"
    series = [line for line in series if line.xs]  # without any relevant image there is none
    figure, axes = _new_plot(title, source, "recall", "precision")
    _draw(axes, series)
    axes.set_xlim(0, 1)
    caption = (
        "Each point is a Hamming radius, 0 at the left: the images within it are retrieved. "
        "Queries that retrieve nothing count 0, which lowers the curves at the left."
    )
    if len(series) > 1:
        # These curves end in one point, and cross: a list in their order halfway.
        axes.axvline(RECALL_ORDER, color="0.4", linewidth=0.8, linestyle=":")
        # Those that begin behind it come last.
        ordered = sorted(
            series,
            key=lambda line: (
                line.xs[0] <= RECALL_ORDER,
                float(np.interp(RECALL_ORDER, line.xs, line.ys)),
            ),
            reverse=True,
        )
        axes.annotate(
            f"by precision at\nrecall {RECALL_ORDER}:",
            (1, 1),
            (6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8,
            color=LABEL_GREY,
            va="top",
        )
        size = min(LABEL_SIZE, (_height(axes) - 26) / (LABEL_SPACE * len(ordered)))
        for i, line in enumerate(ordered):
            axes.annotate(
                line.label,
                (1, 1),
                (6, -26 - size * LABEL_SPACE * i),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=size,
                va="top",
                **_label_style(line, len(series)),
            )
        caption += (
            f" Methods are listed in the order of the curves at recall {RECALL_ORDER}, "
            "the dotted line."
        )
    return Plot(figure, _alt(title, series, "recall {:.2f}", RECALL_ORDER), caption)


def precision_at(series: Sequence[Series], source: str) -> Plot:
    """Precision against the number of returned images."""
    title = "Precision vs. number of returned images"
    figure, axes = _new_plot(title, source, "number of returned images", "precision")
    _draw_with_labels(axes, series)
    axes.set_xlim(left=0)
    return Plot(
        figure,
        _alt(title, series, "{:,.0f} images"),
        "Share of relevant images among the nearest ones, averaged over the queries.",
    )


# --- the papers' tables ---------------------------------------------------------------


def comparison(tables: Sequence[ComparisonTable]) -> Plot:
    """Each table against the code length, two in a row: the paper's values dashed, ours solid."""
    columns = min(2, len(tables))
    rows = -(-len(tables) // 2)
    width = 5.2 if columns == 1 else 4.7
    figure = Figure(figsize=(width * columns, 4.4 * rows), layout="constrained")
    plots = figure.subplots(rows, columns, squeeze=False).ravel()
    alts = []
    unlabelled = False
    for axes, table in zip(plots, tables):
        title = LENGTH_TITLES[table.printed.measure]
        series = comparison_series(table)
        whose = "ours (solid), paper (dashed)" if table.ours else "the paper's values"
        source = table.source or table.printed.dataset
        _set_title(axes, title, f"{source}: {whose}")
        axes.set(xlabel="code length (bits)", ylabel=MEASURES[table.printed.measure])
        axes.set_xticks(table.lengths)
        _draw_with_labels(axes, series)
        unlabelled |= any(_is_beside_ours(line, series) for line in series)
        alts.append(_alt(title, series, "{:.0f} bits"))
    for axes in plots[len(tables) :]:
        axes.set_visible(False)
    names = " and ".join(dict.fromkeys(table.printed.name for table in tables))
    if any(table.ours for table in tables):
        caption = f"{names}. Solid: ours; dashed: the paper's values."
    else:
        caption = f"{names}. Dashed: the paper's values."
    caption += " dnnh and dnnh_plus are colored."
    if any(table.ranges for table in tables):
        caption += " Bars: range over training seeds."
    if unlabelled:
        caption += (
            " A dashed grey curve without a label belongs to the method whose solid curve ends "
            "beside it."
        )
    return Plot(figure, " ".join(alts), caption)


def comparison_series(table: ComparisonTable) -> list[Series]:
    """The curves of a table; ablations have tables of their own."""
    return [
        Series(
            method, sorted(row), [row[bits] for bits in sorted(row)], whose, ranges.get(method, {})
        )
        for whose, of_methods, ranges in (
            ("paper", table.printed.rows, {}),
            ("ours", table.ours, table.ranges),
        )
        for method, row in of_methods.items()
        if method not in ABLATIONS
    ]


# --- parts of all plots ---------------------------------------------------------------


def _new_plot(title: str, source: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _set_title(axes, title, source)
    return figure, axes


def _set_title(axes: Axes, title: str, subtitle: str) -> None:
    """A title, and smaller lines below it."""
    lines = textwrap.wrap(subtitle, 56)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=6 + 13 * len(lines))
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        color=LABEL_GREY,
        va="bottom",
    )


def _color(line: Series, count: int) -> str | None:
    """The color of one of ``count`` curves; None: grey."""
    return BLUE if count == 1 else COLORS.get(method_of(line.name))


def _label_style(line: Series, count: int) -> dict[str, Any]:
    color = _color(line, count)
    return {"color": color or LABEL_GREY, "fontweight": "bold" if color else "normal"}


def _draw(axes: Axes, series: Sequence[Series]) -> None:
    """Draw the curves, colored ones over grey ones."""
    for line in series:
        color = _color(line, len(series))
        axes.plot(
            line.xs,
            line.ys,
            "--" if line.whose == "paper" else "-",
            color=color or GREY[line.whose],
            linewidth=2 if color else 1,
            marker="o" if color or len(line.xs) == 1 else "",
            markersize=4 if color else 3,
            label=line.label,
            zorder=3 if color else 2,
            clip_on=False,
        )
        for x, (low, high) in line.ranges.items():
            bar = axes.errorbar(
                [x],
                [low],
                yerr=[[0], [high - low]],
                fmt="none",
                ecolor=color or GREY[line.whose],
                elinewidth=1.2,
                capsize=4,
                zorder=3,
            )
            for part in bar.get_children():  # at the edge, too
                part.set_clip_on(False)
    tops = [y for line in series for y in (*line.ys, *(high for _, high in line.ranges.values()))]
    highest = max(tops, default=1)
    axes.set_ylim(0, min(1, 0.1 * np.ceil(10 * highest + 0.3)))


def _draw_with_labels(axes: Axes, series: Sequence[Series]) -> None:
    """Draw the curves, each with its name beside its end."""
    _draw(axes, series)
    if len(series) < 2:
        return
    labelled = [line for line in series if line.xs and not _is_beside_ours(line, series)]
    height = _height(axes)
    size = min(LABEL_SIZE, height / (LABEL_SPACE * len(labelled)))
    low, high = axes.get_ylim()
    ends = [(line.ys[-1] - low) / (high - low) for line in labelled]
    right = max(x for line in series for x in line.xs)
    for line, place in zip(labelled, spread(ends, LABEL_SPACE * size / height)):
        style = _label_style(line, len(series))
        axes.annotate(
            line.label,
            (line.xs[-1], line.ys[-1]),
            (1.07, place),
            textcoords="axes fraction",
            fontsize=size,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": style["color"],
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
            **style,
        )
    axes.set_xlim(right=right)


def _height(axes: Axes) -> float:
    """The height of a plot in points."""
    assert isinstance(axes.figure, Figure)
    axes.figure.draw_without_rendering()  # lays the figure out
    return axes.get_window_extent().height * 72 / axes.figure.dpi


def _is_beside_ours(line: Series, series: Sequence[Series]) -> bool:
    """Whether a grey curve of the paper is not to be told from ours of the same method."""
    return (
        line.whose == "paper"
        and method_of(line.name) not in COLORS
        and any(
            other.whose == "ours"
            and other.name == line.name
            and other.xs[-1] == line.xs[-1]
            and abs(other.ys[-1] - line.ys[-1]) < SAME
            for other in series
        )
    )


def spread(places: Sequence[float], space: float) -> list[float]:
    """Places in [0, 1] near the given ones, at least ``space`` apart, in the same order.

    The sum of the squared distances is the least (isotonic regression).
    """
    order = np.argsort(places, kind="stable")
    steps = space * np.arange(len(places))
    fitted = scipy.optimize.isotonic_regression(np.array(places)[order] - steps).x
    moved = np.empty(len(places))
    moved[order] = np.clip(fitted, 0, max(0, 1 - space * (len(places) - 1))) + steps
    return moved.tolist()


def _alt(title: str, series: Sequence[Series], form: str, at: float | None = None) -> str:
    """The curves that matter by their ends, and the range of the others.

    Parameters
    ----------
    title : str
    series : list of Series
    form : str
        Format of a place on the x axis.
    at : float, optional
        Give the values there, too, and the range of the others there; by default at the end.
    """
    sentences = [f"Line chart: {title if title[1].isupper() else title[0].lower() + title[1:]}."]
    others: dict[str, list[float]] = {"ours": [], "paper": []}
    for line in series:
        if not line.xs:
            continue
        points = {line.xs[0]: line.ys[0], line.xs[-1]: line.ys[-1]}
        if at is not None and line.xs[0] <= at:
            points[at] = float(np.interp(at, line.xs, line.ys))
        if _color(line, len(series)) or len(series) < 4:
            values = ", ".join(f"{y:.3f} at {form.format(x)}" for x, y in sorted(points.items()))
            sentences.append(f"{line.label}: {values}.")
        else:
            place = line.xs[-1] if at is None else at
            if place in points:
                others[line.whose].append(points[place])
    place = "the end" if at is None else form.format(at)
    for whose, values in others.items():
        if values:
            name = "other methods" if whose == "ours" else "curves of the paper for other methods"
            sentences.append(
                f"{len(values)} {name}: {min(values):.3f} to {max(values):.3f} at {place}."
            )
    return " ".join(sentences)


# --- the training log -----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Quantity:
    """What a plot of the training log shows: title, and a line that explains it."""

    title: str
    caption: str
    share: bool = False  # lies between 0 and 1


# By the end of a name in the log, which may begin with a code length: "24bit_active".
_QUANTITIES = {
    "class_loss": _Quantity("Classification loss", "of the layer on the codes; should fall"),
    "uniform_loss": _Quantity(
        "Label-smoothing loss", "of the layer on the codes, with all classes alike"
    ),
    "loss": _Quantity("Loss", "average over a batch; should fall"),
    "active": _Quantity(
        "Active triplets", "share of triplets with a loss above 0; should fall", True
    ),
    "bit_mean": _Quantity("Bit means", "over a batch; 0.5: balanced; 0 or 1: a constant bit", True),
    "distinct_codes": _Quantity(
        "Distinct codes", "of the images of a batch; 1: all images have one code"
    ),
    "epsilon": _Quantity(
        "Threshold epsilon", "outputs farther than this from 0.5 become 0 or 1", True
    ),
    "clipped": _Quantity(
        "Clipped outputs", "share of outputs that the threshold sets to 0 or 1", True
    ),
}
_COLORS = {"highest bit": ORANGE, "lowest bit": BLUE, "test": ORANGE}


def training(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Figure:
    """The curves of a training log: a small plot for each quantity, with what it means.

    Curves of the TEST phase share the plot of the training's, the means of the highest
    and of the lowest bit another one. A quantity that has one value alone is written out.

    Parameters
    ----------
    curves : dict of name to (iterations, values)
    """
    last = max(iterations[-1] for iterations, _ in curves.values())
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for name, (iterations, values) in curves.items():
        # Beyond 1e300 a plot has no axis.
        ys = [float(np.copysign(np.inf, y)) if abs(y) >= 1e300 else y for y in values]
        xs = list(iterations)
        if name == "epsilon" and last > xs[-1]:  # logged when it changes, constant in between
            xs, ys = [*xs, last], [*ys, ys[-1]]
        quantity, label = _quantity_of(name)
        panels.setdefault(quantity, {})[label] = xs, ys
    ends = [*_QUANTITIES, ""]
    ordered = sorted(panels, key=lambda name: ends.index(_end(name)))
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(8.4, 2.5 * rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)  # type: ignore[union-attr]
    plots = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, name in zip(plots, ordered):
        _draw_panel(axes, name, panels[name], last)
    for axes in plots[len(panels) :]:
        axes.set_visible(False)
    return figure


def _end(name: str) -> str:
    """The key of a quantity in _QUANTITIES; "" if it is none of them."""
    return next((end for end in _QUANTITIES if name.endswith(end)), "")


def _quantity_of(name: str) -> tuple[str, str]:
    """The plot of a name in the log, and the curve's label there."""
    name, label = (name[5:], "test") if name.startswith("test ") else (name, "training")
    for end, bit in (("bit_mean_min", "lowest bit"), ("bit_mean_max", "highest bit")):
        if name.endswith(end):
            return name.removesuffix(end) + "bit_mean", bit
    return name, label


def _draw_panel(
    axes: Axes, name: str, lines: Mapping[str, tuple[list[int], list[float]]], last: int
) -> None:
    if end := _end(name):
        quantity = _QUANTITIES[end]
        head = name.removesuffix(end).strip("_").replace("bit", " bits")
        title = f"{quantity.title}, {head}" if head else quantity.title
    else:
        quantity, title = _Quantity(name, ""), name
    _set_title(axes, title, quantity.caption)
    if not has_curve(Series("", [*xs], ys) for xs, ys in lines.values()):
        values = [f"{label}: {ys[0]:.4g}" for label, (_, ys) in lines.items()]
        iteration = next(iter(lines.values()))[0][0]
        text = "\n".join([*values, f"at iteration {iteration}, the only one in the log"])
        axes.set_axis_off()
        axes.text(0, 0.9, text, transform=axes.transAxes, va="top")
        return
    bad = [
        f"{label}: not finite from iteration {x:,} on"
        for label, (xs, ys) in lines.items()
        for x in [x for x, y in zip(xs, ys) if not np.isfinite(y)][:1]
    ]
    if bad:
        axes.text(0.02, 0.95, "\n".join(bad), transform=axes.transAxes, va="top", fontsize=8)
    for label, (xs, ys) in lines.items():
        color = _COLORS.get(label, BLUE)
        marker = "o" if np.isfinite(ys).sum() < 2 else ""
        if name == "epsilon":
            axes.step(xs, ys, where="post", color=color, linewidth=1.3, label=label)
        else:
            axes.plot(xs, ys, color=color, linewidth=1.3, marker=marker, markersize=4, label=label)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)
    if quantity.share:
        axes.set_ylim(-0.02, 1.02)
    else:
        finite = [y for _, ys in lines.values() for y in ys if np.isfinite(y)]
        if finite and min(finite) >= 0:
            axes.set_ylim(0, 1.1 * max(finite) or 1)
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("iteration")

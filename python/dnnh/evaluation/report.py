"""A result for people: a summary for the terminal, CSV, plots, one HTML page."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence

from dnnh import atomic_files, files, pages
from dnnh.evaluation import plots
from dnnh.evaluation.gallery import GalleryRow
from dnnh.evaluation.plots import Plot, Series
from dnnh.evaluation.results import Result


def summary(result: Result) -> str:
    """The text for the terminal."""
    metrics = result.metrics
    rows = [
        ("MAP", metrics.map),
        ("MAP, expected over ties", metrics.map_tie_aware),
        ("precision within radius 2", metrics.precision_radius2),
    ]
    for n, precision in metrics.precision_at.items():
        if n in (100, 500, 1000):
            rows.append((f"precision of the top {n}", precision))
    width = max(len(name) for name, _ in rows)
    lines = [describe(result)]
    if result.note:
        lines.append(f"  {result.note}")
    lines += [f"  {name:<{width}}  {value:.4f}" for name, value in rows]
    lines.append(f"  ranked in {result.seconds:.2f} s")
    lines += [f"  ({remark})" for remark in (at_random(result), *remarks(result))]
    return "\n".join(lines)


def describe(result: Result) -> str:
    """One sentence: what was measured on what."""
    metrics = result.metrics
    top = f" within the top {metrics.top:,}" if metrics.top else ""
    cut = f" cut from {result.cut_from}" if result.cut_from else ""
    ranked = f", ranked by {result.distance}" if result.distance else ""
    return (
        f"{result.label}, {result.bits} bits{cut}, {result.dataset}"
        f" ({result.source}), protocol {result.protocol}: "
        f"{metrics.queries:,} queries, {metrics.database:,} in the database{top}{ranked}"
    )


def at_random(result: Result) -> str:
    """What a random ranking would reach, as a sentence."""
    metrics = result.metrics
    return (
        f"at random, precision would be {metrics.relevant_share:.4f}, and MAP "
        f"{metrics.map_random:.4f}"
    )


def remarks(result: Result) -> list[str]:
    """Which queries count 0, as sentences."""
    metrics = result.metrics
    remarks = []
    if metrics.queries_without_radius2:
        remarks.append(
            f"{metrics.queries_without_radius2:,} queries retrieve nothing within "
            "radius 2 and count 0 there"
        )
    if metrics.queries_without_relevant:
        remarks.append(
            f"{metrics.queries_without_relevant:,} queries have nothing "
            "relevant in the database and count 0"
        )
    return remarks


def write_csv(path: files.StrPath, result: Result) -> None:
    """Write the curves as CSV: figure, x, y; what was measured on what comes first."""
    metrics = result.metrics
    rows: list[tuple[str, object, object]] = [
        ("source", "", result.source),
        ("protocol", "", result.protocol),
        ("note", "", result.note or ""),
        ("map", "", metrics.map),
        ("map_tie_aware", "", metrics.map_tie_aware),
        ("precision_radius2", result.bits, metrics.precision_radius2),
    ]
    for n, precision in metrics.precision_at.items():
        rows.append(("precision_at", n, precision))
    for recall, precision in zip(metrics.pr_curve.recall, metrics.pr_curve.precision):
        rows.append(("precision_recall", recall, precision))
    with (
        atomic_files.write_atomically(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("figure", "x", "y"))
        writer.writerows(rows)


PLOTS = ("precision_radius2", "precision_recall", "precision_at")


def draw(result: Result, others: Sequence[Result] = ()) -> dict[str, Plot]:
    """The plots of the paper's figures 5 to 8, by their names in PLOTS.

    A plot that would have one point is absent: the first one is there if there are results
    at several lengths.

    Parameters
    ----------
    result : Result
    others : list of Result
        Of the same method and data set at other lengths, for the plot against the code
        length.
    """
    precision_of_length = {r.bits: r.metrics.precision_radius2 for r in (*others, result)}
    lengths = sorted(precision_of_length)
    precisions = [precision_of_length[bits] for bits in lengths]
    by_length = [Series(result.label, [*lengths], precisions)]
    recall = [plots.precision_recall_series(result)]
    at = [plots.precision_at_series(result)]
    source = f"{result.label}, {result.source}"
    source_and_bits = f"{result.label}, {result.bits} bits, {result.source}"
    drawn = {}
    if plots.has_curve(by_length):
        drawn["precision_radius2"] = plots.precision_radius2(by_length, source)
    if plots.has_curve(recall):
        drawn["precision_recall"] = plots.precision_recall(recall, source_and_bits)
    if plots.has_curve(at):
        drawn["precision_at"] = plots.precision_at(at, source_and_bits)
    return drawn


@dataclasses.dataclass(frozen=True)
class Picture:
    """A plot on a page.

    Attributes
    ----------
    alt, caption : str
        What it shows, and how to read it.
    uri : str
        The figure itself, as a ``data:`` URI.
    """

    alt: str
    caption: str
    uri: str


def pictures(drawn: Mapping[str, Plot]) -> list[Picture]:
    """Plots by name, as a page shows them."""
    return [
        Picture(plot.alt, plot.caption, pages.figure_uri(plot.figure)) for plot in drawn.values()
    ]


def page(result: Result, drawn: Mapping[str, Plot], rows: Sequence[GalleryRow] = ()) -> str:
    """One self-contained HTML page: metrics, plots, queries with their nearest images.

    Parameters
    ----------
    result : Result
    drawn : dict of name to Plot
    rows : as dnnh.evaluation.gallery.gallery returns them
    """
    metrics = result.metrics
    top = f", within the top {metrics.top:,}" if metrics.top else ""
    random = f"random ranking: {metrics.relevant_share:.4f}"
    key_values = [
        (f"MAP{top}", metrics.map, f"random ranking: {metrics.map_random:.4f}"),
        ("Precision within Hamming radius 2", metrics.precision_radius2, random),
    ]
    if metrics.precision_at:
        nearest = min(metrics.precision_at)
        name = f"Precision of the top {nearest}"
        key_values.append((name, metrics.precision_at[nearest], random))
    return pages.render(
        "evaluation.html",
        result=result,
        description=describe(result),
        key_values=key_values,
        remarks=[f"{remark[0].upper()}{remark[1:]}." for remark in remarks(result)],
        pictures=pictures(drawn),
        rows=rows,
    )

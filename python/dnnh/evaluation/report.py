"""A result for people: a summary for the terminal, CSV, plots, one HTML page."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dnnh import files, pages
from dnnh.evaluation import plots
from dnnh.evaluation.gallery import GalleryRow
from dnnh.evaluation.plots import Series
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
    lines += [f"  ({remark})" for remark in remarks(result)]
    return "\n".join(lines)


def describe(result: Result) -> str:
    """One sentence: what was measured on what."""
    metrics = result.metrics
    top = f" within the top {metrics.top:,}" if metrics.top else ""
    return (
        f"{result.method}, {result.bits} bits, {result.dataset}"
        f" ({result.source}), protocol {result.protocol}: "
        f"{metrics.queries:,} queries, {metrics.database:,} in the database{top}"
    )


def remarks(result: Result) -> list[str]:
    """What a reader must know to judge the metrics, as sentences."""
    metrics = result.metrics
    remarks = [
        f"at random, precision would be {metrics.relevant_share:.4f}, and MAP "
        f"{metrics.map_random:.4f}"
    ]
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
    with files.write_atomically(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("figure", "x", "y"))
        writer.writerows(rows)


def draw(result: Result, others: Sequence[Result] = ()) -> dict[str, Figure]:
    """The three plots of the paper's figures 5 to 8, by name.

    Parameters
    ----------
    result : Result
    others : list of Result
        Of the same method and data set at other lengths, for the plot against the number
        of bits.
    """
    precision_of_length = {r.bits: r.metrics.precision_radius2 for r in (*others, result)}
    lengths = sorted(precision_of_length)
    precisions = [precision_of_length[bits] for bits in lengths]
    source = result.source
    return {
        "precision_radius2": plots.precision_radius2(
            [Series(result.method, [*lengths], precisions)], source
        ),
        "precision_recall": plots.precision_recall([plots.precision_recall_series(result)], source),
        "precision_at": plots.precision_at([plots.precision_at_series(result)], source),
    }


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure on a page.

    Attributes
    ----------
    alt : str
        Its name, in words.
    uri : str
        The figure itself, as a ``data:`` URI.
    """

    alt: str
    uri: str


def pictures(figures: Mapping[str, Figure]) -> list[Picture]:
    """Figures by name, as a page shows them."""
    return [
        Picture(name.replace("_", " "), pages.figure_uri(figure))
        for name, figure in figures.items()
    ]


def page(result: Result, figures: Mapping[str, Figure], rows: Sequence[GalleryRow] = ()) -> str:
    """One self-contained HTML page: metrics, plots, queries with their nearest images.

    Parameters
    ----------
    result : Result
    figures : dict of name to figure
    rows : as dnnh.evaluation.gallery.gallery returns them
    """
    metrics = result.metrics
    values = [
        ("MAP", metrics.map),
        ("MAP, expected over equal distances", metrics.map_tie_aware),
        ("precision within Hamming radius 2", metrics.precision_radius2),
    ]
    for n, precision in metrics.precision_at.items():
        values.append((f"precision of the top {n}", precision))
    sentences = [f"{remark[0].upper()}{remark[1:]}." for remark in remarks(result)]
    return pages.render(
        "evaluation.html",
        result=result,
        description=describe(result),
        values=values,
        remarks=sentences,
        pictures=pictures(figures),
        rows=rows,
    )

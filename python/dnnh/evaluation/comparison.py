"""Our results compared with the values that the papers print."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from dnnh import files, pages
from dnnh.errors import UserError
from dnnh.evaluation import plots, published, report
from dnnh.evaluation.comparison_table import CURVES_AT, MEASURES, ComparisonTable
from dnnh.evaluation.plots import Series
from dnnh.evaluation.results import Result, default_map_at, read_result


class Key(NamedTuple):
    """What tells results apart that are compared."""

    dataset: str
    source: str
    method: str
    bits: int


Results = dict[Key, Result]


def read_results(paths: Iterable[files.StrPath]) -> tuple[Results, list[str]]:
    """Read the results that can be compared with the paper's.

    Parameters
    ----------
    paths : list of path
        Of two results with the same key the later one counts.

    Returns
    -------
    (results, skipped) : the results by key; and for each file that is skipped, a sentence
    that says why: it is no result, of another protocol or split, with MAP at another cut,
    or it has a note, which says that it is not to be compared.
    """
    results: Results = {}
    skipped = []
    for path in paths:
        try:
            result = read_result(path)
        except UserError as error:
            skipped.append(str(error))
            continue
        if result.protocol != "paper" or result.seed != 0:
            skipped.append(f"{path} is of protocol {result.protocol}, split seed {result.seed}")
        elif result.metrics.top != default_map_at(result.dataset):
            skipped.append(f"{path} has MAP at another cut than the paper's (--map-at)")
        elif result.note:
            skipped.append(f"{path} has a note: {result.note}")
        else:
            results[Key(result.dataset, result.source, result.method, result.bits)] = result
    return results, skipped


def sources(dataset: str, results: Results) -> list[str]:
    """What our results on a data set were measured on."""
    return sorted({key.source for key in results if key.dataset == dataset})


def of_source(dataset: str, source: str, results: Results) -> list[Result]:
    """Our results on one source of images, by method and length."""
    return [
        results[key] for key in sorted(results) if key.dataset == dataset and key.source == source
    ]


def tables(dataset: str, results: Results) -> list[ComparisonTable]:
    """The printed tables of a data set with ours, once per source of images."""
    compared = []
    for source in sources(dataset, results) or [None]:
        measured = [] if source is None else of_source(dataset, source, results)
        for printed in published.TABLES:
            if printed.dataset != dataset:
                continue
            ours: dict[str, published.Row] = {}
            for result in measured:
                takes = printed.takes_all and result.method not in published.ABLATIONS
                if takes or result.method in printed.rows:
                    row = ours.setdefault(result.method, {})
                    row[result.bits] = float(getattr(result.metrics, printed.measure))
            compared.append(ComparisonTable(printed, source, ours))
    return compared


def spreads(dataset: str, results: Results, seeds: Sequence[Results]) -> list[str]:
    """The mean and range over training seeds, one sentence per net.

    Parameters
    ----------
    dataset : str
    results : as :func:`read_results` returns them
    seeds : list of such results
        Of trainings that differ from those of ``results`` in their seed alone.
    """
    sentences = []
    for source in sources(dataset, results):
        for result in of_source(dataset, source, results):
            key = Key(dataset, source, result.method, result.bits)
            trainings = [result, *(other[key] for other in seeds if key in other)]
            if len(trainings) == 1:
                continue
            parts = []
            for measure, name in MEASURES.items():
                values = [getattr(training.metrics, measure) for training in trainings]
                parts.append(
                    f"{name} {statistics.fmean(values):.3f} "
                    f"({min(values):.3f} to {max(values):.3f})"
                )
            sentences.append(
                f"{result.method}, {result.bits} bits, {source}; mean (and range) of "
                f"{len(trainings)} training seeds: {', '.join(parts)}."
            )
    return sentences


# --- figures and the page -------------------------------------------------------------


def figures(dataset: str, source: str, results: Results) -> dict[str, Figure]:
    """The paper's figures 5 to 8 of our results, by name, without empty ones."""
    ours = of_source(dataset, source, results)
    compared = [result for result in ours if result.method not in published.ABLATIONS]
    long = [result for result in compared if result.bits == CURVES_AT]
    title = f"{source}, {CURVES_AT} bits"
    drawn = {}
    if compared:
        drawn["precision_radius2"] = plots.precision_radius2(_by_length(compared), source)
    if long:
        recall = [plots.precision_recall_series(result) for result in long]
        drawn["precision_recall"] = plots.precision_recall(recall, title)
        top = [plots.precision_at_series(result) for result in long]
        drawn["precision_at"] = plots.precision_at(top, title)
    encodings = [
        plots.precision_at_series(result)
        for result in ours
        if result.bits == CURVES_AT and result.method in ("dnnh", "dnnh_fc")
    ]
    if len(encodings) == 2:
        drawn["divide_and_encode"] = plots.precision_at(encodings, f"{title}: DEM and FC")
    return drawn


def _by_length(results: Iterable[Result]) -> list[Series]:
    """Precision within radius 2 against the number of bits, a series per method."""
    series: dict[str, Series] = {}
    for result in results:
        line = series.setdefault(result.method, Series(result.method, [], []))
        line.xs.append(result.bits)
        line.ys.append(result.metrics.precision_radius2)
    return list(series.values())


def page(
    dataset: str,
    compared: Sequence[ComparisonTable],
    drawn: Mapping[str, Figure],
    spread: Sequence[str],
) -> str:
    """One self-contained HTML page with tables, figures and spreads.

    Parameters
    ----------
    dataset : str
    compared : list of ComparisonTable
    drawn : dict of name to figure
    spread : list of str, as :func:`spreads` returns it
    """
    return pages.render(
        "comparison.html",
        dataset=dataset,
        pictures=report.pictures(drawn),
        tables=compared,
        spreads=spread,
    )

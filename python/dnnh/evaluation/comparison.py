"""Our results compared with the values that the papers print."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dnnh import files, pages
from dnnh.errors import UserError
from dnnh.evaluation import plots, published, report
from dnnh.evaluation.comparison_table import CURVES_AT, MEASURES, ComparisonTable, method_of
from dnnh.evaluation.plots import Plot
from dnnh.evaluation.results import Result, default_map_at, read_result
from dnnh.nets.specs import DEFAULT_TRAIN_SEED


class Key(NamedTuple):
    """What tells results apart that are compared."""

    dataset: str
    source: str
    label: str
    bits: int

    @staticmethod
    def of(result: Result) -> "Key":
        return Key(result.dataset, result.source, result.label, result.bits)


Results = dict[Key, Result]


def read_results(
    paths: Iterable[files.StrPath], any_seed: bool = False
) -> tuple[Results, list[str]]:
    """Read the results that can be compared with the paper's.

    Parameters
    ----------
    paths : list of path
        Of two results with the same key the later one counts.
    any_seed : bool
        Whether they may be of nets with another training seed than 1.

    Returns
    -------
    (results, skipped) : the results by key; and for each file that is skipped, a sentence
    that says why: it is not a result, of another protocol, split or training seed, with MAP at
    another cut, or it has a note, which says that it is not to be compared.
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
        elif not any_seed and result.train_seed != DEFAULT_TRAIN_SEED:
            skipped.append(f"{path} is of training seed {result.train_seed}")
        elif result.note:
            skipped.append(f"{path} has a note: {result.note}")
        else:
            results[Key.of(result)] = result
    return results, skipped


def sources(dataset: str, results: Results) -> list[str]:
    """What our results on a data set were measured on."""
    return sorted({key.source for key in results if key.dataset == dataset})


def of_source(dataset: str, source: str, results: Results) -> list[Result]:
    """Our results on one source of images, by method and length."""
    return [
        results[key] for key in sorted(results) if key.dataset == dataset and key.source == source
    ]


def tables(
    dataset: str, results: Results, trainings: Mapping[Key, Sequence[Result]] | None = None
) -> list[ComparisonTable]:
    """The printed tables of a data set with ours, once per source of images.

    Parameters
    ----------
    dataset : str
    results : as :func:`read_results` returns them
    trainings : as :func:`of_seeds` returns them
        The range of those of which a result is the first is in the tables.
    """
    compared = []
    for source in sources(dataset, results) or [None]:
        measured = [] if source is None else of_source(dataset, source, results)
        for printed in published.TABLES:
            if printed.dataset != dataset:
                continue
            ours: dict[str, published.Row] = {}
            ranges: dict[str, dict[int, tuple[float, float]]] = {}
            for result in measured:
                takes = printed.takes_all and result.method not in published.ABLATIONS
                if not takes and result.method not in printed.rows:
                    continue
                row = ours.setdefault(result.label, {})
                row[result.bits] = float(getattr(result.metrics, printed.measure))
                of_net = (trainings or {}).get(Key.of(result), [])
                if of_net and of_net[0] is result:
                    values = [float(getattr(one.metrics, printed.measure)) for one in of_net]
                    of_method = ranges.setdefault(result.label, {})
                    of_method[result.bits] = min(values), max(values)
            compared.append(ComparisonTable(printed, source, ours, ranges))
    return compared


def of_seeds(results: Results, seeds: Sequence[Results]) -> dict[Key, list[Result]]:
    """The trainings of each net that has several, by their seeds: the first is of ``results``."""
    return {
        key: [result, *others]
        for key, result in sorted(results.items())
        if (others := [other[key] for other in seeds if key in other])
    }


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
    for key, trainings in of_seeds(results, seeds).items():
        if key.dataset != dataset:
            continue
        parts = []
        for measure, name in MEASURES.items():
            values = [getattr(training.metrics, measure) for training in trainings]
            parts.append(
                f"{name} {statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
            )
        sentences.append(
            f"{key.label}, {key.bits} bits, {key.source}; mean (and range) of "
            f"{len(trainings)} training seeds: {', '.join(parts)}."
        )
    return sentences


# --- figures and the page -------------------------------------------------------------


def with_curves(compared: Iterable[ComparisonTable]) -> list[ComparisonTable]:
    """The tables that take all methods and have values at several lengths."""
    return [
        table
        for table in compared
        if table.printed.takes_all and plots.has_curve(plots.comparison_series(table))
    ]


def figures_by_length(compared: Iterable[ComparisonTable]) -> dict[str, Plot]:
    """The values of each table of :func:`with_curves` against the code length, by name."""
    drawn = {}
    for table in with_curves(compared):
        suffix = f"_{files.as_name(table.source)}" if table.source else ""
        drawn[f"{table.printed.measure}{suffix}"] = plots.comparison([table])
    return drawn


def figures(dataset: str, source: str, results: Results) -> dict[str, Plot]:
    """The paper's figures 5 to 8 of our results at the length of its curves, by name, without
    empty ones."""
    ours = [result for result in of_source(dataset, source, results) if result.bits == CURVES_AT]
    compared = [result for result in ours if result.method not in published.ABLATIONS]
    encodings = [
        # Without a schedule in its label, or else the first.
        min(of_method, key=lambda result: result.label != result.method)
        for method in ("dnnh", "dnnh_fc")
        if (of_method := [result for result in ours if result.method == method])
    ]
    title = f"{source}, {CURVES_AT} bits"
    recall = [plots.precision_recall_series(result) for result in compared]
    at = [plots.precision_at_series(result) for result in compared]
    drawn = {}
    suffix = files.as_name(source)
    if plots.has_curve(recall):
        drawn[f"precision_recall_{suffix}"] = plots.precision_recall(recall, title)
    if plots.has_curve(at):
        drawn[f"precision_at_{suffix}"] = plots.precision_at(at, title)
    if len(encodings) == 2:
        series = [plots.precision_at_series(result) for result in encodings]
        if plots.has_curve(series):
            about = f"{title}: divide-and-encode and a fully connected layer"
            drawn[f"divide_and_encode_{suffix}"] = plots.precision_at(series, about)
    return drawn


def summary(compared: Iterable[ComparisonTable]) -> list[str]:
    """For each table that takes all methods and has results of ours, how dnnh does, or else
    which method is best, in a sentence or more."""
    sentences = []
    for table in compared:
        if not table.printed.takes_all or not table.ours:
            continue
        of_dnnh = [name for name in table.methods if method_of(name) == "dnnh"]
        label = next((name for name in of_dnnh if name in table.ours), "dnnh")
        ours = table.ours.get(label, {})
        lengths = ours or {bits for row in table.ours.values() for bits in row}
        bits = CURVES_AT if CURVES_AT in lengths else max(lengths)
        measure = MEASURES[table.printed.measure]
        sentence = f"{measure[0].upper()}{measure[1:]} at {bits} bits: "
        if not ours:
            of_bits = {m: row[bits] for m, row in table.ours.items() if bits in row}
            best = max(of_bits, key=lambda method: of_bits[method])
            sentences.append(
                f"{sentence}the best of our {len(of_bits)} methods is {best}, "
                f"{of_bits[best]:.3f} ({table.source})."
            )
            continue
        sentence += f"{label} {ours[bits]:.3f}"
        paper = table.printed.rows.get("dnnh", {})
        differences = {b: ours[b] - paper[b] for b in ours if b in paper}
        if bits in differences:
            sentence += f" (paper {paper[bits]:.3f}, difference {differences[bits]:+.3f})"
        if bits in (plus := table.ours.get("dnnh_plus", {})):
            sentence += f", dnnh_plus {plus[bits]:.3f}"
        if len(differences) > 1:
            low, high = min(differences.values()), max(differences.values())
            sentence += (
                f". At {min(differences)} to {max(differences)} bits, {label} differs from the paper "
                f"by {low:+.3f} to {high:+.3f}"
            )
        above = {m: row[bits] for m, row in table.ours.items() if row.get(bits, 0) > ours[bits]}
        above.pop("dnnh_plus", None)
        if above:
            ranked = sorted(above, key=lambda method: above[method], reverse=True)
            names = ", ".join(f"{method} {above[method]:.3f}" for method in ranked)
            sentence += f". Above {label} at {bits} bits: {names}"
        sentences.append(f"{sentence} ({table.source}).")
    return sentences


def page(
    dataset: str,
    compared: Sequence[ComparisonTable],
    drawn: Mapping[str, Plot],
    spread: Sequence[str],
) -> str:
    """One self-contained HTML page with tables, figures and spreads.

    Parameters
    ----------
    dataset : str
    compared : list of ComparisonTable
    drawn : dict of name to Plot
    spread : list of str, as :func:`spreads` returns it
    """
    return pages.render(
        "comparison.html",
        dataset=dataset,
        summary=summary(compared),
        pictures=report.pictures(drawn),
        tables=compared,
        spreads=spread,
    )

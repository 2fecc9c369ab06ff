"""From codes to results: ranked, measured, and written as a report."""

import json
import time

from dnnh import codes, metrics, paths, report
from dnnh.datasets import trees
from dnnh.errors import UserError

# The data sets whose MAP the paper measures within the top of the ranking.
TOP = {"nuswide": 5000}


def top_of(dataset, top=None):
    """MAP is within the first so many of a ranking: ``top``, or as TOP has it; None is all."""
    return top or TOP.get(dataset)


def measure(coded, about, top=None):
    """Rank, and put together the result as it goes into the JSON.

    MAP is as :func:`top_of` has it.
    """
    if top is not None and top < 1:
        raise UserError(f"--top {top}: MAP within at least the first 1 can be measured")
    same = None
    if coded.query_ids is not None and coded.database_ids is not None:
        place = {image: i for i, image in enumerate(coded.database_ids.tolist())}
        found = [place.get(image) for image in coded.query_ids.tolist()]
        if None not in found:
            same = found
            print("each query is in the database, and left out of its own ranking")
        elif any(f is not None for f in found):
            raise UserError("some queries are in the database and some are not; every "
                            "query must be, to be left out of its own ranking, or none")
    start = time.perf_counter()
    measured = metrics.evaluate(
        coded.query_codes, coded.database_codes, coded.query_labels,
        coded.database_labels, coded.bits, top=top_of(coded.dataset, top), same=same,
        progress=True)
    return {"dataset": coded.dataset, "method": coded.method, "bits": coded.bits,
            "seed": coded.seed, **about, **measured,
            "seconds": time.perf_counter() - start}


TEXTS = ("dataset", "method", "protocol", "source", "note")


def read_result(path):
    """A result as :func:`write` wrote it, checked: others draw and write what it says.

    Raises
    ------
    UserError
        If it is none.
    """
    try:
        result = json.loads(trees.read_file(path))
        for name in TEXTS:
            if not codes.is_text(result[name]):
                raise TypeError(f"{name} is no text that can be written")
        for name, low, high in (("bits", 1, codes.MAX_BITS), ("seed", 0, 2**63)):
            if type(result[name]) is not int or not low <= result[name] <= high:
                raise TypeError(f"{name} is {result[name]!r:.40}")
        curve, returned = result["pr_curve"], result["precision_at"]
        if not (isinstance(curve["recall"], list) and isinstance(curve["precision"], list)
                and len(curve["recall"]) == len(curve["precision"])
                and all(number.isascii() and number.isdigit() and len(number) < 10
                        for number in returned)):
            raise TypeError("its curves are none")
        for value in (result["map"], result["precision_radius2"], *curve["recall"],
                      *curve["precision"], *returned.values()):
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise TypeError(f"a value is {value!r:.40}, not from 0 to 1")
    except (UserError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            MemoryError) as error:
        raise UserError(f"{path} is not a result of tools/evaluate.py "
                        f"({type(error).__name__}: {error})") from error
    return result


def other_lengths(result):
    """Full results under results/ that differ from this one in length alone."""
    others = []
    for path in paths.RESULTS.glob("*/result.json"):
        try:
            other = read_result(path)
        except UserError as error:
            print(f"{error}; it is left out of the plot")
            continue
        if not other["note"] and not result["note"] and all(
                other[key] == result[key] for key in (
                    "dataset", "method", "protocol", "source", "seed")):
            others.append(other)
    return others


def folder_of(result):
    """Where a result goes, unless somebody says otherwise.

    ``result`` needs dataset, method, bits, protocol and (split) seed alone.
    """
    name = f"{result['dataset']}_{result['method']}_{result['protocol']}"
    if result["seed"]:
        name += f"_seed{result['seed']}"
    name = "".join(c if c.isalnum() else "_" for c in name.replace("*", "star"))
    return paths.RESULTS / f"{name.replace('__', '_').strip('_')}_{result['bits']}bit"


def write(coded, result, dataset=None, folder=None, json_too=None, with_codes=True):
    """Everything about a result; all of it, or nothing where something fails.

    Parameters
    ----------
    coded : dnnh.codes.Codes
    result : dict, as :func:`measure` returns it
    dataset : dnnh.datasets.Dataset, whose images the page then shows
    folder : path; :func:`folder_of` by default
    json_too : path of another file for the JSON
    with_codes : bool
        Whether the codes are written, too.

    Returns
    -------
    path of the page
    """
    folder = folder or folder_of(result)
    figures = report.draw(result, other_lengths(result))
    rows = report.gallery(coded, dataset) if dataset is not None else ()
    page = report.page(result, figures, rows, dataset)
    with paths.files_written_whole(folder) as partial:
        if with_codes:
            codes.save(partial / "codes.h5", coded)
        report.write_json(partial / "result.json", result)
        report.write_csv(partial / "curves.csv", result)
        for kind, figure in figures.items():
            figure.savefig(partial / f"{kind}.png", dpi=160)
            figure.savefig(partial / f"{kind}.pdf")
        (partial / "report.html").write_text(page)
        if json_too:
            report.write_json(json_too, result)
    return folder / "report.html"

"""The folder of a result: codes, JSON, CSV, plots and page."""

import pathlib

from dnnh import atomic_files, files, pages, paths
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError, printable
from dnnh.evaluation import codes as codes_files
from dnnh.evaluation import report
from dnnh.evaluation.codes import Codes
from dnnh.evaluation.gallery import gallery
from dnnh.evaluation.results import Result, read_result, write_result

CODES = "codes.h5"


def default_folder(dataset: str, method: str, bits: int, protocol: str, seed: int) -> pathlib.Path:
    """``results/<dataset>_<method>_<protocol>[_seed<split seed>]_<bits>bit``."""
    name = f"{dataset}_{method}_{protocol}"
    if seed:
        name += f"_seed{seed}"
    # Methods of others' codes files may have any name.
    name = files.as_name(name.replace("*", "star"))
    return paths.RESULTS / f"{name.replace('__', '_').strip('_')}_{bits}bit"


def folder_of(result: Result) -> pathlib.Path:
    """The default folder of a result."""
    return default_folder(result.dataset, result.method, result.bits, result.protocol, result.seed)


def what_is_replaced(folder: pathlib.Path, result: Result) -> str | None:
    """The model, the features or the source of another result in a folder; None without one."""
    try:
        earlier = read_result(folder / "result.json")
    except UserError:
        return None
    was, now = (
        (
            *(of.model, of.model_sha256, of.features, of.features_sha256),
            *(of.distance, of.cut_from, None if of.model else of.source),
        )
        for of in (earlier, result)
    )
    if was == now:
        return None
    return printable(earlier.model or earlier.features or earlier.source)


def write(
    codes: Codes,
    result: Result,
    dataset: Dataset | None = None,
    folder: pathlib.Path | None = None,
    json_copy: pathlib.Path | None = None,
    codes_file: pathlib.Path | None = None,
) -> pathlib.Path:
    """Write everything about a result: all files, or none if something fails.

    Parameters
    ----------
    codes : Codes
    result : Result
        As dnnh.evaluation.results.measure returns it.
    dataset : Dataset, optional
        The page shows images of it.
    folder : path, optional
        By default :func:`folder_of` the result.
    json_copy : path, optional
        Another file for the JSON.
    codes_file : path, optional
        Where the codes come from. They are written to the folder if it is not given; if it
        is, the folder's own codes are of another result, and are removed.

    Returns
    -------
    path of the page
    """
    folder = folder or folder_of(result)
    plots = report.draw(result, _other_lengths(result))
    rows = [] if dataset is None else gallery(codes, dataset)
    page = report.page(result, plots, rows)
    # Files of the result that is replaced; other folders may have such files of a user.
    obsolete = []
    if (folder / "result.json").exists():
        obsolete = [f"{name}{suffix}" for name in report.PLOTS for suffix in (".png", ".pdf")]
    if obsolete and codes_file and files.resolved(codes_file) != files.resolved(folder / CODES):
        obsolete.append(CODES)
    with atomic_files.write_files_atomically(folder, obsolete) as partial:
        if codes_file is None:
            codes_files.save(partial / CODES, codes)
        write_result(partial / "result.json", result)
        report.write_csv(partial / "curves.csv", result)
        for name, plot in plots.items():
            for suffix in ("png", "pdf"):
                path = partial / f"{name}.{suffix}"
                path.write_bytes(pages.figure_bytes(plot.figure, suffix))
        (partial / "report.html").write_text(page, encoding="utf-8")
    if json_copy:
        write_result(json_copy, result)
    return folder / "report.html"


def _other_lengths(result: Result) -> list[Result]:
    """Results under results/ without a note that differ from this one in length alone."""
    others = []
    for path in paths.RESULTS.glob("*/result.json"):
        try:
            other = read_result(path)
        except UserError as error:
            print(f"{error}; it is not plotted")
            continue
        if result.note or other.note:
            continue
        if (other.dataset, other.label, other.protocol, other.source, other.seed) == (
            result.dataset,
            result.label,
            result.protocol,
            result.source,
            result.seed,
        ):
            others.append(other)
    return others

"""Results: what an evaluation measures, and the JSON file that keeps it."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, packed_codes, paths
from dnnh.data import splits
from dnnh.data.dataset import Dataset
from dnnh.data.splits import Split
from dnnh.errors import UserError
from dnnh.evaluation import metrics
from dnnh.evaluation.codes import Codes, is_text
from dnnh.evaluation.metrics import Metrics, PrecisionRecall
from dnnh.nets import configs, weights
from dnnh.nets.specs import DEFAULT_TRAIN_SEED
from dnnh.nets.weights import TrainingRun

WEIGHTED = "weighted Hamming distance"

# The data sets whose MAP the paper measures within the first items of the ranking.
MAP_AT = {"nuswide": 5000}


@dataclasses.dataclass(kw_only=True)
class Result:
    """What was evaluated, and its metrics; in the order of the result file.

    Attributes
    ----------
    dataset, method : str
    bits : int
    seed : int
        Of the split.
    source : str
        What the images were read from.
    images_sha256 : str, or None
        Of these images in their order.
    protocol : str
    note : str, or None
        One sentence about a result that is not to be compared with others.
    model, model_sha256 : str, or None
        File name and hash of the weights, of a net.
    features, features_sha256 : str, or None
        Of a baseline: what it hashes, and the hash of that if it is a file. Its seed is ``method_seed``; ``fit_seconds`` are the
        seconds of fitting and encoding.
    distance : str, or None
        What ranks, where it is not the Hamming distance.
    cut_from : int, or None
        How many bits the codes had before they were cut to their heaviest.
    metrics : Metrics
    seconds : float
        Of the ranking; None in a result file that lacks it.
    """

    dataset: str
    method: str
    bits: int
    seed: int
    source: str
    protocol: str
    images_sha256: str | None = None
    note: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    features: str | None = None
    features_sha256: str | None = None
    method_seed: int | None = None
    fit_seconds: float | None = None
    distance: str | None = None
    cut_from: int | None = None
    metrics: Metrics
    seconds: float | None = None

    @property
    def train_seed(self) -> int:
        """Training seed of the net, from its model's file name."""
        run = self._run
        return DEFAULT_TRAIN_SEED if run is None else run.train_seed

    @property
    def _run(self) -> TrainingRun | None:
        config = configs.CONFIGS.get(self.dataset, {}).get(self.method)
        if config is None:  # no net, or of a user's own data set
            return None
        return weights.run_in_name(self.model or "", self.dataset, config, self.method)

    @property
    def label(self) -> str:
        """The method; and the schedule, where the model was trained with another one than the
        nets of all lengths and ablations that are compared here."""
        run = self._run
        if run is None:
            return self.method
        config, schedule = configs.CONFIGS[self.dataset][self.method], run.schedule
        if schedule == config.short_schedule:
            return self.method
        if schedule in config.schedules:
            return f"{self.method} (schedule {schedule})"
        return f"{self.method} ({int(schedule):,} iterations)"


def default_map_at(dataset: str) -> int | None:
    """MAP of a data set is within the first so many of a ranking; None: the whole ranking."""
    return MAP_AT.get(dataset)


def measure(
    codes: Codes, *, source: str, protocol: str, note: str | None = None, map_at: int | None = None
) -> Result:
    """Rank the database for every query and measure the rankings.

    Parameters
    ----------
    codes : Codes
    source, protocol, note : see :class:`Result`
    map_at : int, optional
        MAP within the first so many (default: :func:`default_map_at`).

    Raises
    ------
    UserError
        If ``map_at`` is below 1, or some queries are in the database and others are not.
    """
    if map_at is not None and map_at < 1:
        raise UserError(f"--map-at {map_at}: MAP needs at least the first 1 of a ranking")
    query_rows = _query_rows(codes)
    if query_rows is not None:
        print("each query is in the database and is excluded from its own ranking")
    start = time.perf_counter()
    measured = metrics.evaluate(
        codes.query_codes,
        codes.database_codes,
        codes.query_labels,
        codes.database_labels,
        codes.bits,
        top=default_map_at(codes.dataset) if map_at is None else map_at,
        query_rows=query_rows,
        bit_weights=codes.bit_weights,
        progress=True,
    )
    return Result(
        dataset=codes.dataset,
        method=codes.method,
        bits=codes.bits,
        seed=codes.seed,
        source=source,
        protocol=protocol,
        note=note,
        images_sha256=codes.images_sha256,
        model=codes.model,
        model_sha256=codes.model_sha256,
        distance=None if codes.bit_weights is None else WEIGHTED,
        cut_from=codes.cut_from,
        metrics=measured,
        seconds=time.perf_counter() - start,
    )


def _query_rows(codes: Codes) -> NDArray[np.int64] | None:
    """The row of each query in the database; None if no query is there."""
    if codes.query_ids is None or codes.database_ids is None:
        return None
    row_of = {image: row for row, image in enumerate(codes.database_ids.tolist())}
    rows = [row_of[image] for image in codes.query_ids.tolist() if image in row_of]
    if len(rows) == len(codes.query_ids):
        return np.array(rows, np.int64)
    if rows:
        raise UserError(
            "some queries are in the database and some are not; either every query must be "
            "in it, and is then excluded from its own ranking, or none"
        )
    return None


# --- the file -----------------------------------------------------------------------


def write_result(path: files.StrPath, result: Result) -> None:
    """Write a result as JSON, atomically."""
    atomic_files.write_text(path, json.dumps(_as_json(result), indent=1) + "\n")


def _as_json(result: Result) -> dict[str, Any]:
    """The fields of the file, in their order; absent ones are omitted."""
    fields = {}
    for name, value in dataclasses.asdict(result).items():
        if name == "metrics":
            fields |= value
        else:
            fields[name] = value
    fields["note"] = result.note or ""
    return {name: value for name, value in fields.items() if value is not None or name == "top"}


def read_result(path: files.StrPath) -> Result:
    """Read a result and check it: its texts and numbers go into plots and pages.

    Raises
    ------
    UserError
        If the file is not a result.
    """
    try:
        atomic_files.complete_if_possible(pathlib.Path(path).parent)
        return _from_json(files.read_json(path))
    except (
        UserError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
    ) as error:
        raise UserError(
            f"{path} is not a result of tools/evaluate.py ({type(error).__name__}: {error})"
        ) from error


def seen_in_training(
    model: files.StrPath, dataset: Dataset, split: Split, validation: bool = False
) -> str | None:
    """Why queries may be among the images that a released model was trained on.

    Parameters
    ----------
    model : path
        Weights. Of a released model ``models/results/`` has the images.
    dataset : Dataset
    split : Split
        Of which the queries are.
    validation : bool
        Whether they are those of its validation split.

    Returns
    -------
    str, or None
        A sentence; None for the images and the split of the model, and for weights of one's own.
    """
    sha256 = files.sha256(model)
    for path in sorted((paths.MODELS / "results").glob("*.json")):
        result = read_result(path)
        if (result.dataset, result.model_sha256) != (dataset.name, sha256):
            continue
        # A split is drawn by position: images in another order have other queries.
        same = result.source == dataset.source
        if result.images_sha256 and dataset.images_sha256:
            same = result.images_sha256 == dataset.images_sha256
        what = f"{model} was trained on '{result.source}'"
        if not same:
            other = "other images, or in another order" if result.source == dataset.source else ""
            here = other or f"'{dataset.source}'"
            return (
                f"{what}; {dataset.name} here is {here}, some of which it may have been trained on"
            )
        if validation or not splits.fits_committed_nets(split.protocol, split.seed):
            which = "the validation split" if validation else f"protocol {split.protocol}"
            return (
                f"{what}; queries of {which}, split seed {split.seed}, may be among its training "
                "images, which are those of split seed 0"
            )
    return None


def _from_json(fields: dict[str, Any]) -> Result:
    def optional(name: str, check: Callable[..., Any], *arguments: Any) -> Any:
        """A field that may be missing, or null."""
        value = fields.get(name)
        return None if value is None else check(name, value, *arguments)

    def count(name: str) -> int | None:
        return optional(name, _check_whole, 0, 2**53)

    for name in ("dataset", "method", "protocol", "source", "note"):
        _check_text(name, fields[name])
    curve, precision_at = fields["pr_curve"], fields["precision_at"]
    recall, precision = curve["recall"], curve["precision"]
    if not (
        isinstance(recall, list) and isinstance(precision, list) and len(recall) == len(precision)
    ):
        raise TypeError("pr_curve has no two lists of equal length")
    for number in precision_at:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise TypeError(f"precision_at has the number {number!r:.40}")
    for value in (*recall, *precision, *precision_at.values()):
        _check_share("a value", value)
    measured = Metrics(
        map=_check_share("map", fields["map"]),
        precision_radius2=_check_share("precision_radius2", fields["precision_radius2"]),
        precision_at={int(number): value for number, value in precision_at.items()},
        pr_curve=PrecisionRecall(recall=recall, precision=precision),
        top=count("top"),
        queries=count("queries"),
        database=count("database"),
        map_tie_aware=optional("map_tie_aware", _check_share),
        map_random=optional("map_random", _check_share),
        relevant_share=optional("relevant_share", _check_share),
        queries_without_relevant=count("queries_without_relevant"),
        queries_without_radius2=count("queries_without_radius2"),
    )
    return Result(
        dataset=fields["dataset"],
        method=fields["method"],
        bits=_check_whole("bits", fields["bits"], 1, packed_codes.MAX_BITS),
        seed=_check_whole("seed", fields["seed"], 0, 2**63),
        source=fields["source"],
        protocol=fields["protocol"],
        note=fields["note"] or None,
        images_sha256=optional("images_sha256", _check_text),
        model=optional("model", _check_text),
        model_sha256=optional("model_sha256", _check_text),
        features=optional("features", _check_type, str),
        features_sha256=optional("features_sha256", _check_type, str),
        method_seed=count("method_seed"),
        fit_seconds=optional("fit_seconds", _check_type, int, float),
        distance=optional("distance", _check_text),
        cut_from=count("cut_from"),
        metrics=measured,
        seconds=optional("seconds", _check_type, int, float),
    )


def _check_share(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise TypeError(f"{name} is {value!r:.40}, not from 0 to 1")
    return value


def _check_whole(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise TypeError(f"{name} is {value!r:.40}, not a whole number from {low} to {high}")
    return value


def _check_text(name: str, value: Any) -> str:
    if not is_text(value):
        raise TypeError(f"{name} is not text that can be written")
    return value


def _check_type(name: str, value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise TypeError(f"{name} is {value!r:.40}, not of type {types[-1].__name__}")
    return value

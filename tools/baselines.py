"""Fit shallow hashing methods to features, encode a data set, and measure.

  python tools/baselines.py --method itq --dataset cifar10 --bits 48
  python tools/baselines.py --method all --bits 12 24 32 48      skips what is done
  python tools/baselines.py --method ksh --features features.npy

Methods learn from the split that the nets learn from: supervised ones from its
training images, the others from the whole database. Writes what tools/evaluate.py
writes, to the same place. If a method cannot be fitted, the tool says so and goes on
with the others.
"""

import argparse
import pathlib
import time

import numpy as np
from numpy.typing import NDArray

from dnnh import cli, errors, files
from dnnh.baselines import METHODS, features
from dnnh.baselines.base import Hasher
from dnnh.data import datasets, splits
from dnnh.data.dataset import Dataset
from dnnh.data.splits import Split
from dnnh.errors import UserError
from dnnh.evaluation import report, result_folder, results
from dnnh.evaluation.codes import Codes

# What the paper's baselines hash (section 4.1): GIST, and NUS-WIDE's own bag of words.
DEFAULT_FEATURES = {"nuswide": "bow"}


def main() -> None:
    arguments = parse_arguments()
    names = list(METHODS) if "all" in arguments.method else arguments.method
    methods = [
        METHODS[name](bits, arguments.method_seed) for bits in arguments.bits for name in names
    ]
    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset)
    vectors, failures = None, []
    for method in methods:
        name = result_name(method, arguments)
        title = f"{name}, {method.bits} bits"
        folder = result_folder.default_folder(
            dataset.name, name, method.bits, split.protocol, split.seed
        )
        if is_done(folder, dataset, arguments) and not arguments.force:
            print(f"{title}: done before, {folder}")
            continue
        if vectors is None:
            vectors = features.load(arguments.features, dataset)
        try:
            run(method, name, vectors, dataset, split, arguments)
        except UserError as error:
            print(f"{title}: failed")
            failures.append(f"{title}: {error}")
    if failures:
        raise UserError("; ".join(failures))


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--method",
        nargs="+",
        required=True,
        metavar="METHOD",
        choices=[*METHODS, "all"],
        help=", ".join([*METHODS, "all"]),
    )
    cli.add_dataset_option(parser)
    cli.add_bits_option(parser, many_lengths=True)
    parser.add_argument(
        "--features",
        help=f"{', '.join(features.KINDS)}, or a file with one row for each "
        "image, .npy or HDF5 (default: bow for nuswide, else gist)",
    )
    cli.add_method_seed_option(parser)
    cli.add_map_at_option(parser)
    parser.add_argument("--force", action="store_true", help="replace existing results")
    arguments = parser.parse_args()
    cli.fill_in(arguments, bits=[cli.DEFAULTS["bits"]])
    cli.fill_in_defaults(arguments)
    cli.fill_in(arguments, features=default_features(arguments.dataset))
    stem = pathlib.Path(arguments.features).stem
    if arguments.features not in features.KINDS and stem in features.KINDS:
        raise UserError(
            f"--features {arguments.features}: results name features by their file, and '{stem}' are "
            "others; name the file otherwise"
        )
    return arguments


def default_features(dataset: str) -> str:
    """What the methods hash if the user does not say."""
    return DEFAULT_FEATURES.get(dataset, "gist")


def result_name(method: Hasher, arguments: argparse.Namespace) -> str:
    """The method's name in results: ``<method>[_<features>][_seed<n>]``, without defaults."""
    name = method.name
    if arguments.features != default_features(arguments.dataset):
        name += f"_{pathlib.Path(arguments.features).stem}"
    if arguments.method_seed:
        name += f"_seed{arguments.method_seed}"
    return name


def is_done(folder: pathlib.Path, dataset: Dataset, arguments: argparse.Namespace) -> bool:
    """Whether the folder has this very result: not with other features under the same name or
    in the same file, from other images or ones that were prepared again, or with MAP at another
    cut."""
    path = folder / "result.json"
    try:
        earlier = results.read_result(path)
    except UserError:
        return False
    if not files.is_newer(path, datasets.path_of(dataset.name)):
        return False
    map_at = arguments.map_at
    if map_at is None:
        map_at = results.default_map_at(dataset.name)
    return (earlier.features, earlier.features_sha256, earlier.source, earlier.metrics.top) == (
        arguments.features,
        file_hash(arguments.features),
        dataset.source,
        map_at,
    )


def file_hash(kind: str) -> str | None:
    """The SHA-256 of features that are a file; None of others."""
    is_file = kind not in features.KINDS and pathlib.Path(kind).is_file()
    return files.sha256(pathlib.Path(kind)) if is_file else None


def run(
    method: Hasher,
    name: str,
    vectors: NDArray[np.float32],
    dataset: Dataset,
    split: Split,
    arguments: argparse.Namespace,
) -> None:
    """Fit, encode, measure, write."""
    start = time.perf_counter()
    rows = split.training if method.supervised else split.database
    method.fit(vectors[rows], dataset.labels[rows])
    codes = Codes(
        method.encode(vectors[split.queries]),
        method.encode(vectors[split.database]),
        dataset.labels[split.queries],
        dataset.labels[split.database],
        bits=method.bits,
        dataset=dataset.name,
        method=name,
        seed=split.seed,
        query_ids=split.queries,
        database_ids=split.database,
        source=dataset.source,
        images_sha256=dataset.images_sha256 or None,
        protocol=split.protocol,
    )
    seconds = time.perf_counter() - start
    result = results.measure(
        codes, source=dataset.source, protocol=split.protocol, map_at=arguments.map_at
    )
    result.features = arguments.features
    result.features_sha256 = file_hash(arguments.features)
    result.method_seed = arguments.method_seed
    result.fit_seconds = seconds
    print(report.summary(result))
    if replaced := result_folder.what_is_replaced(result_folder.folder_of(result), result):
        print(f"replaces the result of {replaced}")
    page = result_folder.write(codes, result, dataset)
    print(f"  fitted and encoded in {seconds:.1f} s: {page}")


if __name__ == "__main__":
    errors.run(main)

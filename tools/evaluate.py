"""Encode images with a trained net, rank the database for every query, and measure.

  python tools/evaluate.py --bits 48                 CIFAR-10, newest snapshot
  python tools/evaluate.py --dataset digits --model snapshots/digits_dnnh_48bit_iter_500.caffemodel
  python tools/evaluate.py --split validation        to choose settings: the held-out
                                                     training images among themselves
  python tools/evaluate.py --queries held-out        of a training run on all training images:
                                                     1,000 other images, none of them queries
  python tools/evaluate.py --method dnnh_plus --all-lengths         of one training run
  python tools/evaluate.py --codes codes.h5 --json result.json      any codes file
  python tools/evaluate.py --method drsch --keep-bits 24

Prints a table and writes, under results/, the codes file, JSON, CSV, the plots of
the paper's figures 5 to 8 as PNG and PDF, and one self-contained HTML page.
"""

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, cli, errors, files, limits, packed_codes
from dnnh.data import datasets, splits
from dnnh.data.dataset import Dataset
from dnnh.data.splits import Split
from dnnh.errors import UserError, printable
from dnnh.evaluation import codes as codes_files
from dnnh.evaluation import report, result_folder, results
from dnnh.evaluation.codes import Codes
from dnnh.nets import prototxt, weights
from dnnh.nets.caffe_encoder import CaffeEncoder

UNWEIGHTED = "Ranked by Hamming distance without bit weights."  # before the user's note
ENCODING_OPTIONS = (
    "bits",
    "dataset",
    "method",
    "schedule",
    "model",
    "gpu",
    "split",
    "queries",
    "protocol",
    "split_seed",
    "all_lengths",
)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--codes", type=cli.path, help="evaluate this codes file instead of encoding images"
    )
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    cli.add_gpu_option(parser)
    cli.add_split_option(parser)
    cli.add_protocol_options(parser)
    parser.add_argument(
        "--queries",
        choices=("held-out", "training"),
        help="rank other images in the rest of the database: held-out, as many that are neither "
        "queries nor trained on (with --split validation, the images held out); training, as many "
        "training images",
    )
    cli.add_map_at_option(parser)
    parser.add_argument(
        "--keep-bits",
        type=int,
        metavar="N",
        help="truncate the codes to the N bits with the largest weights (drsch)",
    )
    parser.add_argument(
        "--unweighted",
        action="store_true",
        help="rank by Hamming distance where the codes have bit weights, too",
    )
    parser.add_argument(
        "--all-lengths",
        action="store_true",
        help="evaluate all lengths that were trained together, and encode the images once",
    )
    parser.add_argument("--json", type=cli.path, help="write the JSON here, too")
    parser.add_argument(
        "--output", type=cli.path, help="folder for the results (default: under results/)"
    )
    parser.add_argument(
        "--note", help="one line on the page: why the result is not to be compared with others"
    )
    arguments = parser.parse_args()
    most = limits.TEXT_LETTERS - arguments.unweighted * len(f"{UNWEIGHTED} ")
    note = arguments.note
    if note is not None and not (codes_files.is_text(note) and len(note) <= most):
        raise UserError(f"--note is one line of at most {most} letters; this one has {len(note)}")
    if arguments.all_lengths:
        cli.refuse(
            arguments,
            ("bits", "json", "output"),
            "is for one length; leave it out with --all-lengths",
        )
    if arguments.codes:
        cli.refuse(arguments, ENCODING_OPTIONS, "is for encoding images; leave it out with --codes")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    atomic_files.refuse_overwriting([arguments.json], [arguments.codes, arguments.model])
    if arguments.codes:
        evaluate(arguments, codes_files.load(arguments.codes))
        return
    for codes, dataset in encode(arguments):
        evaluate(arguments, codes, dataset)


def evaluate(arguments: argparse.Namespace, codes: Codes, dataset: Dataset | None = None) -> None:
    """Measure codes, print a table and write the result."""
    if arguments.codes:
        file_name = printable(f"codes file {arguments.codes.name}")
        source = codes.source or file_name[: limits.TEXT_LETTERS]
        protocol = codes.protocol or "of the file"
    else:
        source, protocol = str(codes.source), str(codes.protocol)
    changed, notes = codes, [arguments.note]
    if arguments.keep_bits is not None:
        changed = codes_files.keep_heaviest(changed, arguments.keep_bits)
    if arguments.unweighted and changed.bit_weights is not None:
        notes.insert(0, UNWEIGHTED)
        changed = dataclasses.replace(changed, bit_weights=None)
    result = results.measure(
        changed,
        source=source,
        protocol=protocol,
        note=" ".join(filter(None, notes)) or None,
        map_at=arguments.map_at,
    )
    print(report.summary(result))
    folder = arguments.output or result_folder.folder_of(result)
    if changed is not codes:  # they are written there
        atomic_files.refuse_overwriting([folder / result_folder.CODES], [arguments.codes])
    replaced = result_folder.what_is_replaced(folder, result)
    if replaced:
        print(f"replaces the result of {replaced}; use --output to keep both")
    page = result_folder.write(
        changed,
        result,
        dataset,
        folder,
        json_copy=arguments.json,
        codes_file=arguments.codes if changed is codes else None,
    )
    print(f"codes, tables, plots and report: {page}")


def encode(arguments: argparse.Namespace) -> Iterator[tuple[Codes, Dataset]]:
    """Encode the queries and the database of a data set; yield the codes of each length."""
    spec = cli.net_spec(arguments)
    if arguments.model is None and not splits.fits_committed_nets(
        arguments.protocol, arguments.split_seed
    ):
        raise UserError(
            "snapshots and released models are trained for split seed 0 of "
            "the protocols 'paper' and '54k'; other queries may have been "
            "trained on. Name a model trained for them with --model"
        )
    if arguments.all_lengths and len(spec.lengths) == 1:
        raise UserError(
            f"--all-lengths is for lengths that are trained together; those of {spec.method} are not: "
            "name one with --bits"
        )
    dataset = datasets.load(spec.dataset)
    split = splits.load_split(dataset, arguments.protocol, arguments.split_seed)
    model = weights.find_weights(spec, arguments.model)
    print(f"model: {model.description}")
    is_validation = arguments.split == "validation"
    weights.check_split(spec, model.path)
    problem = results.seen_in_training(model.path, dataset, split, is_validation)
    if problem and not arguments.note:
        raise UserError(f"{problem}: train the net on these images, or say so with --note")
    if arguments.queries == "held-out" and spec.config.pseudo_labels and not is_validation:
        raise UserError(
            f"--queries held-out: {spec.method} was trained on images of the database without labels, "
            "too, and which they are is not known here"
        )
    queries, database, protocol = images_of(arguments, dataset, split)
    # One net for both, or two of which the first encodes queries (section 4.4).
    towers = spec.config.towers
    deploys = [
        prototxt.as_text(prototxt.joint_deploy_net(model.net(spec), tower))
        if arguments.all_lengths
        else prototxt.deploy_text(model.net(spec), tower)
        for tower in towers
    ]
    encoders = [CaffeEncoder(deploy, model.path, arguments.gpu) for deploy in deploys]
    query_codes = encoders[0].encode(dataset.images, "encoding queries", queries)
    if queries is database and len(encoders) == 1:
        database_codes = query_codes
    else:
        database_codes = encoders[-1].encode(dataset.images, "encoding database", database)
    lengths = list(spec.lengths.values()) if arguments.all_lengths else [spec.bits]
    model_sha256 = files.sha256(model.path)
    for bits, of_queries, of_database in zip(
        lengths, apart(query_codes, lengths), apart(database_codes, lengths)
    ):
        codes = Codes(
            of_queries,
            of_database,
            dataset.labels[queries],
            dataset.labels[database],
            bits=bits,
            dataset=dataset.name,
            method=spec.method,
            seed=split.seed,
            query_ids=queries,
            database_ids=database,
            bit_weights=encoders[-1].bit_weights,
            source=dataset.source,
            images_sha256=dataset.images_sha256 or None,
            protocol=protocol,
            model=printable(model.path.name)[: limits.TEXT_LETTERS],
            model_sha256=model_sha256,
        )
        yield codes, dataset


def apart(joint: NDArray[np.uint8], lengths: list[int]) -> list[NDArray[np.uint8]]:
    """Packed codes of some lengths, from those of all bits side by side."""
    bits = np.split(packed_codes.unpack(joint, sum(lengths)), np.cumsum(lengths)[:-1], axis=1)
    return [packed_codes.pack(of_length) for of_length in bits]


def images_of(
    arguments: argparse.Namespace, dataset: Dataset, split: Split
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """The queries, the database, and what the protocol is called."""
    is_validation = arguments.split == "validation"
    _, trained_on = split.trained_on(arguments.split)
    match arguments.queries:
        case None if is_validation:
            return split.validation_queries, split.validation_queries, "validation"
        case None:
            return split.queries, split.database, split.protocol
        case "held-out" if is_validation:
            queries = split.validation_queries
            database = np.setdiff1d(split.database, queries)
        case "held-out":
            pool = np.setdiff1d(split.database, trained_on)
            queries, database = splits.other_queries(dataset, pool, split)
        case _:
            queries, database = splits.other_queries(dataset, trained_on, split)
    protocol = "validation" if is_validation else split.protocol
    return queries, database, f"{protocol}, {arguments.queries}"


if __name__ == "__main__":
    errors.run(main)

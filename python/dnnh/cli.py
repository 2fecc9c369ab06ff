"""What the commands in tools/ share: options that mean the same in all of them.

Options have no defaults in the parser, so that a tool can tell which of them a user gave;
the functions here fill them in.
"""

import argparse
import pathlib
from collections.abc import Iterable, Sequence

from dnnh import errors
from dnnh.data import splits
from dnnh.errors import UserError
from dnnh.nets import pretrained, runtimes, specs, weights
from dnnh.nets.specs import NetSpec
from dnnh.retrieval import spark_session


def path(text: str) -> pathlib.Path:
    """A path of the command line; an empty one, as of a shell variable that is not set, is none."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path")
    return pathlib.Path(text)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser that describes a tool by the docstring of its file."""
    return argparse.ArgumentParser(
        description=errors.as_called(doc or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_net_options(parser: argparse.ArgumentParser, many_lengths: bool = False) -> None:
    """Add --dataset, --method, --bits and --schedule: which net."""
    add_dataset_option(parser)
    parser.add_argument("--method", help=f"method (default: {specs.DEFAULT_METHOD})")
    add_bits_option(parser, many_lengths)
    parser.add_argument(
        "--schedule",
        help="training schedule: paper, short or a number of iterations (default: the method's "
        "own; paper for dnnh)",
    )


def add_dataset_option(parser: argparse.ArgumentParser) -> None:
    """Add --dataset."""
    parser.add_argument("--dataset", help=f"(default: {specs.DEFAULT_DATASET})")


def add_bits_option(parser: argparse.ArgumentParser, many_lengths: bool = False) -> None:
    """Add --bits, one or many."""
    parser.add_argument(
        "--bits",
        type=int,
        nargs="+" if many_lengths else None,
        help=f"code length{'s' * many_lengths} (default: {specs.DEFAULT_BITS})",
    )


def add_model_option(parser: argparse.ArgumentParser, takes_onnx: bool = False) -> None:
    """Add --model: trained weights."""
    or_onnx = "; or an ONNX model that tools/export.py wrote, which needs no Caffe" * takes_onnx
    parser.add_argument(
        "--model",
        type=path,
        help=f"weights, a .caffemodel file (default: {weights.DEFAULT_CHOICE})" + or_onnx,
    )


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """Add --runtime: what runs the net."""
    parser.add_argument(
        "--runtime",
        choices=runtimes.RUNTIMES,
        help="what runs the net (default: onnx for a .onnx file and where Caffe is not built)",
    )


def add_pretrained_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --net and --size: a pretrained network, and for what."""
    parser.add_argument("--net", choices=pretrained.NETWORKS, help=what)
    parser.add_argument(
        "--size",
        type=int,
        help="height and width at which a pretrained network sees the images (default: 225 for "
        "efficientnet_lite0; the others take their own alone)",
    )


def pretrained_size(arguments: argparse.Namespace) -> int:
    """--size, or by default that of --net."""
    default = pretrained.NETWORKS[arguments.net].size
    return default if arguments.size is None else arguments.size


def add_gpu_option(parser: argparse.ArgumentParser) -> None:
    """Add --gpu: what encodes."""
    parser.add_argument(
        "--gpu",
        type=int,
        metavar="N",
        help="encode on this GPU, the first is 0 (default: on the CPU); needs a build with CUDA",
    )


def add_split_option(parser: argparse.ArgumentParser) -> None:
    """Add --split: what is trained on, and what is evaluated."""
    parser.add_argument(
        "--split",
        choices=specs.SPLITS,
        help="test: train on all training images, evaluate the protocol's queries (default); "
        "validation: train on four fifths of the training images, evaluate the others among "
        "themselves",
    )


def add_sampling_option(parser: argparse.ArgumentParser) -> None:
    """Add --sampling: where the triplets of a batch come from."""
    parser.add_argument(
        "--sampling",
        choices=specs.TRIPLET_SAMPLINGS,
        help="source of the triplets, see above (default: online)",
    )


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """Add --protocol and --split-seed: which images are queries, training set and database."""
    parser.add_argument(
        "--protocol",
        choices=splits.PROTOCOLS,
        help="protocol that draws queries, training set and database (default: paper)",
    )
    parser.add_argument("--split-seed", type=int, help="random seed of the split (default: 0)")


def add_train_seed_option(parser: argparse.ArgumentParser) -> None:
    """Add --train-seed: what is random in a net's training."""
    parser.add_argument(
        "--train-seed",
        type=int,
        help="random seed of initial weights, triplets and data augmentation (default: 1)",
    )


def add_method_seed_option(parser: argparse.ArgumentParser) -> None:
    """Add --method-seed: what is random in a method other than a net's training."""
    parser.add_argument("--method-seed", type=int, help="random seed of the method (default: 0)")


def add_map_at_option(parser: argparse.ArgumentParser) -> None:
    """Add --map-at: the cut of MAP."""
    parser.add_argument(
        "--map-at",
        type=int,
        metavar="N",
        help="MAP within the first N results (default: 5000 for nuswide, else all)",
    )


def add_index_options(parser: argparse.ArgumentParser, engines: Sequence[str]) -> None:
    """Add --index, --model, --runtime, --engine, --address and, for Spark, --master: what is
    searched."""
    parser.add_argument("--index", type=path, required=True, help="an index of encoded images")
    parser.add_argument(
        "--model",
        type=path,
        help="the weights that the index was encoded with, or the ONNX model of them (default: "
        "found in snapshots/ and models/)",
    )
    add_runtime_option(parser)
    parser.add_argument(
        "--engine",
        default="numpy",
        choices=engines,
        help="what searches (default: numpy, which is exact and needs no other package)",
    )
    parser.add_argument(
        "--address",
        help="address of Milvus, http://host:19530, or a file for Milvus Lite, codes.db",
    )
    if "spark" in engines:
        parser.add_argument(
            "--master",
            help=f"Spark master (default: {spark_session.MASTER}; spark://host:port is a cluster)",
        )


def given(arguments: argparse.Namespace, options: Iterable[str]) -> list[str]:
    """Those of the options that the user gave, as on the command line: ``--split-seed``."""
    return [
        f"--{name.replace('_', '-')}"
        for name in options
        if getattr(arguments, name) is not None and getattr(arguments, name) is not False
    ]


def refuse(arguments: argparse.Namespace, options: Iterable[str], reason: str) -> None:
    """Raise UserError if the user gave one of the options; ``reason`` continues its name."""
    for option in given(arguments, options):
        raise UserError(f"{option} {reason}")


def fill_in(arguments: argparse.Namespace, **defaults: object) -> None:
    """Give options that the user left out their defaults."""
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


# Defaults of the options above, for fill_in.
DEFAULTS: dict[str, object] = {
    "dataset": specs.DEFAULT_DATASET,
    "method": specs.DEFAULT_METHOD,
    "bits": specs.DEFAULT_BITS,
    "split": "test",
    "protocol": "paper",
    "split_seed": 0,
    "train_seed": specs.DEFAULT_TRAIN_SEED,
    "method_seed": 0,
}


def fill_in_defaults(arguments: argparse.Namespace) -> None:
    """Give all options of this module that the user left out their defaults."""
    present = {name: value for name, value in DEFAULTS.items() if hasattr(arguments, name)}
    fill_in(arguments, **present)


def net_spec(arguments: argparse.Namespace) -> NetSpec:
    """The net of --dataset, --method, --bits and --schedule, and of --split and --train-seed if
    the tool has them."""
    fill_in_defaults(arguments)
    return specs.net_spec(
        arguments.dataset,
        arguments.method,
        arguments.bits,
        arguments.schedule,
        getattr(arguments, "split", "test"),
        train_seed=getattr(arguments, "train_seed", specs.DEFAULT_TRAIN_SEED),
    )

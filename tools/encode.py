"""Encode any number of images, into an index that can be searched.

  python tools/encode.py --images photos --bits 48 --output photos.index.h5
  python tools/encode.py --images list.csv --method dnnh_plus --output list.index.h5
  python tools/encode.py --images photos --output photos.index.h5 --gpu 0
  python tools/encode.py --images photos --dataset photos --schedule short --output index.h5
  python tools/encode.py --images photos --output photos.index --engine spark --master 'local[2]'
  python tools/encode.py --images photos --output photos.index.h5 --net efficientnet_lite0
  python tools/encode.py --images photos --output photos.index.h5 --model dnnh_plus_48.onnx
  python tools/encode.py --update --output photos.index.h5       what is new or has changed
  python tools/encode.py --remove 2024/cat.jpg --output photos.index.h5

--net needs no training: a shallow method (--hash) hashes features of a network that others have
trained, and is fitted to the images themselves. `tools/get_model.py` fetches the network. Codes of
two indexes can be compared only if the second was made with --hash-of FIRST.

--model FILE.onnx encodes without Caffe: the model, which tools/export.py wrote, says which net it is,
and may be one that gives features.

--images is a folder, a CSV file (each row a path and labels, if any) or an LMDB. Images that
cannot be read are counted, listed and skipped. Run the same command again after an interruption
to resume (on Spark it starts again). tools/search.py searches the index: an HDF5 file, or, by
Spark on any number of machines, a folder of Parquet files with the same codes.
"""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator

from tqdm import tqdm

from dnnh import atomic_files, cli, errors, files
from dnnh.baselines import METHODS
from dnnh.baselines.base import Hasher
from dnnh.data import sources
from dnnh.data.sources import Item
from dnnh.errors import UserError
from dnnh.nets import onnx_encoder, runtimes, specs, weights
from dnnh.nets.runtimes import RunningNet
from dnnh.retrieval import (
    feature_hash,
    image_groups,
    index_claim,
    index_files,
    index_writer,
    parquet,
    parquet_update,
    spark_encoding,
    spark_session,
)
from dnnh.retrieval.feature_hash import HashedFeatures
from dnnh.retrieval.index_update import Update
from dnnh.retrieval.index_writer import IndexWriter, SourceChanged
from dnnh.retrieval.spark_encoding import Counts


def main() -> None:
    arguments = parse_arguments()
    if arguments.remove:
        names = list(dict.fromkeys(arguments.remove))
        remove = parquet_update.remove if arguments.output.is_dir() else index_writer.remove
        left = remove(arguments.output, names)
        print(f"{arguments.output}: {left:,} images; {len(names):,} removed")
        return
    if arguments.update:
        update = update_on_spark if arguments.output.is_dir() else update_index
        update(arguments)
        return
    check_places(arguments)
    if arguments.engine == "spark":
        encode_on_spark(arguments)
        return
    net, kept = open_net(arguments)
    print(f"model: {net.description}")
    atomic_files.refuse_overwriting(
        [arguments.output], [net.path, arguments.images, arguments.hash_of]
    )
    source = files.resolved(arguments.images)
    with index_claim.claimed(arguments.output):
        writer = IndexWriter(
            arguments.output, net.info, str(source), kept, arguments.stamp or sources.STAMPS[0]
        )
        encode_here(writer, sources.items(arguments.images), net)
        counts = Counts(writer.state.encoded, writer.finish())
    report(arguments.output, counts, net.info.bits, f"{arguments.output}.skipped.txt")


def update_index(arguments: argparse.Namespace) -> None:
    """Encode what is new or changed in the source of an index."""
    path = arguments.output
    with index_claim.claimed_index(path) as index:
        update = Update(index, path)
        check_source(arguments, index.source)
        net = runtimes.of_index(
            index.net, arguments.runtime, arguments.model, arguments.gpu, side="database"
        )
        kept = None
        if index.hasher is not None:
            net, kept = hashing(net, index.hasher, is_fitted=True)
        stamp = str(index.stamp_kind)
        writer = IndexWriter(path, net.info, index.source, kept, stamp, update)
        try:
            encode_here(writer, update.to_encode(sources.items(index.source), stamp), net)
        except SourceChanged:
            print("the images have changed since the update was interrupted; it starts again")
            writer.reset()
            update = Update(index, path)
            writer = IndexWriter(path, net.info, index.source, kept, stamp, update)
            encode_here(writer, update.to_encode(sources.items(index.source), stamp), net)
        skipped = writer.state.skipped
        if writer.state.encoded or (update.states != index.states).any():
            summary = update.summary(*writer.rows())
            writer.finish()
            print(f"{path}: {summary}")
        else:
            print(f"{path}: nothing is new, changed or gone")
            writer.discard()
        print_skipped(path, skipped)


def update_on_spark(arguments: argparse.Namespace) -> None:
    """Encode what is new or changed in the source of an index in Parquet files."""
    path = arguments.output
    about = parquet.read_about(path)
    check_source(arguments, about.source)
    spec, model = runtimes.weights_of(about.net, arguments.model)
    session = functools.partial(open_spark, arguments)
    summary, skipped = parquet_update.update(
        session, path, model.net(spec), model.path, arguments.gpu
    )
    print(f"{path}: {summary}")
    print_skipped(path, skipped)


def open_spark(arguments: argparse.Namespace) -> contextlib.AbstractContextManager:
    return spark_session.session(arguments.master or spark_session.MASTER)


def print_skipped(path: pathlib.Path, count: int) -> None:
    """Print how many images an update skipped, and where the reasons are."""
    if count:
        print(f"{count:,} skipped, which could not be read: {path}.skipped.txt")


def check_source(arguments: argparse.Namespace, source: str) -> None:
    """Raise UserError where --images are others than those of the index."""
    if arguments.images and str(files.resolved(arguments.images)) != source:
        raise UserError(
            f"{arguments.output} is of {source}; leave --images out, or write another index"
        )


def encode_on_spark(arguments: argparse.Namespace) -> None:
    spec = cli.net_spec(arguments)
    model = weights.find_weights(spec, arguments.model)
    atomic_files.refuse_overwriting([arguments.output], [model.path, arguments.images])
    print(f"model: {model.description}")
    with (
        index_claim.claimed(arguments.output),
        open_spark(arguments) as session,
    ):
        counts = spark_encoding.encode(
            session,
            arguments.images,
            model.net(spec),
            model.path,
            arguments.output,
            arguments.gpu,
            arguments.stamp or sources.STAMPS[0],
        )
        index_writer.write_reasons(arguments.output, [])  # deletes that of an index before it
    report(arguments.output, counts, spec.bits, "reasons: its column 'skipped'")


def report(output: pathlib.Path, counts: Counts, bits: int, reasons: str) -> None:
    """Print what is in the index."""
    summary = f"{output}: {counts.encoded:,} images, {bits} bits each"
    if counts.skipped:
        summary += f"; {counts.skipped:,} skipped, which could not be read: {reasons}"
    print(summary)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--images", type=cli.path, help="a folder, a CSV file or an LMDB")
    parser.add_argument(
        "--output",
        type=cli.path,
        required=True,
        help="the index to write: an HDF5 file, or a folder by Spark",
    )
    cli.add_net_options(parser)
    cli.add_model_option(parser, takes_onnx=True)
    cli.add_runtime_option(parser)
    cli.add_gpu_option(parser)
    cli.add_pretrained_options(parser, "hash features of this pretrained network")
    parser.add_argument(
        "--hash",
        choices=feature_hash.HASHES,
        help=f"the method that hashes features: {', '.join(feature_hash.HASHES)} (default: itq); "
        "itq_cca, ksh and sdh learn from the images' labels",
    )
    parser.add_argument(
        "--hash-of",
        type=cli.path,
        metavar="INDEX",
        help="hash as this index of --net does, by the same network and method, without fitting",
    )
    parser.add_argument(
        "--engine",
        choices=("here", "spark"),
        default="here",
        help="what encodes: this process (default), or Spark",
    )
    parser.add_argument(
        "--master",
        help=f"Spark master (default: {spark_session.MASTER}; spark://host:port is a cluster)",
    )
    parser.add_argument("--force", action="store_true", help="replace the output")
    parser.add_argument(
        "--update",
        action="store_true",
        help="encode what is new or changed in the source of the index --output",
    )
    parser.add_argument(
        "--remove", nargs="+", metavar="NAME", help="take these images out of the index --output"
    )
    parser.add_argument(
        "--stamp",
        choices=sources.STAMPS,
        help="how --update will see that an image has changed: by size and time of its file "
        "(default), or by its content, for which every file is read",
    )
    arguments = parser.parse_args()
    if arguments.update or arguments.remove:
        check_update_options(arguments)
        return arguments
    if arguments.images is None:
        raise UserError("name the images with --images")
    if arguments.net:
        cli.refuse(
            arguments,
            ("dataset", "method", "schedule", "model", "runtime", "hash_of", "master"),
            "does not go with --net; leave one of them out",
        )
    elif arguments.size is not None:
        raise UserError("--size goes with --net")
    elif arguments.hash and runtimes.choose(arguments.runtime, arguments.model) == "caffe":
        raise UserError("--hash goes with --net, or with an ONNX model that gives features")
    if arguments.hash_of:
        cli.refuse(
            arguments,
            ("hash", "bits", "dataset", "method", "schedule", "master"),
            "is as the index has it; leave it out with --hash-of",
        )
    if arguments.engine == "spark":
        cli.refuse(
            arguments, ("net", "hash_of", "hash"), "is for this process, not for --engine spark"
        )
        if runtimes.choose(arguments.runtime, arguments.model) != "caffe":
            raise UserError("--engine spark encodes by Caffe; name a .caffemodel with --model")
    return arguments


def check_update_options(arguments: argparse.Namespace) -> None:
    """Raise UserError where an option says what the index says itself."""
    option = "--update" if arguments.update else "--remove"
    if arguments.update and arguments.remove:
        raise UserError("--update and --remove are for one after the other")
    others = ["dataset", "method", "bits", "schedule", "net", "size", "hash", "hash_of", "stamp"]
    others.append("force")
    on_spark = arguments.update and arguments.output.is_dir()
    others.append("runtime" if on_spark else "master")
    if arguments.remove:
        others += ["images", "model", "runtime", "gpu"]
    cli.refuse(arguments, others, f"does not go with {option}: the index has it; leave it out")
    if arguments.engine == "spark" and not on_spark:
        raise UserError(f"--engine spark does not go with {option} here; leave it out")


def check_places(arguments: argparse.Namespace) -> None:
    """Raise UserError where the output would destroy something, or lies among the images."""
    output, on_spark = arguments.output, arguments.engine == "spark"
    if output.exists() and not arguments.force:
        raise UserError(f"{output} exists already; --force replaces it")
    if output.exists() and output.is_dir() != on_spark:
        raise UserError(
            f"{output} is of the other kind (an HDF5 file, or a folder by Spark) and is not "
            "replaced; name another --output"
        )
    if output.is_dir():
        parquet.read_about(output)  # raises where it is another folder
    if files.resolved(output).is_relative_to(files.resolved(arguments.images)):
        raise UserError(
            f"--output {output} lies in --images {arguments.images}, and would be taken for an "
            "image; name a place outside"
        )
    if arguments.master and not on_spark:
        raise UserError("--master is for --engine spark")


def open_net(arguments: argparse.Namespace) -> tuple[RunningNet, HashedFeatures | None]:
    """The net that encodes; and, where it gives features, what hashes them."""
    if arguments.hash_of:
        with contextlib.closing(index_files.load(arguments.hash_of)) as index:
            if index.hasher is None:
                raise UserError(f"{arguments.hash_of} was not made with --net; name its --model")
            net = runtimes.of_index(index.net, arguments.runtime, arguments.model, arguments.gpu)
            return hashing(net, index.hasher, is_fitted=True)
    if arguments.net:
        net = runtimes.features_by_caffe(
            arguments.net, cli.pretrained_size(arguments), arguments.gpu
        )
    elif runtimes.choose(arguments.runtime, arguments.model) == "onnx":
        net = open_onnx(arguments)
    else:
        spec = cli.net_spec(arguments)
        model = weights.find_weights(spec, arguments.model)
        net = runtimes.by_caffe(spec, model, "database", arguments.gpu)
    if net.gives_features:
        bits = specs.DEFAULT_BITS if arguments.bits is None else arguments.bits
        return hashing(net, METHODS[arguments.hash or "itq"](bits))
    if arguments.hash:
        raise UserError(f"--hash is for features, and {net.path} gives codes; leave it out")
    return net, None


def open_onnx(arguments: argparse.Namespace) -> RunningNet:
    """The net of an ONNX model, which says itself what it is."""
    if arguments.gpu is not None:
        raise UserError("--gpu is for Caffe; leave it out with --runtime onnx")
    if arguments.model is None:
        return runtimes.by_onnx(runtimes.read_exported(cli.net_spec(arguments), "database"))
    model = onnx_encoder.read(arguments.model)
    if model.tower == "query":
        raise UserError(
            f"{model.path} is the sub-network that encodes queries; name that of the database"
        )
    net = runtimes.by_onnx(model)
    options = ("dataset", "method", "schedule", *("bits",) * (not net.gives_features))
    cli.refuse(arguments, options, f"is as {arguments.model} has it; leave it out")
    return net


def hashing(
    net: RunningNet, hasher: Hasher, is_fitted: bool = False
) -> tuple[RunningNet, HashedFeatures]:
    """A net that gives features, as one whose codes have the hasher's bits; and what hashes."""
    kept = HashedFeatures(hasher, net.encoder.bits, is_fitted)
    info = dataclasses.replace(net.info, bits=hasher.bits)
    return dataclasses.replace(net, info=info), kept


def encode_here(writer: IndexWriter, images: Iterator[Item], net: RunningNet) -> None:
    """Encode images in this process, but for those that the writer has already."""
    if writer.seen:
        print(f"resuming after {writer.seen:,} images")
        writer.advance(images)
    with tqdm(initial=writer.seen, unit=" images", desc="encoding") as progress:
        for group in image_groups.read_groups(images, net.input, writer.stamp):
            writer.add(group, net.encoder.outputs)
            progress.update(len(group.items))


if __name__ == "__main__":
    errors.run(main)

"""Encode any number of images, into an index that can be searched.

  python tools/encode.py --images photos --bits 48 --output photos.index.h5
  python tools/encode.py --images list.csv --method dnnh_plus --output list.index.h5
  python tools/encode.py --images photos --output photos.index.h5 --gpu 0
  python tools/encode.py --images photos --dataset photos --schedule short --output index.h5
  python tools/encode.py --images photos --output photos.index --engine spark --master 'local[2]'
  python tools/encode.py --images photos --output photos.index.h5 --net efficientnet_lite0

--net needs no training: a shallow method (--hash) hashes features of a network that others have
trained, and is fitted to the images themselves. `tools/get_model.py` fetches the network. Codes of
two indexes can be compared if the second was made with --hash-of and the first.

--images is a folder, a CSV file (each row a path and labels, if any) or an LMDB. Images that
cannot be read are counted, listed and skipped. Run the same command again after an interruption
to resume (on Spark it starts again). tools/search.py searches the index: an HDF5 file, or, by
Spark on any number of machines, a folder of Parquet files with the same codes.
"""

import argparse
import contextlib
import pathlib

from tqdm import tqdm

from dnnh import atomic_files, cli, errors, files
from dnnh.baselines import METHODS
from dnnh.baselines.base import Hasher
from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.nets import pretrained, prototxt, weights
from dnnh.nets.encoder import Encoder
from dnnh.retrieval import (
    feature_hash,
    image_groups,
    index_files,
    parquet,
    retriever,
    spark_encoding,
    spark_session,
)
from dnnh.retrieval.feature_hash import HashedFeatures
from dnnh.retrieval.image_groups import Outputs
from dnnh.retrieval.image_index import NetInfo
from dnnh.retrieval.index_writer import IndexWriter, Kept
from dnnh.retrieval.spark_encoding import Counts


def main() -> None:
    arguments = parse_arguments()
    check_places(arguments)
    if arguments.net or arguments.hash_of:
        encode_features(arguments)
        return
    spec = cli.net_spec(arguments)
    model = weights.find_weights(spec, arguments.model)
    atomic_files.refuse_overwriting([arguments.output], [model.path, arguments.images])
    print(f"model: {model.description}")
    output = arguments.output
    if arguments.engine == "spark":
        with spark_session.session(arguments.master or spark_session.MASTER) as session:
            counts = spark_encoding.encode(
                session, arguments.images, spec, model.path, output, arguments.gpu
            )
        report(output, counts, spec.bits, "its column skipped says why")
        return
    # The last sub-network encodes the database, where there are two (section 4.4).
    encoder = Encoder(prototxt.deploy_text(spec, spec.config.towers[-1]), model.path, arguments.gpu)
    net = NetInfo(spec.bits, spec.dataset, spec.method, spec.schedule, files.sha256(model.path))
    counts = encode_here(arguments, spec.config.input, encoder.outputs, net)
    report(output, counts, spec.bits, f"{output}.skipped.txt")


def report(output: pathlib.Path, counts: Counts, bits: int, reasons: str) -> None:
    """Print what is in the index."""
    summary = f"{output}: {counts.encoded:,} images, {bits} bits each"
    if counts.skipped:
        summary += f"; {counts.skipped:,} skipped, which could not be read: {reasons}"
    print(summary)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--images", type=pathlib.Path, required=True, help="a folder, a CSV file or an LMDB"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        required=True,
        help="the index to write: an HDF5 file, or a folder by Spark",
    )
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    cli.add_gpu_option(parser)
    parser.add_argument(
        "--net", choices=pretrained.NETWORKS, help="hash features of this pretrained network"
    )
    parser.add_argument(
        "--hash",
        choices=feature_hash.HASHES,
        help=f"the method that hashes features: {', '.join(feature_hash.HASHES)} (default: itq); "
        "itq_cca, ksh and sdh learn from the images' labels",
    )
    parser.add_argument(
        "--hash-of",
        type=pathlib.Path,
        metavar="INDEX",
        help="hash as this index of --net does, by the same network and method, without fitting",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="height and width at which a pretrained network sees the images (default: 225 for "
        "efficientnet_lite0; the others take their own alone)",
    )
    parser.add_argument(
        "--engine",
        choices=("here", "spark"),
        default="here",
        help="what encodes: this process (default), or Spark",
    )
    parser.add_argument(
        "--master",
        help=f"of Spark (default: {spark_session.MASTER}; spark://host:port is a cluster)",
    )
    parser.add_argument("--force", action="store_true", help="replace the output")
    arguments = parser.parse_args()
    if arguments.net or arguments.hash_of:
        option = "--net" if arguments.net else "--hash-of"
        for other in cli.given(arguments, ("dataset", "method", "schedule", "model", "master")):
            raise UserError(
                f"{other} is for nets that were trained here; leave it out with {option}"
            )
        if arguments.engine == "spark":
            raise UserError(
                f"--engine spark encodes with nets that were trained here, not with {option}"
            )
    if arguments.hash_of:
        for other in cli.given(arguments, ("net", "hash", "size", "bits")):
            raise UserError(f"{other} is as the index has it; leave it out with --hash-of")
    elif arguments.net:
        size = pretrained.NETWORKS[arguments.net].size
        cli.fill_in(arguments, bits=cli.DEFAULTS["bits"], hash="itq", size=size)
    else:
        for option in cli.given(arguments, ("hash", "size")):
            raise UserError(f"{option} goes with --net")
    return arguments


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


def encode_features(arguments: argparse.Namespace) -> None:
    """Hash features of a pretrained network."""
    output = arguments.output
    if arguments.hash_of:
        atomic_files.refuse_overwriting([output], [arguments.hash_of])
        with contextlib.closing(index_files.load(arguments.hash_of)) as index:
            if index.hasher is None:
                raise UserError(f"{arguments.hash_of} was not made with --net; name its --model")
            net, kept = index.net, _kept(index.net.method, index.hasher, is_fitted=True)
            net_input, encoder = retriever.feature_network(index, arguments.gpu)
    else:
        name, net_input = arguments.net, pretrained.feature_input(arguments.net, arguments.size)
        model = pretrained.path_of(name)
        encoder = pretrained.feature_encoder(name, arguments.size, gpu=arguments.gpu)
        size = f"{arguments.size} pixels"
        net = NetInfo(arguments.bits, pretrained.DATASET, name, size, files.sha256(model))
        kept = _kept(name, METHODS[arguments.hash](arguments.bits))
    atomic_files.refuse_overwriting([output], [pretrained.path_of(net.method), arguments.images])
    counts = encode_here(arguments, net_input, encoder.outputs, net, kept)
    report(output, counts, net.bits, f"{output}.skipped.txt")


def _kept(name: str, hasher: Hasher, is_fitted: bool = False) -> HashedFeatures:
    return HashedFeatures(hasher, pretrained.NETWORKS[name].features, is_fitted)


def encode_here(
    arguments: argparse.Namespace,
    net_input: sources.InputSize,
    outputs: Outputs,
    net: NetInfo,
    kept: Kept | None = None,
) -> Counts:
    """Encode the images of a source in this process."""
    source = arguments.images
    images = sources.items(source)
    writer = IndexWriter(arguments.output, net, str(files.resolved(source)), kept)
    if writer.seen:
        print(f"resuming after {writer.seen:,} images")
        writer.advance(images)
    with tqdm(initial=writer.seen, unit=" images", desc="encoding") as progress:
        for group in image_groups.read_groups(images, net_input):
            writer.add(group, outputs)
            progress.update(len(group.items))
    skipped = writer.finish()
    return Counts(writer.state.encoded, skipped)


if __name__ == "__main__":
    errors.run(main)

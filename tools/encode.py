"""Code any number of images with a trained net.

  python tools/encode.py --images photos --bits 48 --out photos.codes.h5
  python tools/encode.py --images list.csv --variant plus --out list.codes.h5
  python tools/encode.py --images photos --dataset photos --variant short --out codes.h5
  python tools/encode.py --images photos --out photos.codes --engine spark --master 'local[2]'

--images is a folder, a CSV file (each row a path and labels, if any) or an LMDB. Images
that cannot be read are counted, listed and left out. Run again after an interruption, it
goes on where it was (but for Spark, which begins anew). tools/search.py searches what it
writes: an HDF5 file, or, by Spark on any number of machines, a folder of Parquet files with
the same codes.
"""

import argparse
import itertools
import pathlib

from tqdm import tqdm

from dnnh import collection, encoder, errors, models, nets, parquet, paths, sources, spark
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, required=True,
                        help="a folder, a CSV file or an LMDB")
    parser.add_argument("--out", type=pathlib.Path, required=True,
                        help="the collection to write: HDF5, or a folder by Spark")
    parser.add_argument("--bits", type=int, default=nets.DEFAULT_BITS,
                        help="length of the codes (default 48)")
    parser.add_argument("--dataset", default="cifar10",
                        help="that the net was trained for (default: cifar10)")
    parser.add_argument("--variant", default="",
                        help="of the net: README.md lists them (default: the "
                        "paper's own net)")
    parser.add_argument("--model", type=pathlib.Path,
                        help=models.CHOICE)
    parser.add_argument("--engine", choices=("here", "spark"), default="here",
                        help="this process (default), or Spark")
    parser.add_argument("--master", help=f"of Spark (default: {spark.MASTER}; "
                        "spark://host:port is a cluster)")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    arguments = parser.parse_args()

    if arguments.out.exists() and not arguments.force:
        raise UserError(f"{arguments.out} is there already; --force replaces it")
    if arguments.out.exists() and arguments.out.is_dir() != (arguments.engine == "spark"):
        raise UserError(f"{arguments.out} is of the other kind (HDF5, or a folder by Spark) "
                        "and is not replaced; name another --out")
    if arguments.out.is_dir():
        parquet.described(arguments.out)       # or says that it is another folder
    if arguments.out.resolve().is_relative_to(arguments.images.resolve()):
        raise UserError(f"--out {arguments.out} lies in --images {arguments.images}, and would "
                        "be taken for an image; name a place outside")
    if arguments.master and arguments.engine != "spark":
        raise UserError("--master is for --engine spark")
    spec = nets.net_spec(arguments.dataset, arguments.variant, arguments.bits)
    weights, chosen = models.find_model(spec, arguments.model)
    print(f"model: {chosen}")
    if arguments.engine == "spark":
        with spark.session(arguments.master or spark.MASTER) as session:
            coded, left_out = spark.encode(session, arguments.images, spec, weights,
                                           arguments.out)
        listed = "its column left_out says why"
    else:
        coded, left_out = encode_here(arguments.images, spec, weights, arguments.out)
        listed = f"{arguments.out}.left_out.txt"
    print(f"{arguments.out}: {coded:,} images, {spec.bits} bits each"
          + (f"; {left_out:,} could not be read: {listed}" if left_out else ""))


def encode_here(source, spec, weights, out):
    """Code the images of a source in this process; returns (coded, left_out)."""
    # The database is what is searched; a net with two sub-networks codes it with the last.
    net = encoder.Encoder(nets.deploy(spec, spec.recipe.subnetworks[-1]), weights)
    images = sources.items(source)
    writer = collection.Writer(out, {
        "bits": spec.bits, "dataset": spec.dataset, "variant": spec.variant,
        "weights": paths.digest(weights), "source": str(source.resolve())})
    if writer.seen:
        print(f"going on behind {writer.seen:,} images that are done")
        writer.skip(images)
    with tqdm(initial=writer.seen, unit="image", desc="encoding") as progress:
        while group := list(itertools.islice(images, collection.GROUP)):
            writer.add(group, spec.recipe, net.outputs)
            progress.update(len(group))
    return writer.state["coded"], writer.finish()


if __name__ == "__main__":
    errors.run(main)

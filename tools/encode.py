"""Code any number of images with a trained net.

  python tools/encode.py --images photos --bits 48 --out photos.codes.h5
  python tools/encode.py --images list.csv --variant plus --out list.codes.h5
  python tools/encode.py --images photos --dataset photos --variant short --out codes.h5

--images is a folder, a CSV file (each row a path and labels, if any) or an LMDB. Images
that cannot be read are counted, listed and left out. Run again after an interruption, it
goes on where it was. tools/search.py searches what it writes.
"""

import argparse
import itertools
import pathlib

from tqdm import tqdm

from dnnh import collection, encoder, errors, models, nets, sources
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True,
                        help="the collection to write, HDF5")
    parser.add_argument("--bits", type=int, default=nets.DEFAULT_BITS)
    parser.add_argument("--dataset", default="cifar10", help="that the net was trained for")
    parser.add_argument("--variant", default="", help="of the net, e.g. plus")
    parser.add_argument("--model", type=pathlib.Path,
                        help="weights (default: the newest snapshot of the net, else "
                        "the released model)")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    arguments = parser.parse_args()

    if arguments.out.exists() and not arguments.force:
        raise UserError(f"{arguments.out} is there already; --force replaces it")
    spec = nets.net_spec(arguments.dataset, arguments.variant, arguments.bits)
    weights, chosen = models.find_model(spec, arguments.model)
    print(f"model: {chosen}")
    # The database is what is searched; a net with two sub-networks codes it with the last.
    net = encoder.Encoder(nets.deploy(spec, spec.recipe.subnetworks[-1]), weights)
    images = sources.items(arguments.images)
    writer = collection.Writer(arguments.out, {
        "bits": spec.bits, "dataset": spec.dataset, "variant": spec.variant,
        "weights": collection.digest(weights), "source": str(arguments.images.resolve())})
    if writer.seen:
        print(f"going on behind {writer.seen:,} images that are done")
        skipped = sum(1 for _ in itertools.islice(images, writer.seen))
        if skipped < writer.seen:
            raise UserError(f"{arguments.images} has {skipped:,} images now and had "
                            f"{writer.seen:,}; delete {writer.folder} to begin anew")
    with tqdm(initial=writer.seen, unit="image", desc="encoding") as progress:
        while group := list(itertools.islice(images, collection.GROUP)):
            writer.add(group, spec.recipe, net.outputs)
            progress.update(len(group))
    coded, left_out = writer.state["coded"], writer.finish()
    print(f"{arguments.out}: {coded:,} images, {spec.bits} bits each"
          + (f"; {left_out:,} could not be read: {arguments.out}.left_out.txt"
             if left_out else ""))


if __name__ == "__main__":
    errors.run(main)

"""Fetch a data set, or take it from where you put it, and prepare it.

  python tools/get_data.py cifar10                       download and verify
  python tools/get_data.py cifar10 --from archive.tar.gz an archive you have
  python tools/get_data.py cifar10 --from folder         a folder you have
  python tools/get_data.py folder --from photos --name photos --size 256     your own

CIFAR-10 may come as the official binary or Python archive (or its folder), or
as an archive or folder of class folders, train/<class>/* and test/<class>/*; MNIST
as a folder or archive of its four IDX files, or of the two of its test part; SVHN
as a folder of its .mat files of 32x32 images; NUS-WIDE, whose images must be asked
for from their owners, as a folder that has its lists, labels and images. Your own: a
folder of class folders, or a CSV file of paths and labels. Writes data/<name>.h5, which
every other tool reads; images that cannot be read are listed and left out.
"""

import argparse
import pathlib

from dnnh import datasets, download, errors, paths, splits
from dnnh.datasets import folder
from dnnh.errors import UserError

LISTED = 20                    # images that cannot be read, on the terminal


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*sorted(datasets.PREPARERS), "folder"])
    parser.add_argument("--name", dest="own_name",
                        help="what your own data set is called from then on")
    parser.add_argument("--size", type=int, choices=folder.SIDES, default=32,
                        help="height and width that your own images get (default 32)")
    parser.add_argument("--from", dest="source", type=pathlib.Path,
                        help="the archive or folder to read instead of downloading")
    parser.add_argument("--url", help="another address of the same archive, or of the "
                        "folder of the same files")
    parser.add_argument("--force", action="store_true",
                        help="prepare again what is there already")
    arguments = parser.parse_args()

    name = arguments.name
    if name == "folder":
        if not (arguments.own_name and arguments.source):
            raise UserError("your own images need --from and --name")
        name = arguments.own_name
        folder.check_name(name)
    path = datasets.path_of(name)
    if path.exists() and not arguments.force:
        there = (f"{path.relative_to(paths.ROOT)} is there already "
                 f"({datasets.load(name).source}); --force prepares it again")
        if arguments.source:
            raise UserError(there)
        print(there)
        return
    left_out = datasets.save(
        prepare(arguments), announce_own if arguments.name == "folder" else announce)
    if len(left_out) > LISTED:
        beside = path.with_name(f"{name}_left_out.txt")
        with paths.written_whole(beside) as partial:
            partial.write_text("".join(f"{errors.printable(line)}\n" for line in left_out))
        print(f"what is left out: {beside.relative_to(paths.ROOT)}")
    datasets.load(name)                        # what is there is what others can read
    print(f"prepared: {path.relative_to(paths.ROOT)}")


def announce(dataset, left_out):
    """Say what was read, and what was not."""
    if left_out:
        print(f"{len(left_out):,} images are left out:")
        for sentence in left_out[:LISTED]:
            print(f"  {errors.printable(sentence)}")
        if len(left_out) > LISTED:
            print("  and so on")
    print(f"{len(dataset.images):,} images, {len(dataset.classes)} classes "
          f"({dataset.source})")


def announce_own(dataset, left_out):
    """The same, and how many of each class; refuse too few of one."""
    announce(dataset, left_out)
    named = [f"{name} {count:,}"
             for name, count in zip(dataset.classes, splits.class_sizes(dataset))]
    print("  " + ", ".join(named[:LISTED]) + " and so on" * (len(named) > LISTED))
    splits.make_split(dataset)


def prepare(arguments):
    """The Dataset that is asked for."""
    source = arguments.source
    if arguments.name == "folder":
        return folder.prepare_folder(source, arguments.own_name, arguments.size)
    if source is None and arguments.name in download.ARCHIVES:
        source = download.fetch(arguments.name, arguments.url)
    if source is None and arguments.name == "nuswide":
        raise UserError("NUS-WIDE cannot be downloaded by a program: its lists, labels and "
                        "features are at https://lms.comp.nus.edu.sg, its images must be "
                        "asked for there. Put all of it in a folder and name it with --from")
    return datasets.PREPARERS[arguments.name](source)


if __name__ == "__main__":
    errors.run(main)

"""Fetch a data set, or take it from where you put it, and prepare it.

  python tools/get_data.py cifar10                       download and verify
  python tools/get_data.py cifar10 --from archive.tar.gz an archive you have
  python tools/get_data.py cifar10 --from folder         a folder you have

CIFAR-10 may come as the official binary or Python archive (or its folder), or
as an archive or folder of class folders, train/<class>/* and test/<class>/*; MNIST
as a folder or archive of its four IDX files, or of the two of its test part; SVHN
as a folder of its .mat files of 32x32 images.
Writes data/<name>.h5, which every other tool reads.
"""

import argparse
import pathlib

from dnnh import datasets, download, errors, paths
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(datasets.PREPARERS))
    parser.add_argument("--from", dest="source", type=pathlib.Path,
                        help="the archive or folder to read instead of downloading")
    parser.add_argument("--url", help="another address of the same archive, or of the "
                        "folder of the same files")
    parser.add_argument("--force", action="store_true",
                        help="prepare again what is there already")
    arguments = parser.parse_args()

    path = datasets.path_of(arguments.name)
    if path.exists() and not arguments.force:
        there = (f"{path.relative_to(paths.ROOT)} is there already "
                 f"({datasets.load(arguments.name).source}); --force prepares it again")
        if arguments.source:
            raise UserError(there)
        print(there)
        return
    source = arguments.source
    if source is None and arguments.name in download.ARCHIVES:
        source = download.fetch(arguments.name, arguments.url)
    dataset = datasets.PREPARERS[arguments.name](source)
    datasets.save(dataset)
    print(f"{path.relative_to(paths.ROOT)}: {len(dataset.images):,} images, "
          f"{len(dataset.classes)} classes ({dataset.source})")


if __name__ == "__main__":
    errors.run(main)

"""Prepare a data set: download it, or read it from where you put it.

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
every other tool reads. Images that cannot be read are skipped and listed.
"""

import argparse

from dnnh import atomic_files, cli, errors, paths
from dnnh.data import datasets, download, folder, splits
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError

SIDE = 32  # of one's own images, unless --size says otherwise
MAX_PRINTED = 20  # skipped images, and classes, on the terminal


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", choices=[*sorted(datasets.PREPARERS), "folder"])
    parser.add_argument("--name", dest="own_name", help="name of your own data set")
    parser.add_argument(
        "--size",
        type=int,
        choices=folder.SIDES,
        help="height and width that your own images get (default: 32)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=cli.path,
        help="the archive or folder to read instead of downloading",
    )
    parser.add_argument(
        "--url", help="another address of the same archive, or of the folder of the same files"
    )
    parser.add_argument("--force", action="store_true", help="prepare it again if it exists")
    arguments = parser.parse_args()

    name = arguments.name
    if name != "folder":
        cli.refuse(arguments, ("size",), "is for your own images: 'folder'")
        if arguments.own_name:
            raise UserError("--name is for your own images: 'folder'")
    if arguments.source or name not in download.ARCHIVES:
        cli.refuse(arguments, ("url",), "is for a download; leave it out")
    if name == "folder":
        if not (arguments.own_name and arguments.source):
            raise UserError("your own images need --from and --name")
        name = arguments.own_name
        folder.check_name(name)
    path = datasets.path_of(name)
    if path.exists() and not arguments.force:
        message = (
            f"{path.relative_to(paths.ROOT)} is there already "
            f"({datasets.load(name).source}); --force prepares it again"
        )
        if arguments.source:
            raise UserError(message)
        print(message)
        return
    report = report_own if arguments.name == "folder" else report_images

    def report_and_list(dataset: Dataset, skipped: list[str]) -> None:
        report(dataset, skipped)  # raises where the data set is not to be replaced
        write_skipped(dataset, skipped)

    datasets.save(prepare(arguments), report_and_list)
    datasets.load(name)  # raises if other tools cannot read it
    print(f"prepared: {path.relative_to(paths.ROOT)}")


def report_images(dataset: Dataset, skipped: list[str]) -> None:
    """Print how many images were read, and which were skipped."""
    if skipped:
        print(f"{len(skipped):,} images are skipped:")
        for sentence in skipped[:MAX_PRINTED]:
            print(f"  {errors.printable(sentence)}")
    print(f"{len(dataset.images):,} images, {len(dataset.classes)} classes ({dataset.source})")


def write_skipped(dataset: Dataset, skipped: list[str]) -> None:
    """Write which images were skipped, if they are too many for the terminal."""
    path = datasets.path_of(dataset.name).with_name(f"{dataset.name}_skipped.txt")
    if len(skipped) <= MAX_PRINTED:
        path.unlink(missing_ok=True)
        return
    atomic_files.write_text(path, "".join(f"{errors.printable(line)}\n" for line in skipped))
    print(f"skipped images: {path.relative_to(paths.ROOT)}")


def report_own(dataset: Dataset, skipped: list[str]) -> None:
    """The same of a user's own images, with the size of each class; refuse too few of one."""
    report_images(dataset, skipped)
    sizes = splits.class_sizes(dataset)
    classes = [f"{name} {size:,}" for name, size in zip(dataset.classes, sizes)]
    more = " and so on" if len(classes) > MAX_PRINTED else ""
    print("  " + ", ".join(classes[:MAX_PRINTED]) + more)
    splits.make_split(dataset)


def prepare(arguments: argparse.Namespace) -> Dataset:
    """The Dataset that is asked for."""
    source = arguments.source
    if arguments.name == "folder":
        return folder.prepare_folder(source, arguments.own_name, arguments.size or SIDE)
    if source is None and arguments.name in download.ARCHIVES:
        source = download.fetch(arguments.name, arguments.url)
    if source is None and arguments.name == "nuswide":
        raise UserError(
            "NUS-WIDE cannot be downloaded by a program: its lists, labels and "
            "features are at https://lms.comp.nus.edu.sg, its images must be "
            "asked for there. Put all of it in a folder and name it with --from"
        )
    return datasets.PREPARERS[arguments.name](source)


if __name__ == "__main__":
    errors.run(main)

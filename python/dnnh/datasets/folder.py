"""A user's own images: a folder of class folders, or a CSV file with their labels."""

import os
import pathlib
import re

import numpy as np

from dnnh.datasets import trees
from dnnh.datasets.dataset import Dataset, ImageFiles
from dnnh.errors import UserError, printable

SIDES = (32, 256)              # what there are nets for
MAX_CLASSES = 10_000
LONGEST_NAME = 150             # letters, of a class or of the source


def prepare_folder(source, name, side):
    """A user's own images, of any size, in one of trees.FORMATS.

    Parameters
    ----------
    source : path
        A folder that has a folder of images for each class; or a CSV file whose rows
        have an image's path, from the file's folder on, and its labels, one or more.
    name : str
        What the data set is called from then on: letters and digits.
    side : int
        Height and width that all images get; one of SIDES.

    Raises
    ------
    UserError
        If the name cannot be one, or there are not two classes of images.
    """
    source = pathlib.Path(source)
    check_name(name)
    if side not in SIDES:
        raise UserError(f"size {side}: there are nets for " + " and ".join(map(str, SIDES)))
    if source.is_dir():
        files, labels = _of_folders(source)
    elif source.is_file():
        files, labels = _of_table(source)
    else:
        raise UserError(f"{source} is neither a folder nor a file; name a folder of class "
                        "folders, or a CSV file of paths and labels")
    classes = tuple(sorted({label for of_one in labels for label in of_one}))
    for word in (source.name, *classes):
        if printable(word) != word or len(word) > LONGEST_NAME:
            raise UserError(f"'{printable(word)[:LONGEST_NAME]}' is no name that can be "
                            f"written, in one line of at most {LONGEST_NAME} letters; rename it")
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UserError(f"{source} has images of {len(classes)} classes; from 2 to "
                        f"{MAX_CLASSES:,} are needed")
    number = {label: i for i, label in enumerate(classes)}
    if all(len(of_one) == 1 for of_one in labels):
        array = np.array([number[label] for label, in labels], np.int64)
    else:
        array = np.zeros((len(labels), len(classes)), np.uint8)
        for row, of_one in enumerate(labels):
            array[row, [number[label] for label in of_one]] = 1
    return Dataset(name=name, images=ImageFiles(files, side), labels=array, classes=classes,
                   source=f"{source.name}, resized to {side}x{side}")


def check_name(name):
    """Raise UserError if a data set of one's own cannot have this name."""
    from dnnh import datasets
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise UserError(f"'{name}' cannot be the name of a data set; take small letters and "
                        "digits, for example 'photos'")
    if name in datasets.PREPARERS:
        raise UserError(f"'{name}' is the name of another data set; take one of your own")


def _of_folders(source):
    files, labels = [], []
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and source.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder} is a link to {folder.resolve()}, which it lies in; "
                            "remove it")
        if folder.is_dir() and not folder.name.startswith("."):
            inside = [path for path in sorted(folder.rglob("*")) if path.is_file()
                      and not any(name.startswith(".")
                                  for name in path.relative_to(folder).parts)]
            files += inside
            labels += [(folder.name,)] * len(inside)
    if not files:
        raise UserError(f"{source} has no folder with images; each class needs one")
    return files, labels


def _of_table(source):
    files, labels = [], []
    for number, name, of_one in trees.table_rows(source):
        if not of_one:
            raise UserError(f"{source}, row {number} has no label for {name}; a path and at "
                            "least one label are needed")
        files.append(source.parent / name)
        labels.append(of_one)
    if not files:
        raise UserError(f"{source} is empty; a path and at least one label are needed in "
                        "each row")
    if not files[0].suffix and not os.path.exists(files[0]):
        raise UserError(f"{source}, row 1: there is no {files[0]}; that row seems to name the "
                        "columns: take it out")
    return files, labels

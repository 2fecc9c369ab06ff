"""A user's own images: a folder of class folders, or a CSV file with their labels."""

import pathlib
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from dnnh import files, limits
from dnnh.data import image_files, image_folders, sources, tables
from dnnh.data.dataset import Dataset, ImageFiles
from dnnh.errors import UserError, printable

SIDES = (32, 256)  # what there are nets for


def prepare_folder(source: files.StrPath, name: str, side: int) -> Dataset[ImageFiles]:
    """A user's own images, in one of image_files.FORMATS and within its limits.

    Parameters
    ----------
    source : path
        A folder that has a folder of images for each class, see dnnh.data.image_folders;
        or a CSV file or list, see dnnh.data.tables: each row has an image's path, relative
        to the file's folder, and its labels, one or more.
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
        image_paths, image_labels = _of_folders(source)
    elif source.is_file():
        image_paths, image_labels = _of_table(source)
    else:
        raise UserError(
            f"{source} is neither a folder nor a file; name a folder of class "
            "folders, or a CSV file of paths and labels"
        )
    image_labels = [
        tuple(unicodedata.normalize("NFC", label) for label in labels) for labels in image_labels
    ]
    classes = tuple(sorted({label for labels in image_labels for label in labels}))
    if classes == ("0", "1") and any(len(labels) > 1 for labels in image_labels):
        raise UserError(
            f"{source} has columns of 0 and 1; write the names of an image's labels in its row"
        )
    for word in (source.name, *classes):
        if printable(word) != word or len(word) > limits.NAME_LETTERS:
            raise UserError(
                f"'{printable(word)[: limits.NAME_LETTERS]}' is not a name that can be "
                f"written, in one line of at most {limits.NAME_LETTERS} letters; rename it"
            )
    if not 2 <= len(classes) <= limits.CLASSES:
        raise UserError(
            f"{source} has images of {len(classes)} classes; from 2 to {limits.CLASSES:,} are needed"
        )
    return Dataset(
        name=name,
        images=ImageFiles(image_paths, side),
        labels=_label_array(image_labels, classes),
        classes=classes,
        source=f"{source.name}, resized to {side}x{side}",
        origin=sources.as_text(str(files.resolved(source))),
    )


def _label_array(
    image_labels: list[tuple[str, ...]], classes: tuple[str, ...]
) -> NDArray[np.integer]:
    """Indices into the classes; multi-hot if an image has several labels."""
    index = {label: i for i, label in enumerate(classes)}
    if all(len(labels) == 1 for labels in image_labels):
        return np.array([index[labels[0]] for labels in image_labels], np.int64)
    array = np.zeros((len(image_labels), len(classes)), np.uint8)
    for row, labels in enumerate(image_labels):
        array[row, [index[label] for label in labels]] = 1
    return array


def check_name(name: str) -> None:
    """Raise UserError if a user's own data set cannot have this name."""
    from dnnh.data import datasets

    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise UserError(
            f"'{name}' cannot be the name of a data set; take small letters and "
            "digits, for example 'photos'"
        )
    if name in datasets.PREPARERS:
        raise UserError(f"'{name}' is the name of another data set; take one of your own")


def _of_folders(source: pathlib.Path) -> tuple[list[files.StrPath], list[tuple[str, ...]]]:
    """The paths and the labels of the images in class folders."""
    image_paths: list[files.StrPath] = []
    image_labels: list[tuple[str, ...]] = []
    depth = image_folders.label_depth(source)
    loose = 0
    for path in image_folders.walk(source):
        labels = image_folders.labels_of(path.relative_to(source), depth)
        if not labels and path.is_dir():
            if not path.is_symlink():
                raise UserError(f"{path} cannot be read; check its permissions, or move it")
            raise UserError(f"{path} is a link to {path.resolve()}, which it lies in; remove it")
        if labels:
            image_paths.append(path)
            image_labels.append(labels)
        elif path.suffix.lower() in image_files.SUFFIXES:
            loose += 1
    if not image_paths:
        raise UserError(f"{source} has no folder with images; each class needs one")
    if loose:
        print(f"{loose:,} images of {source} lie in no class folder, and are skipped")
    return image_paths, image_labels


def _of_table(source: pathlib.Path) -> tuple[list[files.StrPath], list[tuple[str, ...]]]:
    """The paths and the labels of the images that a CSV file lists.

    An image may have several rows, with a label each.
    """
    labels_of: dict[str, dict[str, None]] = {}  # in the order of the rows
    for row in tables.table_rows(source):
        if not row.labels:
            separator = next((character for character in ";\t|" if character in row.name), None)
            raise UserError(
                f"{source}, row {row.number} has no label for {row.name[:100]}; "
                + (
                    f"save it with commas between the columns, not {separator!r}"
                    if separator
                    else "a path and at least one label are needed"
                )
            )
        labels_of.setdefault(row.name, {}).update(dict.fromkeys(row.labels))
    if not labels_of:
        raise UserError(f"{source} is empty; a path and at least one label are needed in each row")
    return [source.parent / name for name in labels_of], [tuple(of) for of in labels_of.values()]

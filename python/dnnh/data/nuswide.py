"""NUS-WIDE, from its lists, labels and features, and a folder of its images.

Chua, Tang, Hong, Li, Luo, Zheng, "NUS-WIDE: a real-world web image database from National
University of Singapore", CIVR 2009: 269,648 images, 81 concepts.
"""

import pathlib
import warnings

import numpy as np
from numpy.typing import NDArray

from dnnh import files
from dnnh.data.dataset import Dataset, ImageFiles
from dnnh.errors import UserError

IMAGES = 269_648
CONCEPTS = 81
FREQUENT = 21  # concepts that are labels, the most frequent ones (Lai et al., section 4.1)
SIDE = 256
WORDS = 500  # of the bag of visual words
ROOTS = ("flickr", "images")  # folders that have the images, in small letters

# Where downloaders put 'actor\\0001_2124494179.jpg' of the list, its category being 'actor'.
LAYOUTS = ("{category}/{file}", "{file}", "{number}")


def prepare_nuswide(source: files.StrPath) -> Dataset[ImageFiles]:
    """NUS-WIDE's images with at least one of its 21 most frequent concepts.

    Parameters
    ----------
    source : path
        A folder in which, at any depth, lie the official ``Imagelist.txt``,
        ``Concepts81.txt`` and the 81 ``Labels_<concept>.txt`` of ``AllLabels``; a
        folder ``Flickr`` or ``images`` with the images, in a folder for each category,
        or all in one, named as in the list or by the number behind its underscore;
        and, if the bag of words is to be had, ``BoW_int.dat``.

    Raises
    ------
    UserError
        If something is missing, or does not fit the list.
    """
    source = pathlib.Path(source)
    if not source.is_dir():
        raise UserError(
            f"{source} is not a folder; name the one that has NUS-WIDE's lists, labels and images"
        )
    # One walk: the images alone are hundreds of thousands of entries.
    entries = sorted(
        path
        for path in source.rglob("*")
        if path.suffix in (".txt", ".dat") or path.name.lower() in ROOTS
    )
    names = _lines(_find(source, entries, "Imagelist.txt"), IMAGES)
    concepts = _lines(_find(source, entries, "Concepts81.txt"), CONCEPTS)
    labels = np.empty((IMAGES, CONCEPTS), np.uint8)
    for column, concept in enumerate(concepts):
        labels[:, column] = _labels(_find(source, entries, f"Labels_{concept}.txt", "AllLabels"))
    frequent = np.argsort(-labels.sum(axis=0, dtype=int), kind="stable")[:FREQUENT]
    labels = labels[:, frequent]
    chosen = np.flatnonzero(labels.any(axis=1))
    if not len(chosen):
        raise UserError(f"{source}: the labels say of no image that it has one")
    image_paths = _image_paths(source, entries, [names[row] for row in chosen])
    features = {}
    for path in entries:
        if path.name == "BoW_int.dat":
            features["bow"] = _bag_of_words(path)[chosen]
            break
    return Dataset(
        name="nuswide",
        images=ImageFiles(image_paths, SIDE),
        labels=labels[chosen],
        classes=tuple(concepts[column] for column in frequent),
        features=features,
        source="NUS-WIDE, resized to 256x256" + ("" if features else ", without bag of words"),
    )


def _find(
    source: pathlib.Path, entries: list[pathlib.Path], name: str, folder: str | None = None
) -> pathlib.Path:
    """The first file of that name, in a folder of that name."""
    for path in entries:
        if path.name == name and (folder is None or path.parent.name == folder):
            return path
    inside = f" in a folder {folder}" if folder else ""
    raise UserError(f"{source} has no {name}{inside}; it comes with NUS-WIDE's lists and labels")


def _lines(path: pathlib.Path, count: int) -> list[str]:
    try:
        lines = [
            line.strip() for line in files.read_regular_file(path).decode("utf-8").splitlines()
        ]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    lines = [line for line in lines if line]
    if len(lines) != count:
        raise UserError(f"{path} has {len(lines):,} lines; {count:,} are expected")
    return lines


def _labels(path: pathlib.Path) -> NDArray[np.uint8]:
    lines = _lines(path, IMAGES)
    others = set(lines) - {"0", "1"}
    if others:
        raise UserError(f"{path} has a line '{min(others)[:20]}'; each is 0 or 1")
    return np.array(lines, np.uint8)


def _image_paths(
    source: pathlib.Path, entries: list[pathlib.Path], names: list[str]
) -> list[files.StrPath]:
    """The paths of images that the list names as 'actor\\0001_2124494179.jpg'."""
    roots = [path for path in entries if path.name.lower() in ROOTS and path.is_dir()]
    if not roots:
        raise UserError(f"{source} has no folder Flickr or images")
    members = []
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if len(parts) != 2 or ".." in parts or not all(parts) or "\0" in name:
            raise UserError(f"{source}: Imagelist.txt has '{name[:60]}', not 'category\\file.jpg'")
        members.append((parts[0], parts[1]))
    # The layout that most of a sample follows.
    sample = members[:: max(1, len(members) // 200)]
    best_root, best_layout, most_files = roots[0], LAYOUTS[0], 0
    for root in roots:
        for layout in LAYOUTS:
            count = sum(files.is_file(root / _place(layout, *member)) for member in sample)
            if count > most_files:
                best_root, best_layout, most_files = root, layout, count
    if not most_files:
        raise UserError(
            f"{roots[0]} has none of the images of Imagelist.txt, for example "
            f"{roots[0] / _place(LAYOUTS[0], *members[0])}"
        )
    return [best_root / _place(best_layout, *member) for member in members]


def _place(layout: str, category: str, file: str) -> str:
    number = file.split("_", 1)[-1]
    return layout.format(category=category, file=file, number=number)


def _bag_of_words(path: pathlib.Path) -> NDArray[np.uint16]:
    if not path.is_file():
        raise UserError(f"{path} cannot be read (it is a folder, a pipe or a device)")
    try:
        with warnings.catch_warnings():  # of empty lines, and of none but such
            warnings.simplefilter("ignore", UserWarning)
            words = np.loadtxt(path, np.int64, ndmin=2, max_rows=IMAGES + 1)
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path} is not a table of whole numbers ({error})") from error
    if words.shape != (IMAGES, WORDS):
        raise UserError(
            f"{path} has a table of shape {words.shape}; {IMAGES:,} rows of "
            f"{WORDS} counts are expected"
        )
    if words.min() < 0 or words.max() > 65_535:
        raise UserError(
            f"{path} has values from {words.min()} to {words.max()}; counts are 0 to 65,535"
        )
    return words.astype(np.uint16)

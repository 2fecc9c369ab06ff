"""Folders of images: which of their files count, in which order, and what their labels are.

The rules are the same for images that become a data set and for images that are encoded.
"""

import os
import pathlib
import re
from collections.abc import Iterator

from dnnh.errors import UserError

# What other programs leave between images: thumbnails, deleted files, shadows of macOS files.
PASSED_OVER = {
    # macOS
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    # Windows
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "found.000",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    # network storage
    "@eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "~snapshot",
    "lost+found",
}
SPLITS = re.compile(r"(train|training|val|valid|validation|dev|test|testing|eval)(\d{4})?")


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of that name is passed over, case ignored."""
    return name.startswith(".") or name.lower() in PASSED_OVER


def walk(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield all in a folder but sub-folders, at any depth, in the order of names.

    Hidden files and folders are passed over. Links to folders are followed directly in the
    outermost folder, where folders are classes. Deeper ones are yielded, as are links to a
    folder that they lie in or to nothing, pipes, devices and folders that may not be read: none
    of them is an image.
    """
    resolved = root.resolve()
    for entry in _entries(root):
        path = pathlib.Path(entry.path)
        if _is_folder(entry) and not resolved.is_relative_to(path.resolve()):
            yield from _walk_deeper(path)
        else:
            yield path


def _walk_deeper(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    # A stack of ours: folders may be nested deeper than Python's calls.
    waiting = [(folder, True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        try:
            entries = _entries(path)
        except OSError:  # it may not be read: who reads it as an image is told
            yield path
            continue
        waiting += [
            (pathlib.Path(entry.path), entry.is_dir(follow_symlinks=False))
            for entry in reversed(entries)
        ]


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
    """What a folder has, by name. Of a folder at a time, so that memory is bounded by one."""
    with os.scandir(folder) as scanned:
        return sorted(
            (entry for entry in scanned if not is_hidden(entry.name)),
            key=lambda entry: entry.name,
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def label_depth(root: pathlib.Path) -> int:
    """At which depth the folders lie whose names are labels.

    0: directly in the outermost folder. 1: if all folders there are splits (``train``,
    ``val``, ``test2017``, ...) and one has folders, as in torchvision's data sets: these are the
    classes.

    Raises
    ------
    UserError
        If there are two splits with folders, and others beside them.
    """
    folders = [entry for entry in _entries(root) if _is_folder(entry)]
    splits = [entry for entry in folders if SPLITS.fullmatch(entry.name.lower())]
    with_classes = [
        split for split in splits if any(_is_folder(e) for e in _entries(pathlib.Path(split.path)))
    ]
    if len(splits) == len(folders):
        return int(bool(with_classes))
    if len(with_classes) > 1:
        other = next(entry.name for entry in folders if entry not in splits)
        raise UserError(
            f"{root} has splits with classes in them ({with_classes[0].name}, "
            f"{with_classes[1].name}) and '{other}' beside them; move it elsewhere, or name one "
            "of the splits"
        )
    return 0


def labels_of(relative: pathlib.PurePath, depth: int) -> tuple[str, ...]:
    """The labels of an image by its path from the outermost folder on.

    Its label is the folder at :func:`label_depth` that the image lies in, however deep. An
    image that lies less deep has none.
    """
    return relative.parts[:-1][depth : depth + 1]

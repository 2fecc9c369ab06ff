"""Folders of images: which of their files count, in which order, and what their labels are.

The rules are the same for images that become a data set and for images that are encoded.
"""

import os
import pathlib
from collections.abc import Iterator


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of that name is passed over."""
    return name.startswith(".")


def walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield all in a folder but sub-folders, at any depth, in the order of names.

    Hidden files and folders are passed over. Links to folders are not followed but yielded, as
    are links to nothing, pipes and devices.
    """
    # A folder at a time: a whole tree of names would not be of constant size.
    with os.scandir(folder) as scanned:
        entries = sorted(
            (entry for entry in scanned if not is_hidden(entry.name)),
            key=lambda entry: entry.name,
        )
    for entry in entries:
        path = pathlib.Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(path)
        else:
            yield path


def labels_of(relative: pathlib.PurePath) -> tuple[str, ...]:
    """The labels of an image by its path from the outermost folder on.

    Its label is the folder directly in that one that the image lies in, however deep. An image
    directly in the outermost folder has none.
    """
    return relative.parts[:-1][:1]

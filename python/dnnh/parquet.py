"""Collections as Parquet, for engines that run on many machines.

A folder. In it ``images/``, any number of files with a row for each image of the source, in any
order:
``row`` (int64: which image of the source it is), ``name``, ``labels`` (list of text),
``left_out`` (why it could not be read, or null) and ``word_0``, ``word_1``, ... (int64): the
packed code, with zeros behind it, eight bytes at a time, the lowest first. ``about.json`` has
what an HDF5 collection has as attributes, and ``coded``, how many there are.
"""

import json
import pathlib

import numpy as np

from dnnh import codes as codes_files
from dnnh import ranking
from dnnh.errors import UserError

IMAGES, ABOUT = "images", "about.json"
TEXTS = ("dataset", "variant", "weights", "source")
NUMBERS = ("bits", "left_out", "coded")


def word_names(bits):
    """The columns of a code."""
    return [f"word_{i}" for i in range(-(-bits // 64))]


def words(codes):
    """Packed codes, uint8 (n, bytes), as int64 (n, words)."""
    return ranking.words(codes).view(np.int64)


def packed(columns, bits):
    """int64 (n, words) as packed codes, uint8 (n, ceil(bits / 8))."""
    return np.ascontiguousarray(columns.astype("<i8").view(np.uint8)[:, :-(-bits // 8)])


def describe(folder, about):
    """Write what is known of the codes in a folder, a path: TEXTS and NUMBERS."""
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")


def described(folder):
    """What is known of the codes in a folder, a dict.

    Raises
    ------
    UserError
        If it is no such folder.
    """
    try:
        about = json.loads((pathlib.Path(folder) / ABOUT).read_text())
        if any(type(about[name]) is not str for name in TEXTS) or (
                any(type(about[name]) is not int or about[name] < 0 for name in NUMBERS)):
            raise ValueError("it has values of other types")
        if not 1 <= about["bits"] <= codes_files.MAX_BITS:
            raise ValueError(f"it says {about['bits']} bits")
        return {name: about[name] for name in (*TEXTS, *NUMBERS)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder} is not a collection of codes as Parquet ({ABOUT}: {error}); "
                        "make one with 'python tools/encode.py --engine spark'") from error


def load(folder):
    """A collection, in the order of its images: the fields of dnnh.collection.Collection.

    Raises
    ------
    UserError
        If it is none, or PyArrow is not here.
    """
    try:
        import pyarrow
        from pyarrow import compute, dataset
    except ImportError as error:
        raise UserError("Parquet needs PyArrow, which is not here; install it with "
                        "'.venv/bin/pip install -e .[spark]'") from error
    about = described(folder)
    columns = word_names(about["bits"])
    try:
        table = dataset.dataset(str(pathlib.Path(folder, IMAGES)),
                                format="parquet").to_table(
            columns=["row", "name", "labels", *columns],
            filter=compute.field("left_out").is_null()).sort_by("row")
        found = np.column_stack([table[name].to_numpy() for name in columns])
        texts = {"name": table["name"].combine_chunks(),
                 "labels": table["labels"].combine_chunks()}
        if str(texts["name"].type) != "string" or str(texts["labels"].type) not in (
                "list<element: string>", "list<item: string>"):
            raise ValueError(f"its names are {texts['name'].type}, its labels "
                             f"{texts['labels'].type}")
        if found.dtype != np.int64 or len(found) != about["coded"]:
            raise ValueError(f"it has {len(found):,} codes of {found.dtype} and should have "
                             f"{about['coded']:,} of int64")
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} is a damaged collection of codes ({error}); make it again "
                        "with 'python tools/encode.py --engine spark'") from error

    def of(column):
        return lambda rows: texts[column].take(
            np.atleast_1d(np.arange(len(found))[rows])).to_pylist()
    del about["coded"]
    return {**about, "codes": packed(found, about["bits"]), "names": of("name"),
            "labels": lambda rows: [tuple(some) for some in of("labels")(rows)]}

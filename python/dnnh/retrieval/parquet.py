"""An index of encoded images as Parquet files, for engines that run on many machines.

A folder. In it ``images/``, any number of files with a row for each image of the source, in any
order: ``row`` (int64: which image of the source it is), ``name``, ``labels`` (list of text),
``skipped`` (why it could not be read, or null) and ``word_0``, ``word_1``, ... (int64): the
packed code, with zeros behind it, eight bytes at a time, the lowest first. ``about.json`` has
what an HDF5 index has as attributes, and ``encoded``, how many images have codes.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import files, limits, packed_codes
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval.image_index import ImageIndex, Labels, Rows

IMAGES, ABOUT = "images", "about.json"
ROWS_AT_ONCE = 4096
REMEDY = "'python tools/encode.py --engine spark'"


@dataclasses.dataclass(frozen=True)
class About:
    """What about.json says: the net, the source, and how many images there are."""

    bits: int
    dataset: str
    method: str
    schedule: str
    weights: str
    source: str
    encoded: int
    skipped: int

    @property
    def net(self) -> NetInfo:
        return NetInfo(self.bits, self.dataset, self.method, self.schedule, self.weights)


def word_names(bits: int) -> list[str]:
    """The columns of a code."""
    return [f"word_{i}" for i in range(-(-bits // 64))]


def words(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Packed codes, uint8 (n, bytes), as int64 (n, words)."""
    return packed_codes.words(codes).view(np.int64)


def packed(columns: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """int64 (n, words) as packed codes, uint8 (n, ceil(bits / 8))."""
    all_bytes = columns.astype("<i8").view(np.uint8)
    return np.ascontiguousarray(all_bytes[:, : packed_codes.code_bytes(bits)])


def write_about(folder: pathlib.Path, about: About) -> None:
    """Write about.json into a folder."""
    (folder / ABOUT).write_text(
        json.dumps(dataclasses.asdict(about), indent=1) + "\n", encoding="utf-8"
    )


def read_about(folder: StrPath) -> About:
    """What about.json says of the codes in a folder.

    Raises
    ------
    UserError
        If it is no such folder.
    """
    if not pathlib.Path(folder).is_dir():
        raise UserError(
            f"{folder} is not an index of encoded images as Parquet, which is a folder; make one "
            f"with {REMEDY}"
        )
    try:
        content = files.read_json(pathlib.Path(folder) / ABOUT)
        values = {}
        for field in dataclasses.fields(About):
            value = content[field.name]
            if type(value) is not field.type or (field.type is int and value < 0):
                raise ValueError(f"its {field.name} is {value!r}")
            values[field.name] = value
        packed_codes.check_bits(values["bits"])
        return About(**values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError) as error:
        raise UserError(
            f"{folder} is not an index of encoded images as Parquet ({ABOUT}: {error}); "
            f"make one with {REMEDY}"
        ) from error


def load(folder: StrPath) -> ImageIndex:
    """An index, in the order of its images.

    Raises
    ------
    UserError
        If there is none, or PyArrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import compute, dataset
    except ImportError as error:
        raise UserError(
            "Parquet needs PyArrow, which is not installed; install it with "
            "'.venv/bin/pip install -e .[spark]'"
        ) from error
    about = read_about(folder)
    columns = word_names(about.bits)
    try:
        stored = dataset.dataset(str(pathlib.Path(folder, IMAGES)), format="parquet")
        _check_size(stored, about)
        table = _read_bounded(
            stored.scanner(
                columns=["row", "name", "labels", *columns],
                filter=compute.field("skipped").is_null(),
                batch_size=ROWS_AT_ONCE,
            ),
            limits.may_expand_to(_bytes_of(stored)),
        )
        types = [str(table.schema.field(name).type) for name in ("name", "labels")]
        if types[0] != "string" or types[1] not in ("list<element: string>", "list<item: string>"):
            raise ValueError(f"its names are {types[0]}, its labels {types[1]}")
        # Names and labels of all images may have more than 2 GiB.
        large = pyarrow.large_string()
        table = table.set_column(1, "name", table["name"].cast(large))
        table = table.set_column(2, "labels", table["labels"].cast(pyarrow.large_list(large)))
        table = table.sort_by("row")
        code_words = np.column_stack([table[name].to_numpy() for name in columns])
        name_column = table["name"].combine_chunks()
        labels_column = table["labels"].combine_chunks()
        for column in (name_column, labels_column):
            column.validate(full=True)  # UTF-8, and within the file
        if name_column.null_count or labels_column.null_count:
            raise ValueError("it has images without a name or labels")
        if labels_column.flatten().null_count:
            raise ValueError("it has labels without text")
        if code_words.dtype != np.int64 or len(code_words) != about.encoded:
            raise ValueError(
                f"it has {len(code_words):,} codes of {code_words.dtype} and should have "
                f"{about.encoded:,} of int64"
            )
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is a damaged index of encoded images ({error}); make it again with {REMEDY}"
        ) from error

    def take(column: Any, rows: Rows) -> list[Any]:
        chosen = np.atleast_1d(np.arange(len(code_words))[rows])
        return column.take(chosen).to_pylist()

    def names(rows: Rows) -> list[str]:
        return take(name_column, rows)

    def labels(rows: Rows) -> list[Labels]:
        return [tuple(of_image) for of_image in take(labels_column, rows)]

    return ImageIndex(
        net=about.net,
        source=about.source,
        skipped=about.skipped,
        codes=packed(code_words, about.bits),
        names=names,
        labels=labels,
    )


def _check_size(stored: Any, about: About) -> None:
    """Raise ValueError if the files declare more rows than they can hold."""
    rows = sum(fragment.metadata.num_rows for fragment in stored.get_fragments())
    size = _bytes_of(stored)
    if rows != about.encoded + about.skipped:
        raise ValueError(f"it has {rows:,} images, {ABOUT} {about.encoded + about.skipped:,}")
    if 8 * rows * (1 + len(word_names(about.bits))) > limits.may_expand_to(size):
        raise ValueError(f"its files have {size:,} bytes and say that they have {rows:,} rows")


def _bytes_of(stored: Any) -> int:
    return sum(pathlib.Path(path).stat().st_size for path in stored.files)


def _read_bounded(scanner: Any, most: int) -> Any:
    """The table of a scanner; ValueError if it has more bytes: equal texts take next to none."""
    import pyarrow

    batches, size = [], 0
    for batch in scanner.to_batches():
        size += batch.nbytes
        if size > most:
            raise ValueError(f"its names and labels have more than {most:,} bytes")
        batches.append(batch)
    return pyarrow.Table.from_batches(batches, schema=scanner.projected_schema)

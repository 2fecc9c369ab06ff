"""An index of encoded images as Parquet files, for engines that run on many machines.

A folder. In it ``images/``, any number of files with a row for each image of the source, in any
order: ``row`` (int64: which image of the source it is), ``name``, ``labels`` (list of text),
``stamp`` (dnnh.data.sources.Item), ``skipped`` (why it could not be read, or null) and ``word_0``,
``word_1``, ... (int64): the packed code, with zeros behind it, eight bytes at a time, the lowest
first. ``about.json`` has what an HDF5 index has as attributes, and how many images there are.

Updates leave these files as they are. An index that was updated has one file more,
``changes-N.parquet`` after update N: the rows that are no longer as in ``images/``, and the new ones,
with their ``state`` (image_index.STATES) in place of ``skipped``. :mod:`dnnh.retrieval.parquet_update`
writes it. Stamps are missing in files of older versions.
"""

import dataclasses
import json
import pathlib
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, limits, packed_codes
from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval.image_index import PRESENT, STATES, ImageIndex, Labels, Rows

IMAGES, ABOUT = "images", "about.json"
ROWS_AT_ONCE = 256  # whose texts are held before they are counted
REMEDY = "'python tools/encode.py --engine spark'"


@dataclasses.dataclass(frozen=True)
class About:
    """What about.json says.

    Attributes
    ----------
    bits, dataset, method, schedule, weights
        Of the net, see NetInfo.
    source : str
        Path of the images.
    encoded, skipped : int
        How many images in ``images/`` have codes, and how many do not.
    stamp_kind : str
        One of dnnh.data.sources.STAMPS; "" where there are no stamps.
    updates : int
        How many there have been.
    changes : str
        The name of the file with what has changed; "" where nothing has.
    changed : int
        How many rows it has.
    """

    bits: int
    dataset: str
    method: str
    schedule: str
    weights: str
    source: str
    encoded: int
    skipped: int
    stamp_kind: str = ""
    updates: int = 0
    changes: str = ""
    changed: int = 0

    @property
    def net(self) -> NetInfo:
        return NetInfo(self.bits, self.dataset, self.method, self.schedule, self.weights)

    @property
    def texts(self) -> list[str]:
        """The columns that are texts, or lists of them."""
        return ["name", "labels", "stamp"] if self.stamp_kind else ["name", "labels"]


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
    """Write about.json into a folder, atomically."""
    atomic_files.write_text(folder / ABOUT, json.dumps(dataclasses.asdict(about), indent=1) + "\n")


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
            is_required = field.default is dataclasses.MISSING
            value = content[field.name] if is_required else content.get(field.name, field.default)
            if type(value) is not field.type or (field.type is int and value < 0):
                raise ValueError(f"its {field.name} is {value!r}")
            values[field.name] = value
        packed_codes.check_bits(values["bits"])
        about = About(**values)
        if about.stamp_kind not in ("", *sources.STAMPS):
            raise ValueError(f"its stamps are by '{about.stamp_kind:.40}'")
        if about.changes and not re.fullmatch(r"changes-\d{1,9}\.parquet", about.changes):
            raise ValueError(f"its changes are '{about.changes:.40}'")
        return about
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError) as error:
        raise UserError(
            f"{folder} is not an index of encoded images as Parquet ({ABOUT}: {error}); "
            f"make one with {REMEDY}"
        ) from error


@dataclasses.dataclass(frozen=True)
class Images:
    """The rows of an index that have codes, in the order of their numbers.

    Attributes
    ----------
    about : About
    rows : int64 array of shape (n,)
        Their numbers, which skipped images have, too.
    codes : uint8 array of shape (n, ceil(q / 8))
    states : uint8 array of shape (n,)
    changed : bool array of shape (n,)
        Which are in the file of changes.
    texts : pyarrow Table
        ``name``, ``labels`` and, where there are stamps, ``stamp``.
    """

    about: About
    rows: NDArray[np.int64]
    codes: NDArray[np.uint8]
    states: NDArray[np.uint8]
    changed: NDArray[np.bool_]
    texts: Any

    def take(self, name: str, positions: Rows) -> list[Any]:
        """Values of a column of ``texts``."""
        if isinstance(positions, slice):
            positions = np.arange(*positions.indices(len(self.rows)))
        chosen = np.atleast_1d(positions)
        return self.texts[name].take(chosen).to_pylist()


def load(folder: StrPath) -> ImageIndex:
    """An index, in the order of its images.

    Raises
    ------
    UserError
        If there is none, or PyArrow is not installed.
    """
    return index_of(read(folder))


def index_of(images: Images) -> ImageIndex:
    """The index that images are."""

    def names(rows: Rows) -> list[str]:
        return images.take("name", rows)

    def labels(rows: Rows) -> list[Labels]:
        return [tuple(of_image) for of_image in images.take("labels", rows)]

    def stamps(rows: Rows) -> list[str]:
        return images.take("stamp", rows)

    about = images.about
    return ImageIndex(
        net=about.net,
        source=about.source,
        codes=images.codes,
        names=names,
        labels=labels,
        states=images.states,
        stamps=stamps if about.stamp_kind else None,
        stamp_kind=about.stamp_kind or None,
    )


def read(folder: StrPath) -> Images:
    """The images of an index.

    Raises
    ------
    UserError
        If there is none, or PyArrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UserError(
            "Parquet needs PyArrow, which is not installed; install it with "
            "'.venv/bin/pip install -e .[spark]'"
        ) from error
    about, folder = read_about(folder), pathlib.Path(folder)
    try:
        images = _read(folder, about)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, UserError) as error:
        if read_about(folder) != about:  # updated meanwhile
            return read(folder)
        raise UserError(
            f"{folder} is a damaged index of encoded images ({error}); make it again with {REMEDY}"
        ) from error
    # Of an index that was replaced meanwhile, the images may be those of another net.
    return images if read_about(folder) == about else read(folder)


def _read(folder: pathlib.Path, about: About) -> Images:
    import pyarrow
    from pyarrow import compute, dataset

    stored = dataset.dataset(str(folder / IMAGES), format="parquet")
    _check_size(stored, about.encoded + about.skipped, about.bits)
    has_code = compute.field("skipped").is_null()
    table = _texts_and_words(stored, about, [], has_code)
    if len(table) != about.encoded:
        raise ValueError(f"it has {len(table):,} codes and should have {about.encoded:,}")
    changed_states = np.zeros(0, np.uint8)
    if about.changes:
        stored = dataset.dataset(str(folder / about.changes), format="parquet")
        _check_size(stored, about.changed, about.bits)
        changed = _texts_and_words(stored, about, ["state"])
        changed_states = changed["state"].to_numpy()
        if changed_states.dtype != np.uint8 or not np.isin(changed_states, STATES).all():
            raise ValueError(f"{about.changes} has other states than {list(STATES)}")
        table = table.filter(~compute.field("row").isin(changed["row"].combine_chunks()))
        table = pyarrow.concat_tables([table, changed.drop_columns(["state"])])
    unchanged = len(table) - len(changed_states)
    states = np.concatenate([np.full(unchanged, PRESENT, np.uint8), changed_states])
    rows = table["row"].to_numpy()
    order = np.argsort(rows)
    table = table.take(order)
    columns = word_names(about.bits)
    code_words = np.column_stack([table[name].to_numpy() for name in columns])
    if code_words.dtype != np.int64:
        raise ValueError(f"its codes are {code_words.dtype}, not int64")
    codes = packed_codes.check(packed(code_words, about.bits), about.bits)
    if (words(codes) != code_words).any():
        raise ValueError(f"its codes have ones beyond bit {about.bits}")
    return Images(
        about=about,
        rows=rows[order],
        codes=codes,
        states=states[order],
        changed=order >= unchanged,
        texts=table.select(about.texts).combine_chunks(),
    )


def _texts_and_words(stored: Any, about: About, more: list[str], where: Any = None) -> Any:
    """The table of an index's files; ValueError where its columns have other types, or nulls."""
    import pyarrow

    columns = ["row", *about.texts, *word_names(about.bits), *more]
    table = _read_bounded(stored, columns, where, limits.may_expand_to(_bytes_of(stored)))
    types = {name: str(table.schema.field(name).type) for name in about.texts}
    lists = "list<element: string>", "list<item: string>"
    if any(kind not in (lists if name == "labels" else ["string"]) for name, kind in types.items()):
        raise ValueError("its texts are " + ", ".join(map(" ".join, types.items())))
    if str(table.schema.field("row").type) != "int64" or table["row"].null_count:
        raise ValueError("its rows are not all int64")
    # The texts of all images may have more than 2 GiB.
    large = pyarrow.large_string()
    for name in about.texts:
        column = table[name].cast(pyarrow.large_list(large) if name == "labels" else large)
        for chunk in column.chunks:
            chunk.validate(full=True)  # UTF-8, and within the file
        if column.null_count:
            raise ValueError("it has images without a name, stamp or labels")
        table = table.set_column(table.column_names.index(name), name, column)
    if any(chunk.flatten().null_count for chunk in table["labels"].chunks):
        raise ValueError("it has labels without text")
    return table


def _check_size(stored: Any, expected: int, bits: int) -> None:
    """Raise ValueError if the files have other rows, or declare more than they can hold."""
    groups = [
        fragment.metadata.row_group(number)
        for fragment in stored.get_fragments()
        for number in range(fragment.metadata.num_row_groups)
    ]
    rows = sum(group.num_rows for group in groups)
    decompressed = sum(
        group.column(number).total_uncompressed_size
        for group in groups
        for number in range(group.num_columns)
    )
    size = _bytes_of(stored)
    if rows != expected:
        raise ValueError(f"it has {rows:,} images, {ABOUT} {expected:,}")
    if decompressed > limits.may_expand_to(size):
        raise ValueError(f"its files have {size:,} bytes, {decompressed:,} decompressed")
    if 8 * rows * (1 + len(word_names(bits))) > limits.may_expand_to(size):
        raise ValueError(f"its files have {size:,} bytes and say that they have {rows:,} rows")


def _bytes_of(stored: Any) -> int:
    return sum(pathlib.Path(path).stat().st_size for path in stored.files)


def _read_bounded(stored: Any, columns: list[str], where: Any, most: int) -> Any:
    """Some columns of the rows ``where``; ValueError if they have more bytes: equal texts take next
    to none in the files. (A scanner of the dataset reads far ahead of what it returns.)"""
    import pyarrow
    from pyarrow import parquet

    read = columns if where is None else [*columns, "skipped"]
    tables, size = [], 0
    for path in stored.files:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=read):
                table = pyarrow.Table.from_batches([batch])
                table = (table if where is None else table.filter(where)).select(columns)
                size += table.nbytes
                if size > most:
                    raise ValueError(f"its names and labels have more than {most:,} bytes")
                tables.append(table)
    if not tables:
        return stored.schema.empty_table().select(columns)
    return pyarrow.concat_tables(tables)

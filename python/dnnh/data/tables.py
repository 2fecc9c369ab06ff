"""CSV files of images and their labels, and lists as Caffe has them.

A row of a CSV file has the path of an image, from the file's folder on, and its labels. The first
row may name the columns. A list, as for Caffe's ImageData layer and convert_imageset, has a path,
a space and a number in each line.
"""

import csv
import io
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from dnnh import files, limits
from dnnh.data import image_files
from dnnh.errors import UserError


class TableRow(NamedTuple):
    """A row of a CSV file or a list."""

    number: int  # from 1 on
    name: str  # path of the image, from the file's folder on
    labels: tuple[str, ...]


def table_rows(path: pathlib.Path) -> Iterator[TableRow]:
    """Yield the rows of a CSV file or a list.

    Rows of empty cells are passed over; a label that is there twice counts once.

    Raises
    ------
    UserError
        If it is no such file, or a row has no path.
    """
    try:
        with (
            files.open_regular_file(path) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
        ):
            rows = _rows(file, path)
            first_rows = list(itertools.islice(rows, 2))
            if _names_columns(first_rows, path.parent):
                del first_rows[0]
            rows = itertools.chain(first_rows, rows)
            yield from map(_of_list, rows) if _is_list(first_rows, path.parent) else rows
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a CSV file in UTF-8 ({error}); if it is an image, give its folder, "
            "or a CSV file that has its path in a row"
        ) from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file that can be read ({error})") from error


def _rows(file: IO[str], path: pathlib.Path) -> Iterator[TableRow]:
    for number, row in enumerate(csv.reader(_lines(file, path), strict=True), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        name = cells[0]
        if not name or "\0" in name:
            raise UserError(f"{path}, row {number} has no path of an image, but {row[:3]!s:.100}")
        labels = [cell for cell in cells[1:] if cell]
        yield TableRow(number, name, tuple(dict.fromkeys(labels)))


def _names_columns(rows: list[TableRow], folder: pathlib.Path) -> bool:
    """Whether the first of two rows names columns: it has no image, and the second has one."""
    return (
        len(rows) == 2
        and pathlib.PurePath(_of_list(rows[0]).name).suffix.lower() not in image_files.SUFFIXES
        and not _has_image(rows[0], folder)
        and _has_image(rows[1], folder)
    )


def _has_image(row: TableRow, folder: pathlib.Path) -> bool:
    return any(files.is_file(folder / name) for name in {row.name, _of_list(row).name})


def _is_list(rows: list[TableRow], folder: pathlib.Path) -> bool:
    """Whether the first row is a path, a space and a number, not a path that has a space."""
    return bool(rows) and _of_list(rows[0]) != rows[0] and not files.is_file(folder / rows[0].name)


def _of_list(row: TableRow) -> TableRow:
    """A row of a list, which has one cell to a CSV reader."""
    match = re.fullmatch(r"(.*\S)\s+(\d+)", row.name)
    return row if match is None or row.labels else TableRow(row.number, match[1], (match[2],))


def _lines(file: IO[str], path: pathlib.Path) -> Iterator[str]:
    while line := file.readline(limits.LINE_LETTERS):
        if len(line) == limits.LINE_LETTERS:
            raise UserError(
                f"{path} has a line of {limits.LINE_LETTERS:,} letters or more; it "
                "is not a table of paths and labels"
            )
        yield line

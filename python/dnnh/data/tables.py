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

FIRST = 20  # rows that are looked at to tell what a file is
LIST_LINE = re.compile(r"(.*\S)\s+(\d+)")


class TableRow(NamedTuple):
    """A row of a CSV file or a list."""

    number: int  # from 1 on
    name: str  # path of the image, from the file's folder on
    labels: tuple[str, ...]


def table_rows(path: pathlib.Path) -> Iterator[TableRow]:
    """Yield the rows of a CSV file or a list.

    Rows of empty cells are skipped; a label that is there twice counts once.

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
            lines = _lines(file, path)
            first_lines = list(itertools.islice(lines, FIRST))
            read = _list_rows if _is_list(first_lines, path.parent) else _csv_rows
            rows = read(itertools.chain(first_lines, lines), path)
            first_rows = list(itertools.islice(rows, FIRST))
            if _names_columns(first_rows, path.parent):
                del first_rows[0]
            yield from first_rows
            yield from rows
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a CSV file in UTF-8 ({error}); save it as 'CSV UTF-8'. If it is an "
            "image, give its folder, or a CSV file that has its path in a row"
        ) from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file that can be read ({error})") from error


def _csv_rows(lines: Iterator[str], path: pathlib.Path) -> Iterator[TableRow]:
    for number, row in enumerate(csv.reader(lines, strict=True), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if any("\n" in cell or "\r" in cell for cell in cells):
            raise UserError(
                f"{path}, row {number} has a cell of several lines; a quote seems to be left open"
            )
        if not cells[0]:
            raise UserError(
                f"{path}, row {number} has no path of an image, but {row[:3]!s:.100}; paths are "
                "in the first column"
            )
        labels = [cell for cell in cells[1:] if cell]
        yield TableRow(number, _posix(cells[0], path.parent), tuple(dict.fromkeys(labels)))


def _posix(name: str, folder: pathlib.Path) -> str:
    """A path that Windows wrote, with slashes; a name may have backslashes elsewhere."""
    return name if "\\" not in name or files.is_file(folder / name) else name.replace("\\", "/")


def _list_rows(lines: Iterator[str], path: pathlib.Path) -> Iterator[TableRow]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = LIST_LINE.fullmatch(line.strip())
        if match is None:
            raise UserError(
                f"{path}, line {number} is '{line.strip()[:100]}', not a path and a number like the "
                "lines before it"
            )
        if LIST_LINE.fullmatch(match[1]) and not files.is_file(path.parent / match[1]):
            raise UserError(
                f"{path}, line {number} has several numbers; a list has one for each image. Write "
                "a CSV file with the names of its labels"
            )
        yield TableRow(number, match[1], (match[2],))


def _is_list(lines: list[str], folder: pathlib.Path) -> bool:
    """Whether the first line is a path, a space and a number, not a path that has a space."""
    first = next((line.strip() for line in lines if line.strip()), "")
    match = LIST_LINE.fullmatch(first)
    return (
        match is not None
        and not files.is_file(folder / first)
        and ("," not in first or files.is_file(folder / match[1]))
    )


def _names_columns(rows: list[TableRow], folder: pathlib.Path) -> bool:
    """Whether the first row names columns: it has no image, and one of the next has one."""
    if not rows or _has_suffix(rows[0]) or files.is_file(folder / rows[0].name):
        return False
    return any(_has_suffix(row) and files.is_file(folder / row.name) for row in rows[1:])


def _has_suffix(row: TableRow) -> bool:
    return pathlib.PurePath(row.name).suffix.lower() in image_files.SUFFIXES


def _lines(file: IO[str], path: pathlib.Path) -> Iterator[str]:
    number = 0
    while line := file.readline(limits.LINE_LETTERS):
        number += 1
        if len(line) == limits.LINE_LETTERS:
            raise UserError(
                f"{path} has a line of {limits.LINE_LETTERS:,} letters or more; it "
                "is not a table of paths and labels"
            )
        if "\0" in line:
            raise UserError(
                f"{path}, line {number} has a zero byte, which no path has; save it as text in UTF-8"
            )
        yield line

"""CSV files of images and their labels."""

import csv
import pathlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from dnnh.errors import UserError

LONGEST_LINE = 1_000_000  # letters of a line


class TableRow(NamedTuple):
    """A row of a CSV file."""

    number: int  # from 1 on
    name: str  # path of the image, from the file's folder on
    labels: tuple[str, ...]


def table_rows(path: pathlib.Path) -> Iterator[TableRow]:
    """Yield the rows of a CSV file.

    Rows of empty cells are passed over; a label that is there twice counts once.

    Raises
    ------
    UserError
        If it is no such file, or a row has no path.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(_lines(file, path), strict=True), 1):
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                name = cells[0]
                if not name or "\0" in name:
                    raise UserError(f"{path}, row {number} has no path of an image, but {row[:3]}")
                labels = [cell for cell in cells[1:] if cell]
                yield TableRow(number, name, tuple(dict.fromkeys(labels)))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a CSV file in UTF-8 ({error}); if it is an image, give its folder, "
            "or a CSV file that has its path in a row"
        ) from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file that can be read ({error})") from error


def _lines(file: IO[str], path: pathlib.Path) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise UserError(
                f"{path} has a line of {LONGEST_LINE:,} letters or more; it "
                "is not a table of paths and labels"
            )
        yield line

"""A table of a paper with our results beside it, as text, Markdown and CSV."""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable

from dnnh.evaluation.published import PrintedTable, Row

MEASURES = {"map": "MAP", "precision_radius2": "precision within Hamming radius 2"}
CURVES_AT = 48  # bits, in the paper's figures 5b to 8


def method_of(label: str) -> str:
    """The method of a result's label, without the schedule behind it."""
    return re.sub(r" \((schedule \w+|[\d,]+ iterations)\)$", "", label)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table: a method's values on paper, ours, or their difference.

    ``values`` is one text per length of the table, "" where there is no value.
    """

    method: str
    whose: str  # "paper", "ours" or "difference"
    values: list[str]


@dataclasses.dataclass(frozen=True)
class ComparisonTable:
    """A printed table with our results on one source of images beside it.

    Attributes
    ----------
    printed : PrintedTable
    source : str, or None
        What ours were measured on; None if there are no results of ours.
    ours : dict of a result's label to dict of bits to value, like ``printed.rows``
    ranges : dict of label to dict of bits to (lowest, highest)
        Over training seeds, where there are several.
    """

    printed: PrintedTable
    source: str | None
    ours: dict[str, Row]
    ranges: dict[str, dict[int, tuple[float, float]]] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        title = f"{self.printed.name}: {MEASURES[self.printed.measure]}, {self.printed.dataset}"
        if self.printed.note:
            title += f" ({self.printed.note})"
        if self.source:
            title += f"; ours on {self.source}"
        return title

    @property
    def lengths(self) -> list[int]:
        """All numbers of bits that have a value, on paper or of ours."""
        lengths = set()
        for rows in (self.printed.rows, self.ours):
            for row in rows.values():
                lengths.update(row)
        return sorted(lengths)

    @property
    def methods(self) -> list[str]:
        """The printed ones, then ours that are not printed; other schedules of a method after it."""
        names = list(dict.fromkeys([*self.printed.rows, *self.ours]))
        methods = list(dict.fromkeys(map(method_of, names)))
        return sorted(names, key=lambda name: methods.index(method_of(name)))

    @property
    def header(self) -> list[str]:
        return ["method", "whose", *(f"{bits} bits" for bits in self.lengths)]

    def lines(self) -> list[Line]:
        return [line for method in self.methods for line in self.lines_of(method)]

    def lines_of(self, method: str) -> list[Line]:
        """The method's lines; ours is there even if it is empty."""
        paper, ours = self.printed.rows.get(method, {}), self.ours.get(method, {})
        compared = self.printed.rows.get(method_of(method), {})
        difference = {bits: ours[bits] - compared[bits] for bits in ours if bits in compared}
        lines = [Line(method, "ours", self._texts(ours, "{:.3f}"))]
        if paper:
            lines.insert(0, Line(method, "paper", self._texts(paper, "{:.3f}")))
        if difference:
            lines.append(Line(method, "difference", self._texts(difference, "{:+.3f}")))
        return lines

    @property
    def columns(self) -> dict[int, list[str]]:
        """Of each length: which of "paper", "ours" and "difference" have values."""
        columns: dict[int, list[str]] = {bits: [] for bits in self.lengths}
        for whose in ("paper", "ours", "difference"):
            lines = [line for line in self.lines() if line.whose == whose]
            for i, bits in enumerate(self.lengths):
                if any(line.values[i] for line in lines):
                    columns[bits].append(whose)
        return columns

    @property
    def first_columns(self) -> set[int]:
        """The place of each length's first column among all."""
        counts = [len(whose) for whose in self.columns.values()]
        return {0, *itertools.accumulate(counts)}

    def cells(self, method: str) -> list[tuple[str, str]]:
        """The method's row under :attr:`columns`: whose a value is, and its text."""
        values = {line.whose: line.values for line in self.lines_of(method)}
        return [
            (whose, values[whose][i] if whose in values else "")
            for i, of_length in enumerate(self.columns.values())
            for whose in of_length
        ]

    def _texts(self, row: Row, form: str) -> list[str]:
        return [form.format(row[bits]) if bits in row else "" for bits in self.lengths]

    def text(self) -> str:
        """The table for a terminal."""
        width = max((len(method) for method in self.methods), default=0)
        lines = [self.title, " " * (width + 12) + "".join(f"{bits:>8}" for bits in self.lengths)]
        for line in self.lines():
            values = "".join(f"{value:>8}" for value in line.values)
            lines.append(f"{line.method:<{width}}  {line.whose:<10}{values}")
        if order := self.order():
            lines.append(order)
        return "\n".join(lines)

    def markdown(self) -> str:
        lines = [
            self.title,
            "",
            "| " + " | ".join(self.header) + " |",
            "|" + "---|" * len(self.header),
        ]
        for line in self.lines():
            method = line.method.replace("|", "\\|")
            lines.append("| " + " | ".join([method, line.whose, *line.values]) + " |")
        if order := self.order():
            lines += ["", order]
        return "\n".join(lines) + "\n"

    def order(self) -> str | None:
        """One sentence: how the paper and we rank the methods that both have at the length of
        the paper's curves; None if they are fewer than two."""
        paper = {m: row[CURVES_AT] for m, row in self.printed.rows.items() if CURVES_AT in row}
        ours = {}
        for name in sorted(self.ours, key=lambda name: name != method_of(name)):
            if CURVES_AT in self.ours[name]:
                ours.setdefault(method_of(name), self.ours[name][CURVES_AT])
        both = [method for method in paper if method in ours]
        if len(both) < 2:
            return None
        papers_order = " > ".join(sorted(both, key=lambda m: paper[m], reverse=True))
        our_order = " > ".join(sorted(both, key=lambda m: ours[m], reverse=True))
        if papers_order == our_order:
            return f"Order at {CURVES_AT} bits, the same as the paper's: {our_order}."
        return f"Order at {CURVES_AT} bits: paper {papers_order}; ours {our_order}."


def csv_text(tables: Iterable[ComparisonTable]) -> str:
    """Tables as CSV, one line per value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = ("table", "note", "dataset", "source", "measure", "method", "whose", "bits", "value")
    writer.writerow(header)
    for table in tables:
        printed = table.printed
        note, source = printed.note or "", table.source or ""
        about = (printed.name, note, printed.dataset, source, printed.measure)
        for line in table.lines():
            for bits, value in zip(table.lengths, line.values):
                if value:
                    writer.writerow((*about, line.method, line.whose, bits, value))
    return file.getvalue()

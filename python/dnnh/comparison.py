"""Our results beside the figures that the paper prints."""

import dataclasses
import json

from dnnh import published
from dnnh.errors import UserError

MEASURES = {"map": ("MAP", published.MAP),
            "precision_radius2": ("precision within Hamming radius 2",
                                  published.PRECISION_RADIUS2)}


@dataclasses.dataclass(frozen=True)
class Table:
    """One measure on one data set, by method and length.

    ``paper`` and ``ours`` are dicts of method to dict of bits to value.
    """

    dataset: str
    measure: str               # one of MEASURES
    sources: tuple             # what our results were measured on
    paper: dict
    ours: dict

    @property
    def title(self):
        return (f"{MEASURES[self.measure][0]}, {self.dataset}, protocol paper; ours on "
                + (" and ".join(self.sources) or "nothing yet"))

    @property
    def lengths(self):
        """All numbers of bits that anybody has a value for."""
        return sorted({bits for rows in (self.paper, self.ours)
                       for row in rows.values() for bits in row})

    def rows(self):
        """(method, whose, values as text) for each line of the table."""
        lines = []
        for method in [*self.paper, *(m for m in self.ours if m not in self.paper)]:
            paper, ours = self.paper.get(method, {}), self.ours.get(method, {})
            for whose, row, form in (
                    ("paper", paper, "{:.3f}"), ("ours", ours, "{:.3f}"),
                    ("difference", {bits: ours[bits] - paper[bits]
                                    for bits in ours if bits in paper}, "{:+.3f}")):
                if row:
                    lines.append((method, whose, [
                        form.format(row[bits]) if bits in row else ""
                        for bits in self.lengths]))
        return lines

    def text(self):
        """The table for a terminal."""
        width = max([len(method) for method, _, _ in self.rows()] or [0])
        lines = [self.title, " " * (width + 12) + "".join(
            f"{bits:>8}" for bits in self.lengths)]
        lines += [f"{method:<{width}}  {whose:<10}" + "".join(f"{v:>8}" for v in values)
                  for method, whose, values in self.rows()]
        return "\n".join(lines)

    def markdown(self):
        header = ["method", "whose", *(f"{bits} bits" for bits in self.lengths)]
        lines = [f"{self.title}\n", "| " + " | ".join(header) + " |",
                 "|" + "---|" * len(header)]
        lines += ["| " + " | ".join([method, whose, *values]) + " |"
                  for method, whose, values in self.rows()]
        return "\n".join(lines) + "\n"


def read_results(paths):
    """Results as tools/evaluate.py writes them, of the protocol `paper` alone.

    Parameters
    ----------
    paths : list of path
        Of two results of the same method, data set and length the later one counts.
        Results with a note are of shortened runs, and left out.

    Returns
    -------
    dict of (dataset, method, bits) to the result

    Raises
    ------
    UserError
        If a file is no such result.
    """
    results = {}
    for path in paths:
        try:
            result = json.loads(path.read_text())
            key = result["dataset"], result["method"], result["bits"]
            about = result["protocol"], result["source"], result["note"]
            values = [float(result[measure]) for measure in MEASURES]
            if not (isinstance(key[2], int) and all(isinstance(t, str) for t in (
                    *key[:2], *about)) and all(0 <= value <= 1 for value in values)):
                raise TypeError("a value of another kind than tools/evaluate.py writes")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is not a result of tools/evaluate.py "
                            f"({type(error).__name__}: {error}); remove it, or evaluate "
                            "anew") from error
        if result["protocol"] == "paper" and not result["note"]:
            results[key] = result
    return results


def tables(dataset, results):
    """A Table for each measure that the paper or we have figures of.

    Parameters
    ----------
    dataset : str, one of published.MAP
    results : what :func:`read_results` returns
    """
    mine = {key: result for key, result in results.items() if key[0] == dataset}
    sources = tuple(sorted({result["source"] for result in mine.values()}))
    made = []
    for measure, (_, printed) in MEASURES.items():
        paper = {method: dict(zip(published.LENGTHS, values))
                 for method, values in printed.get(dataset, {}).items()}
        ours = {}
        for (_, method, bits), result in sorted(mine.items()):
            ours.setdefault(method, {})[bits] = float(result[measure])
        if paper or ours:
            made.append(Table(dataset, measure, sources, paper, ours))
    return made


def with_ours_alone(table):
    """The table without the methods that only the paper has figures of."""
    return dataclasses.replace(table, paper={
        method: row for method, row in table.paper.items()
        if method in table.ours or method == "DNNH"})

"""Our results beside the figures that the paper prints."""

import dataclasses
import json

from dnnh import published

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
    source: str                # what our results were measured on; "" where there are none
    paper: dict
    ours: dict

    @property
    def title(self):
        return (f"{MEASURES[self.measure][0]}, {self.dataset}, protocol paper"
                + (f"; ours on {self.source}" if self.source else ""))

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
    """Results as tools/evaluate.py writes them: those that can stand beside the paper's.

    Parameters
    ----------
    paths : list of path
        Of two results of the same data set, source, method and length the later counts.

    Returns
    -------
    (results, skipped) : dict of (dataset, source, method, bits) to the result; and a
    sentence for each file that is left out: no result, of another protocol or split, or
    with a note, which says that it is out of the ordinary.
    """
    results, skipped = {}, []
    for path in paths:
        try:
            result = json.loads(path.read_text())
            key = result["dataset"], result["source"], result["method"], result["bits"]
            about = result["protocol"], result["note"]
            values = [float(result[measure]) for measure in MEASURES]
            if not (isinstance(key[3], int) and all(isinstance(text, str) for text in (
                    *key[:3], *about)) and all(0 <= value <= 1 for value in values)):
                raise TypeError("a value of another kind than tools/evaluate.py writes")
            split = result["protocol"], result["seed"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            skipped.append(f"{path} is not a result of tools/evaluate.py "
                           f"({type(error).__name__}: {error})")
            continue
        if split != ("paper", 0):
            skipped.append(f"{path} is of protocol {split[0]}, split seed {split[1]}")
        elif result["note"]:
            skipped.append(f"{path} has a note: {result['note']}")
        else:
            results[key] = result
    return results, skipped


def tables(dataset, results):
    """A Table for each source and each measure that the paper or we have figures of.

    Parameters
    ----------
    dataset : str, one of published.MAP
    results : dict, as :func:`read_results` returns it
    """
    made = []
    for source in sorted({key[1] for key in results if key[0] == dataset}) or [""]:
        for measure, (_, printed) in MEASURES.items():
            paper = {method: dict(zip(published.LENGTHS, values))
                     for method, values in printed.get(dataset, {}).items()}
            ours = {}
            for (_, _, method, bits), result in sorted(
                    (key, result) for key, result in results.items()
                    if key[:2] == (dataset, source)):
                ours.setdefault(method, {})[bits] = float(result[measure])
            if paper or ours:
                made.append(Table(dataset, measure, source, paper, ours))
    return made


def with_ours_alone(table):
    """The table without the methods that only the paper has figures of."""
    return dataclasses.replace(table, paper={
        method: row for method, row in table.paper.items()
        if method in table.ours or method == "DNNH"})

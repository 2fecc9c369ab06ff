"""Our results beside the figures that the papers print."""

import csv
import dataclasses
import html
import io
import itertools
import statistics

from dnnh import evaluation, plots, published, report
from dnnh.errors import UserError

MEASURES = {"map": "MAP", "precision_radius2": "precision within Hamming radius 2"}
CURVES_AT = 48                 # bits, in the paper's figures 5b to 8


@dataclasses.dataclass(frozen=True)
class Table:
    """A printed table with our results on one source of images beside it.

    ``ours`` is a dict of method to dict of bits to value, as ``printed.rows`` is.
    """

    printed: published.PrintedTable
    source: str                # what ours were measured on; "" where there are none
    ours: dict

    @property
    def title(self):
        note = f" ({self.printed.note})" if self.printed.note else ""
        return (f"{self.printed.name}: {MEASURES[self.printed.measure]}, "
                f"{self.printed.dataset}{note}"
                + (f"; ours on {self.source}" if self.source else ""))

    @property
    def lengths(self):
        """All numbers of bits that anybody has a value for."""
        return sorted({bits for rows in (self.printed.rows, self.ours)
                       for row in rows.values() for bits in row})

    @property
    def methods(self):
        """The printed ones, then ours that are not printed."""
        return [*self.printed.rows,
                *(method for method in self.ours if method not in self.printed.rows)]

    def rows(self):
        """(method, whose, values as text) for each line of the table.

        What nobody has a value for is "".
        """
        lines = []
        for method in self.methods:
            paper, ours = self.printed.rows.get(method, {}), self.ours.get(method, {})
            for whose, row, form in (
                    ("paper", paper, "{:.3f}"), ("ours", ours, "{:.3f}"),
                    ("difference", {bits: ours[bits] - paper[bits]
                                    for bits in ours if bits in paper}, "{:+.3f}")):
                if row or whose == "ours":
                    lines.append((method, whose, [
                        form.format(row[bits]) if bits in row else ""
                        for bits in self.lengths]))
        return lines

    def header(self):
        return ["method", "whose", *(f"{bits} bits" for bits in self.lengths)]

    def text(self):
        """The table for a terminal."""
        width = max([len(method) for method in self.methods] or [0])
        lines = [self.title, " " * (width + 12) + "".join(
            f"{bits:>8}" for bits in self.lengths)]
        lines += [f"{method:<{width}}  {whose:<10}" + "".join(f"{v:>8}" for v in values)
                  for method, whose, values in self.rows()]
        return "\n".join(lines + [self.order()] if self.order() else lines)

    def markdown(self):
        lines = [f"{self.title}\n", "| " + " | ".join(self.header()) + " |",
                 "|" + "---|" * len(self.header())]
        lines += ["| " + " | ".join([method, whose, *values]) + " |"
                  for method, whose, values in self.rows()]
        return "\n".join(lines) + "\n" + (f"\n{self.order()}\n" if self.order() else "")

    def html(self):
        cells = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in self.header())}</tr>"]
        for method, lines in itertools.groupby(self.rows(), key=lambda row: row[0]):
            lines = list(lines)
            name = f'<th rowspan="{len(lines)}">{html.escape(method)}</th>'
            for _, whose, values in lines:
                cells.append(f'<tr class="{whose}">{name}<td>{whose}</td>'
                             + "".join(f"<td>{value}</td>" for value in values) + "</tr>")
                name = ""
        return "\n".join([
            f"<h2>{html.escape(self.title)}</h2>",
            '<div class="wide"><table class="compared">', *cells, "</table></div>",
            f"<p>{html.escape(self.order())}</p>"])

    def order(self):
        """One sentence: the order of the methods that both have at the paper's length
        of curves; "" where that is fewer than two."""
        paper, ours = ({method: row[CURVES_AT] for method, row in rows.items()
                        if CURVES_AT in row} for rows in (self.printed.rows, self.ours))
        both = [method for method in paper if method in ours]
        if len(both) < 2:
            return ""
        orders = [" > ".join(sorted(both, key=values.get, reverse=True))
                  for values in (paper, ours)]
        if orders[0] == orders[1]:
            return f"Order at {CURVES_AT} bits, the same as the paper's: {orders[0]}."
        return f"Order at {CURVES_AT} bits: paper {orders[0]}; ours {orders[1]}."


def read_results(paths):
    """Results as tools/evaluate.py writes them: those that can stand beside the paper's.

    Parameters
    ----------
    paths : list of path
        Of two results of the same data set, source, method and length the later counts.

    Returns
    -------
    (results, skipped) : dict of (dataset, source, method, bits) to the result; and a
    sentence for each file that is left out: no result, of another protocol or split,
    with MAP within other ranks, or with a note, which says that it is out of the ordinary.
    """
    results, skipped = {}, []
    for path in paths:
        try:
            result = evaluation.read_result(path)
        except UserError as error:
            skipped.append(str(error))
            continue
        key = result["dataset"], result["source"], result["method"], result["bits"]
        split = result["protocol"], result["seed"]
        if split != ("paper", 0):
            skipped.append(f"{path} is of protocol {split[0]}, split seed {split[1]}")
        elif result.get("top") != evaluation.TOP.get(result["dataset"]):
            skipped.append(f"{path} has MAP within other ranks than the paper's (--top)")
        elif result["note"]:
            skipped.append(f"{path} has a note: {result['note']}")
        else:
            results[key] = result
    return results, skipped


def tables(dataset, results):
    """The printed tables of a data set, with ours; once for each source of images.

    Parameters
    ----------
    dataset : str
    results : dict, as :func:`read_results` returns it

    Returns
    -------
    list of Table
    """
    made = []
    for source in sources(dataset, results) or [""]:
        for printed in published.TABLES:
            if printed.dataset != dataset:
                continue
            ours = {}
            for method, bits, result in of_source(dataset, source, results):
                stands = method in printed.rows or (
                    printed.open and method not in published.ABLATIONS)
                if stands:
                    ours.setdefault(method, {})[bits] = float(result[printed.measure])
            made.append(Table(printed, source, ours))
    return made


def sources(dataset, results):
    """What our results on a data set were measured on."""
    return sorted({key[1] for key in results if key[0] == dataset})


def of_source(dataset, source, results):
    """(method, bits, result) of our results, sorted."""
    return [(*key[2:], result) for key, result in sorted(results.items(), key=lambda r: r[0])
            if key[:2] == (dataset, source)]


def spreads(dataset, results, seeds):
    """What was trained from several seeds: a sentence each, with mean and range.

    Parameters
    ----------
    dataset : str
    results : dict, as :func:`read_results` returns it
    seeds : list of such dicts
        Of trainings that differ from those of ``results`` in their seed alone.
    """
    sentences = []
    for source in sources(dataset, results):
        for method, bits, result in of_source(dataset, source, results):
            key = dataset, source, method, bits
            trained = [result, *(other[key] for other in seeds if key in other)]
            if len(trained) == 1:
                continue
            said = []
            for measure, name in MEASURES.items():
                values = [training[measure] for training in trained]
                said.append(f"{name} {statistics.fmean(values):.3f} "
                            f"({min(values):.3f} to {max(values):.3f})")
            sentences.append(f"{method}, {bits} bits, {source}; mean (and range) of "
                             f"{len(trained)} training seeds: {', '.join(said)}.")
    return sentences


def figures(dataset, source, results):
    """The paper's figures 5 to 8 of our results, by name.

    Returns
    -------
    dict of name to matplotlib figure; those that there is nothing for are left out
    """
    radius, recall, top, encode = {}, [], [], []
    for method, bits, result in of_source(dataset, source, results):
        if method not in published.ABLATIONS:
            radius.setdefault(method, ([], []))
            radius[method][0].append(bits)
            radius[method][1].append(result["precision_radius2"])
        if bits != CURVES_AT:
            continue
        returned = (method, [int(n) for n in result["precision_at"]],
                    list(result["precision_at"].values()))
        if method in ("DNNH", "DNNH (fc)"):
            encode.append(returned)
        if method in published.ABLATIONS:
            continue
        curve = result["pr_curve"]
        seen = [i for i, r in enumerate(curve["recall"]) if r > 0]
        recall.append((method, *([curve[axis][i] for i in seen]
                                 for axis in ("recall", "precision"))))
        top.append(returned)
    drawn = {}
    if radius:
        drawn["precision_radius2"] = plots.precision_radius2(
            [(method, *values) for method, values in radius.items()], source)
    if recall:
        about = f"{source}, {CURVES_AT} bits"
        drawn["precision_recall"] = plots.precision_recall(recall, about)
        drawn["precision_at"] = plots.precision_at(top, about)
    if len(encode) == 2:
        drawn["divide_and_encode"] = plots.precision_at(
            encode, f"{about}: DEM and FC")
    return drawn


def csv_text(compared):
    """Tables as CSV: a line for each value that there is."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("table", "dataset", "source", "measure", "method", "whose", "bits",
                     "value"))
    for table in compared:
        for method, whose, values in table.rows():
            writer.writerows(
                (table.printed.name, table.printed.dataset, table.source,
                 table.printed.measure, method, whose, bits, value)
                for bits, value in zip(table.lengths, values) if value)
    return file.getvalue()


_STYLE = """
.wide { overflow-x: auto; }
table.compared { border-collapse: collapse; font-variant-numeric: tabular-nums; }
table.compared td { padding: .1rem .9rem .1rem 0; text-align: right; color: #555; }
table.compared th { padding: .1rem .9rem .1rem 0; text-align: left; vertical-align: top; }
table.compared th[rowspan] { border-top: 1px solid #ddd; }
table.compared tr:has(th[rowspan]) td { border-top: 1px solid #ddd; }
tr.ours td { color: #1b1b1b; font-weight: 600; }
"""


def page(dataset, compared, drawn, repeated):
    """One self-contained HTML page.

    Parameters
    ----------
    dataset : str
    compared : list of Table
    drawn : list of (name, matplotlib figure)
    repeated : list of str, as :func:`spreads` returns it

    Returns
    -------
    str
    """
    parts = [f"<h1>{html.escape(dataset)}: the papers' figures, and ours</h1>",
             '<p class="about">A cell is empty where nobody has measured.</p>',
             '<div class="plots">', *(report.picture(name, figure) for name, figure in drawn), "</div>",
             *(table.html() for table in compared),
             *(f"<p>{html.escape(sentence)}</p>" for sentence in repeated)]
    return report.document(f"{dataset}: comparison", parts, _STYLE)

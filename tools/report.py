"""The papers' tables and figures, with ours beside them.

  python tools/report.py                      CIFAR-10
  python tools/report.py --dataset mnist
  python tools/report.py --released           the committed results alone

Ours are those that models/README.md describes (models/results/*.json) and your own
(results/*/result.json), all by tools/evaluate.py and tools/baselines.py; of two of the
same data, method and length your own counts, and the newest of them. Prints the tables
and writes results/comparison_<dataset>.html, one page with all of it, and the same as
.md, .csv and a folder of figures.
"""

import argparse

from dnnh import comparison, errors, paths, plots, published


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10",
                        choices=sorted({table.dataset for table in published.TABLES}))
    parser.add_argument("--released", action="store_true",
                        help="leave your own results out")
    arguments = parser.parse_args()

    found = sorted((paths.MODELS / "results").glob("*.json"))
    if not arguments.released:
        found += sorted(paths.RESULTS.glob("*/result.json"),
                        key=lambda path: path.stat().st_mtime)
    results, skipped = comparison.read_results(found)
    for sentence in skipped:
        print(f"left out: {sentence}")
    if not comparison.sources(arguments.dataset, results):
        print(f"no result of ours yet: python tools/evaluate.py --dataset {arguments.dataset}")
    tables = comparison.tables(arguments.dataset, results)
    for table in tables:
        print(table.text() + "\n")
    print(f"{write(arguments.dataset, tables, results)}, and beside it .md, .csv and figures")


def write(dataset, tables, results):
    """Everything of it, to results/; returns the path of the page."""
    figures = {"comparison": plots.comparison([t for t in tables if t.printed.open])}
    for source in comparison.sources(dataset, results):
        for name, figure in comparison.figures(dataset, source, results).items():
            place = "".join(c if c.isalnum() else "_" for c in source)
            figures[f"{name}_{place}"] = figure
    stem = paths.RESULTS / f"comparison_{dataset}"
    for suffix, text in (
            (".html", comparison.page(dataset, tables, list(figures.items()))),
            (".md", "\n".join(table.markdown() for table in tables)),
            (".csv", comparison.csv_text(tables))):
        with paths.written_whole(stem.with_suffix(suffix)) as partial:
            partial.write_text(text)
    with paths.files_written_whole(stem) as partial:
        for name, figure in figures.items():
            figure.savefig(partial / f"{name}.png", dpi=160)
            figure.savefig(partial / f"{name}.pdf")
    return stem.with_suffix(".html")


if __name__ == "__main__":
    errors.run(main)

"""The papers' tables and figures, with ours beside them.

  python tools/report.py                      CIFAR-10
  python tools/report.py --dataset mnist
  python tools/report.py --released           the committed results alone

Ours are those that models/README.md describes (models/results/*.json) and your own
(results/*/result.json), all by tools/evaluate.py and tools/baselines.py; of two of the
same data, method and length your own counts, and the newest of them. What was released
and trained from other seeds, too (models/results/seeds/*.json), has its mean and range
below. Prints the tables and writes results/comparison_<dataset>.html, one page with all
of it, and the same as .md, .csv and a folder of figures.
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

    released, skipped = comparison.read_results(
        sorted((paths.MODELS / "results").glob("*.json")))
    own, own_skipped = comparison.read_results([] if arguments.released else sorted(
        paths.RESULTS.glob("*/result.json"), key=lambda path: path.stat().st_mtime))
    results = released | own
    for sentence in skipped + own_skipped:
        print(f"left out: {sentence}")
    if not comparison.sources(arguments.dataset, results):
        print(f"no result of ours yet: python tools/evaluate.py --dataset {arguments.dataset}")
    tables = comparison.tables(arguments.dataset, results)
    for table in tables:
        print(table.text() + "\n")
    seeds = sorted((paths.MODELS / "results/seeds").glob("*.json"))
    repeated = comparison.spreads(
        arguments.dataset, released,
        [comparison.read_results([path])[0] for path in seeds])
    for sentence in repeated:
        print(sentence + "\n")
    page = write(arguments.dataset, tables, results, repeated)
    print(f"{page}, and beside it .md, .csv and figures")


def write(dataset, tables, results, repeated):
    """Everything of it, to results/; returns the path of the page."""
    figures = {"comparison": plots.comparison([t for t in tables if t.printed.open])}
    for source in comparison.sources(dataset, results):
        for name, figure in comparison.figures(dataset, source, results).items():
            place = "".join(c if c.isalnum() else "_" for c in source)
            figures[f"{name}_{place}"] = figure
    stem = paths.RESULTS / f"comparison_{dataset}"
    for suffix, text in (
            (".html", comparison.page(dataset, tables, list(figures.items()), repeated)),
            (".md", "\n".join([*(table.markdown() for table in tables),
                               *(f"{sentence}\n" for sentence in repeated)])),
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

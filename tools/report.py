"""The papers' tables and figures, with our results beside them.

  python tools/report.py                      CIFAR-10
  python tools/report.py --dataset mnist
  python tools/report.py --released           the committed results alone

Ours are the results that models/README.md describes (models/results/*.json) and your own
(results/*/result.json), all by tools/evaluate.py and tools/baselines.py. If two have the same
data, method, schedule and length, your own counts; of your own, the newest. Nets that were also
trained with other seeds (models/results/seeds/*.json) have their mean and range below.
Prints the tables and writes results/comparison_<dataset>.html, one page with all of it,
and the same as .md, .csv and a folder of figures. docs/reproducing.md shows one of them:

  python tools/report.py --released
  cp results/comparison_cifar10/comparison.png docs/cifar10.png
"""

import pathlib
from collections.abc import Sequence

from dnnh import atomic_files, cli, errors, pages, paths
from dnnh.evaluation import comparison, plots, published
from dnnh.evaluation.comparison import Results
from dnnh.evaluation.comparison_table import ComparisonTable, csv_text


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--dataset",
        default="cifar10",
        choices=sorted({table.dataset for table in published.TABLES}),
        help="(default: cifar10)",
    )
    parser.add_argument("--released", action="store_true", help="leave your own results out")
    arguments = parser.parse_args()
    dataset = arguments.dataset

    committed = sorted((paths.MODELS / "results").glob("*.json"))
    released, skipped = comparison.read_results(committed)
    results = dict(released)
    if not arguments.released:
        own = sorted(paths.RESULTS.glob("*/result.json"), key=lambda path: path.stat().st_mtime)
        own_results, own_skipped = comparison.read_results(own)
        results |= own_results
        skipped += own_skipped
    for sentence in skipped:
        print(f"skipped: {sentence}")
    if not comparison.sources(dataset, results):
        print(f"no result of ours yet: python tools/evaluate.py --dataset {dataset}")
    seeds = sorted((paths.MODELS / "results/seeds").glob("*.json"))
    others = [comparison.read_results([path], any_seed=True)[0] for path in seeds]
    tables = comparison.tables(dataset, results, comparison.of_seeds(released, others))
    for table in tables:
        print(table.text() + "\n")
    spreads = comparison.spreads(dataset, released, others)
    for sentence in spreads:
        print(sentence + "\n")
    page = write(dataset, tables, results, spreads)
    print(f"{page}, and beside it .md, .csv and figures")


def write(
    dataset: str, tables: Sequence[ComparisonTable], results: Results, spreads: Sequence[str]
) -> pathlib.Path:
    """Write page, Markdown, CSV and figures to results/; returns the path of the page."""
    drawn = comparison.figures_by_length(tables)
    for source in comparison.sources(dataset, results):
        drawn |= comparison.figures(dataset, source, results)
    paragraphs = [table.markdown() for table in tables] + [f"{spread}\n" for spread in spreads]
    texts = {
        ".html": comparison.page(dataset, tables, drawn, spreads),
        ".md": "\n".join(paragraphs),
        ".csv": csv_text(tables),
    }
    stem = paths.RESULTS / f"comparison_{dataset}"
    for suffix, text in texts.items():
        atomic_files.write_text(stem.with_suffix(suffix), text)
    if in_one := comparison.with_curves(tables):
        drawn["comparison"] = plots.comparison(in_one)
    obsolete = [path.name for path in stem.glob("*") if path.suffix in (".png", ".pdf")]
    with atomic_files.write_files_atomically(stem, obsolete) as partial:
        for name, plot in drawn.items():
            for suffix in ("png", "pdf"):
                path = partial / f"{name}.{suffix}"
                path.write_bytes(pages.figure_bytes(plot.figure, suffix))
    return stem.with_suffix(".html")


if __name__ == "__main__":
    errors.run(main)

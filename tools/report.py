"""Print the figures of the paper's tables with ours beside them.

  python tools/report.py                      CIFAR-10
  python tools/report.py --all                with every method the paper compares with
  python tools/report.py --released           the committed results alone

Ours are those of the trainings that models/README.md describes (models/results/*.json)
and your own (results/*/result.json), all by tools/evaluate.py; of two of the same data,
method and length your own counts, and the newest of them. Writes
results/comparison_<dataset>.md and a plot, .png.
"""

import argparse

from dnnh import comparison, errors, paths, plots, published


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10",
                        choices=sorted(published.MAP))
    parser.add_argument("--all", action="store_true",
                        help="methods too of which there is no result of ours")
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
    if not any(key[0] == arguments.dataset for key in results):
        print(f"no result of ours yet: python tools/evaluate.py --dataset {arguments.dataset}")
    tables = comparison.tables(arguments.dataset, results)
    if not arguments.all:
        tables = [comparison.with_ours_alone(table) for table in tables]
    for table in tables:
        print(table.text() + "\n")
    stem = paths.RESULTS / f"comparison_{arguments.dataset}"
    with paths.written_whole(stem.with_suffix(".md")) as partial:
        partial.write_text("\n".join(table.markdown() for table in tables))
    with paths.written_whole(stem.with_suffix(".png")) as partial:
        plots.comparison(tables).savefig(partial, format="png", dpi=120)
    print(f"{stem.with_suffix('.md')} and .png")


if __name__ == "__main__":
    errors.run(main)

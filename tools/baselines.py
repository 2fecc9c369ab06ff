"""Fit a method that hashes vectors, code a data set with it, measure.

  python tools/baselines.py --method itq --dataset cifar10 --bits 48
  python tools/baselines.py --method all --bits 12 24 32 48      skips what is done
  python tools/baselines.py --method ksh --features features.npy

Methods learn from the split that the nets learn from: supervised ones from its
training images, the others from the whole database. Writes what tools/evaluate.py
writes, to the same place.
"""

import argparse
import pathlib
import time

from dnnh import codes, datasets, errors, evaluation, features, report, splits
from dnnh.baselines import METHODS


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", nargs="+", required=True, metavar="METHOD",
                        choices=[*METHODS, "all"], help=", ".join([*METHODS, "all"]))
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--bits", type=int, nargs="+", default=[48])
    parser.add_argument("--features", default="gist",
                        help=f"{', '.join(features.KINDS)}, or a file with one row for each "
                        "image, .npy or HDF5 (default: gist)")
    parser.add_argument("--seed", type=int, default=0, help="of the method")
    parser.add_argument("--force", action="store_true", help="do again what is done")
    arguments = parser.parse_args()

    names = list(METHODS) if "all" in arguments.method else arguments.method
    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset)
    vectors = None
    for bits in arguments.bits:
        for name in names:
            method = METHODS[name](bits, arguments.seed)
            title = method.name
            if arguments.features != "gist":
                title += f" ({pathlib.Path(arguments.features).stem})"
            about = {"dataset": dataset.name, "method": title, "bits": bits,
                     "protocol": split.protocol, "seed": split.seed}
            folder = evaluation.folder_of(about)
            if (folder / "result.json").exists() and not arguments.force:
                print(f"{title}, {bits} bits: done before, {folder}")
                continue
            if vectors is None:
                vectors = features.load(arguments.features, dataset)
            start = time.perf_counter()
            rows = split.training if method.supervised else split.database
            method.fit(vectors[rows], dataset.labels[rows])
            coded = codes.Codes(
                method.encode(vectors[split.queries]), method.encode(vectors[split.database]),
                dataset.labels[split.queries], dataset.labels[split.database],
                query_ids=split.queries, database_ids=split.database,
                source=dataset.source, **about)
            result = evaluation.measure(coded, {
                "source": coded.source, "protocol": coded.protocol, "note": "",
                "features": arguments.features, "method_seed": arguments.seed,
                "fit_seconds": time.perf_counter() - start})
            print(report.summary(result))
            print(f"  learnt and coded in {result['fit_seconds']:.1f} s: "
                  f"{evaluation.write(coded, result, dataset)}")


if __name__ == "__main__":
    errors.run(main)

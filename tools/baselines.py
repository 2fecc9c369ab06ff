"""Fit a method that hashes vectors, code a data set with it, measure.

  python tools/baselines.py --method itq --dataset cifar10 --bits 48
  python tools/baselines.py --method all --bits 12 24 32 48      skips what is done
  python tools/baselines.py --method ksh --features features.npy

Methods learn from the split that the nets learn from: supervised ones from its
training images, the others from the whole database. Writes what tools/evaluate.py
writes, to the same place. What a method cannot do is said, and the others go on.
"""

import argparse
import pathlib
import time

from dnnh import codes, datasets, errors, evaluation, features, report, splits
from dnnh.baselines import METHODS
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", nargs="+", required=True, metavar="METHOD",
                        choices=[*METHODS, "all"], help=", ".join([*METHODS, "all"]))
    parser.add_argument("--dataset", default="cifar10", help="(default: cifar10)")
    parser.add_argument("--bits", type=int, nargs="+", default=[48],
                        help="lengths of the codes (default 48)")
    parser.add_argument("--features", default="gist",
                        help=f"{', '.join(features.KINDS)}, or a file with one row for each "
                        "image, .npy or HDF5 (default: gist)")
    parser.add_argument("--seed", type=int, default=0, help="of the method")
    parser.add_argument("--top", type=int, help="MAP within the first so many (default: "
                        "5000 with NUS-WIDE, else all)")
    parser.add_argument("--force", action="store_true", help="do again what is done")
    arguments = parser.parse_args()

    names = list(METHODS) if "all" in arguments.method else arguments.method
    methods = [METHODS[name](bits, arguments.seed)
               for bits in arguments.bits for name in names]
    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset)
    vectors, failed = None, []
    for method in methods:
        about = {"dataset": dataset.name, "method": title_of(method, arguments),
                 "bits": method.bits, "protocol": split.protocol, "seed": split.seed}
        said = f"{about['method']}, {method.bits} bits"
        folder = evaluation.folder_of(about)
        if is_done(folder / "result.json", dataset, arguments) and not arguments.force:
            print(f"{said}: done before, {folder}")
            continue
        if vectors is None:
            vectors = features.load(arguments.features, dataset)
        try:
            run(method, vectors, dataset, split, about, arguments)
        except UserError as error:
            print(f"{said}: not done")
            failed.append(f"{said}: {error}")
    if failed:
        raise UserError("; ".join(failed))


def title_of(method, arguments):
    """The method's name in results: with the features and the seed, if unusual."""
    unusual = ([pathlib.Path(arguments.features).stem] if arguments.features != "gist"
               else []) + ([f"seed {arguments.seed}"] if arguments.seed else [])
    return f"{method.name} ({', '.join(unusual)})" if unusual else method.name


def is_done(path, dataset, arguments):
    """Whether this very thing was done: not with other features under the same name,
    from another copy of the images, or with MAP within another top."""
    try:
        before = evaluation.read_result(path)
    except UserError:
        return False
    return (before.get("features"), before["source"], before.get("top")) == (
        arguments.features, dataset.source, evaluation.top_of(dataset.name, arguments.top))


def run(method, vectors, dataset, split, about, arguments):
    """Fit, encode, measure, write."""
    start = time.perf_counter()
    rows = split.training if method.supervised else split.database
    method.fit(vectors[rows], dataset.labels[rows])
    coded = codes.Codes(
        method.encode(vectors[split.queries]), method.encode(vectors[split.database]),
        dataset.labels[split.queries], dataset.labels[split.database],
        query_ids=split.queries, database_ids=split.database,
        source=dataset.source, **about)
    seconds = time.perf_counter() - start
    result = evaluation.measure(coded, {
        "source": coded.source, "protocol": coded.protocol, "note": "",
        "features": arguments.features, "method_seed": arguments.seed,
        "fit_seconds": seconds}, arguments.top)
    print(report.summary(result))
    print(f"  learnt and coded in {seconds:.1f} s: "
          f"{evaluation.write(coded, result, dataset)}")


if __name__ == "__main__":
    errors.run(main)

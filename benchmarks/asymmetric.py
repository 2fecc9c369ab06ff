"""What ordering by asymmetric distance gains over Hamming distance, on a released net.

  python benchmarks/asymmetric.py
  python benchmarks/asymmetric.py --methods dnnh_plus --bits 48

1,000 images of CIFAR-10's database are ranked among 20,000 others of it. None was trained on or is
a query of the protocol. Equal distances are in random order.
"""

import numpy as np
from tqdm import tqdm

from dnnh import cli, errors
from dnnh.data import datasets, splits
from dnnh.evaluation import metrics
from dnnh.nets import caffe_encoder, encoder

import harness

QUERIES, DATABASE = 1_000, 20_000
TOP = 100


def main():
    parser = cli.parser(__doc__)
    parser.add_argument("--methods", nargs="+", default=["dnnh", "dnnh_plus"])
    parser.add_argument("--bits", nargs="+", type=int, default=[12, 24, 32, 48])
    arguments = parser.parse_args()
    dataset = datasets.load("cifar10")
    split = splits.load_split(dataset)
    others = np.setdiff1d(split.database, split.training)
    rows = np.random.default_rng(0).permutation(others)[: QUERIES + DATABASE]
    results = {}
    for method in arguments.methods:
        for bits in arguments.bits:
            results[f"{method}, {bits}"] = measure(method, bits, dataset, rows)
    columns = [
        "net, bits",
        "MAP, Hamming",
        "MAP, Hamming, ties by asymmetric distance",
        "MAP, asymmetric",
        f"precision@{TOP}, Hamming",
        f"precision@{TOP}, asymmetric",
    ]
    table = [[f"`{name}`", *(f"{value:.3f}" for value in of)] for name, of in results.items()]
    harness.publish("asymmetric", harness.table(columns, table), results)


def measure(method, bits, dataset, rows):
    """The figures of one net, in the order of the table's columns."""
    net = caffe_encoder.CaffeEncoder(*harness.released(method, bits))
    relaxed = np.concatenate(
        [
            net.unrounded_outputs(dataset.images[rows[i : i + encoder.BATCH]])
            for i in tqdm(
                range(0, len(rows), encoder.BATCH), desc=f"{method}, {bits}", unit="batch"
            )
        ]
    )
    return figures(relaxed, dataset.labels[rows], QUERIES)


def figures(relaxed, labels, count):
    """MAP by Hamming distance, with ties by asymmetric distance, and by asymmetric distance;
    precision@TOP of the first and the last. The first so many images are the queries."""
    codes = (relaxed > 0.5).astype(np.float32)
    of_queries, of_database = codes[:count], codes[count:]
    costs = np.abs(2 * relaxed[:count] - 1)
    precision, mean = np.zeros(2), np.zeros(3)
    for query in range(count):
        differs = of_database != of_queries[query]
        hamming, asymmetric = differs.sum(axis=1), differs @ costs[query]
        relevant = labels[count:] == labels[query]
        # The images are in random order already.
        ordered = np.lexsort((asymmetric, hamming))
        rankings = [
            np.argsort(hamming, kind="stable"),
            ordered,
            np.argsort(asymmetric, kind="stable"),
        ]
        mean += [metrics.average_precision(relevant[ranking]) for ranking in rankings]
        precision += [relevant[ranking[:TOP]].mean() for ranking in rankings[::2]]
    return [*(mean / count), *(precision / count)]


if __name__ == "__main__":
    errors.run(main)

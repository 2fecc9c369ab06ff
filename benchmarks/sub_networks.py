"""How far the two sub-networks of a net agree about the bits, by the codes of an evaluation.

  python tools/evaluate.py --method dnnh_two_towers --schedule short --bits 48
  python benchmarks/sub_networks.py results/cifar10_dnnh_two_towers_paper_48bit/codes.h5

Queries are encoded by one sub-network, the database by the other (Lai et al., CVPR 2015, section
4.4). A bit means the same to both where its means over the images of a class correlate over the
classes.
"""

import numpy as np

from dnnh import cli, errors, packed_codes
from dnnh.errors import UserError
from dnnh.evaluation import codes as codes_files
from dnnh.evaluation import ranking

SAME = 0.5  # correlation, above which


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("codes", type=cli.path, help="a codes file of tools/evaluate.py")
    path = parser.parse_args().codes
    codes = codes_files.load(path)
    if codes.query_labels.ndim > 1:
        raise UserError(f"{path} has images of several labels; this is for one of each")
    if not np.array_equal(np.unique(codes.query_labels), np.unique(codes.database_labels)):
        raise UserError(f"queries and database of {path} have different classes")
    query, database = (
        class_means(packed_codes.unpack(packed, codes.bits), labels)
        for packed, labels in (
            (codes.query_codes, codes.query_labels),
            (codes.database_codes, codes.database_labels),
        )
    )
    same, opposed, apart = agreement(query, database)
    nearest = np.concatenate(
        [
            block.min(axis=1)
            for _, block in ranking.distances(codes.query_codes, codes.database_codes)
        ]
    )
    for what, value in (
        (f"bits that mean the same to both (correlation above {SAME})", same),
        (f"bits that are opposed (below -{SAME})", opposed),
        ("bits on which the two disagree about a class, mean of the classes", f"{apart:.1f}"),
        ("nearest image of the database, median distance", f"{np.median(nearest):g}"),
        ("nearest image of the database, least distance", nearest.min()),
    ):
        print(f"{what}: {value}")


def class_means(bits, labels):
    """The mean of each bit over the images of a class: float64 array of shape (classes, q)."""
    return np.array([bits[labels == label].mean(axis=0) for label in np.unique(labels)])


def agreement(query, database):
    """How many bits mean the same and how many are opposed; and of how many, in the mean of the
    classes, the majority differs. Arguments as of :func:`class_means`."""
    centered = [means - means.mean(axis=0) for means in (query, database)]
    norms = np.prod([np.linalg.norm(means, axis=0) for means in centered], axis=0)
    correlation = np.prod(centered, axis=0).sum(axis=0) / np.maximum(norms, 1e-12)
    differ = (query > 0.5) != (database > 0.5)
    same, opposed = (correlation > SAME).sum(), (correlation < -SAME).sum()
    return int(same), int(opposed), float(differ.sum(axis=1).mean())


if __name__ == "__main__":
    errors.run(main)

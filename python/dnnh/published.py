"""The figures that the two papers print, to stand beside ours.

Lai, Pan, Liu, Yan, CVPR 2015 (arXiv 1504.03410), tables 2 to 5, as printed there: MAP
over the whole ranking (NUS-WIDE: its top 5,000), protocol `paper`. Do, Doan, Cheung,
ECCV 2016 (BDNN), as a review of it repeats them.
"""

import dataclasses

LENGTHS = (12, 24, 32, 48)     # bits, for each row's four figures of the first paper

# Data set, then method; the two ablations are of tables 3 to 5.
_MAP = {
    "cifar10": {
        "DNNH": (0.552, 0.566, 0.558, 0.581),
        "DNNH (fc)": (0.465, 0.497, 0.489, 0.485),
        "DNNH (two)": (0.467, 0.494, 0.477, 0.515),
        "CNNH*": (0.484, 0.476, 0.472, 0.489),
        "CNNH": (0.439, 0.511, 0.509, 0.522),
        "KSH": (0.303, 0.337, 0.346, 0.356),
        "ITQ-CCA": (0.264, 0.282, 0.288, 0.295),
        "MLH": (0.182, 0.195, 0.207, 0.211),
        "BRE": (0.159, 0.181, 0.193, 0.196),
        "SH": (0.131, 0.135, 0.133, 0.130),
        "ITQ": (0.162, 0.169, 0.172, 0.175),
        "LSH": (0.121, 0.126, 0.120, 0.120),
    },
    "svhn": {
        "DNNH": (0.899, 0.914, 0.925, 0.923),
        "DNNH (fc)": (0.887, 0.896, 0.909, 0.912),
        "CNNH*": (0.897, 0.903, 0.904, 0.896),
        "KSH": (0.469, 0.539, 0.563, 0.581),
        "ITQ-CCA": (0.428, 0.488, 0.489, 0.509),
        "MLH": (0.147, 0.247, 0.261, 0.273),
        "BRE": (0.165, 0.206, 0.230, 0.237),
        "SH": (0.140, 0.138, 0.141, 0.140),
        "ITQ": (0.127, 0.132, 0.135, 0.139),
        "LSH": (0.110, 0.122, 0.120, 0.128),
    },
    "nuswide": {
        "DNNH": (0.674, 0.697, 0.713, 0.715),
        "DNNH (fc)": (0.623, 0.673, 0.682, 0.691),
        "DNNH (two)": (0.640, 0.686, 0.688, 0.697),
        "CNNH*": (0.617, 0.663, 0.657, 0.688),
        "CNNH": (0.611, 0.618, 0.625, 0.608),
        "KSH": (0.556, 0.572, 0.581, 0.588),
        "ITQ-CCA": (0.435, 0.435, 0.435, 0.435),
        "MLH": (0.500, 0.514, 0.520, 0.522),
        "BRE": (0.485, 0.525, 0.530, 0.544),
        "SH": (0.433, 0.426, 0.426, 0.423),
        "ITQ": (0.452, 0.468, 0.472, 0.477),
        "LSH": (0.403, 0.421, 0.426, 0.441),
    },
}

_PRECISION_RADIUS2 = {
    "cifar10": {
        "DNNH": (0.527, 0.615, 0.602, 0.625),
        "DNNH (two)": (0.450, 0.564, 0.549, 0.588),
    },
    "nuswide": {
        "DNNH": (0.623, 0.686, 0.710, 0.714),
        "DNNH (two)": (0.579, 0.664, 0.696, 0.704),
    },
}


@dataclasses.dataclass(frozen=True)
class PrintedTable:
    """A table of a paper, or what corresponds to one of its figures.

    ``rows`` is a dict of method to dict of bits to value, methods named as in our
    results. ``open`` says that all methods of ours stand in it, printed or not.
    """

    name: str
    dataset: str
    measure: str               # of a result: "map" or "precision_radius2"
    rows: dict
    open: bool = False
    note: str = ""


def _rows(printed, *methods):
    return {method: dict(zip(LENGTHS, printed[method])) for method in methods}


ABLATIONS = ("DNNH (fc)", "DNNH (two)")


def _tables():
    """All of them, in the papers' order."""
    for dataset, printed in _MAP.items():
        yield PrintedTable("Table 2", dataset, "map", _rows(
            printed, *(method for method in printed if method not in ABLATIONS)), open=True)
    for dataset, printed in _MAP.items():
        yield PrintedTable("Table 3", dataset, "map", _rows(printed, "DNNH", "DNNH (fc)"),
                           note="divide-and-encode against a fully connected layer")
    for number, (dataset, printed) in enumerate(_PRECISION_RADIUS2.items(), 4):
        note = "one sub-network against two"
        yield PrintedTable(f"Table {number}", dataset, "map",
                           _rows(_MAP[dataset], "DNNH", "DNNH (two)"), note=note)
        yield PrintedTable(f"Table {number}", dataset, "precision_radius2",
                           _rows(printed, "DNNH", "DNNH (two)"), note=note)
    for dataset, number in (("svhn", 5), ("cifar10", 6), ("nuswide", 7)):
        printed = _PRECISION_RADIUS2.get(dataset, {})
        yield PrintedTable(f"Figure {number}a", dataset, "precision_radius2",
                           _rows(printed, *printed), open=True,
                           note="printed as curves; as numbers in the tables alone")
    # That paper's methods see features of a network trained on other images; ours too, if
    # `tools/baselines.py --features deep.npy` is given such.
    yield PrintedTable(
        "BDNN", "cifar10", "map", {
            "SH-BDNN (deep)": {8: 0.5412, 32: 0.6962}, "SDH (deep)": {8: 0.3160, 32: 0.6763},
            "KSH (deep)": {32: 0.6576}, "BRE (deep)": {8: 0.2384, 32: 0.4489}},
        note="of deep features; its own protocol")
    yield PrintedTable(
        "BDNN", "mnist", "precision_radius2", {
            "SH-BDNN (pixels)": {32: 0.9551}, "SDH (pixels)": {32: 0.9443}}, open=True,
        note="of raw pixels; its own protocol")
    yield PrintedTable("BDNN", "mnist", "map", {}, open=True, note="printed as curves")


TABLES = tuple(_tables())

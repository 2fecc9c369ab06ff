"""The values that the two papers print, to compare ours with.

Lai, Pan, Liu, Yan, CVPR 2015 (arXiv 1504.03410), tables 2 to 5, as printed there: MAP
over the whole ranking (NUS-WIDE: its top 5,000), protocol `paper`. Do, Doan, Cheung,
ECCV 2016 (BDNN), as a review of it repeats them.
"""

import dataclasses
from collections.abc import Iterable, Iterator

LENGTHS = (12, 24, 32, 48)  # bits, of each row's four values in the first paper

# Data set, then method; the two ablations are of tables 3 to 5.
_MAP: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "dnnh": (0.552, 0.566, 0.558, 0.581),
        "dnnh_fc": (0.465, 0.497, 0.489, 0.485),
        "dnnh_two_towers": (0.467, 0.494, 0.477, 0.515),
        "cnnh_star": (0.484, 0.476, 0.472, 0.489),
        "cnnh": (0.439, 0.511, 0.509, 0.522),
        "ksh": (0.303, 0.337, 0.346, 0.356),
        "itq_cca": (0.264, 0.282, 0.288, 0.295),
        "mlh": (0.182, 0.195, 0.207, 0.211),
        "bre": (0.159, 0.181, 0.193, 0.196),
        "sh": (0.131, 0.135, 0.133, 0.130),
        "itq": (0.162, 0.169, 0.172, 0.175),
        "lsh": (0.121, 0.126, 0.120, 0.120),
    },
    "svhn": {
        "dnnh": (0.899, 0.914, 0.925, 0.923),
        "dnnh_fc": (0.887, 0.896, 0.909, 0.912),
        "cnnh_star": (0.897, 0.903, 0.904, 0.896),
        "ksh": (0.469, 0.539, 0.563, 0.581),
        "itq_cca": (0.428, 0.488, 0.489, 0.509),
        "mlh": (0.147, 0.247, 0.261, 0.273),
        "bre": (0.165, 0.206, 0.230, 0.237),
        "sh": (0.140, 0.138, 0.141, 0.140),
        "itq": (0.127, 0.132, 0.135, 0.139),
        "lsh": (0.110, 0.122, 0.120, 0.128),
    },
    "nuswide": {
        "dnnh": (0.674, 0.697, 0.713, 0.715),
        "dnnh_fc": (0.623, 0.673, 0.682, 0.691),
        "dnnh_two_towers": (0.640, 0.686, 0.688, 0.697),
        "cnnh_star": (0.617, 0.663, 0.657, 0.688),
        "cnnh": (0.611, 0.618, 0.625, 0.608),
        "ksh": (0.556, 0.572, 0.581, 0.588),
        "itq_cca": (0.435, 0.435, 0.435, 0.435),
        "mlh": (0.500, 0.514, 0.520, 0.522),
        "bre": (0.485, 0.525, 0.530, 0.544),
        "sh": (0.433, 0.426, 0.426, 0.423),
        "itq": (0.452, 0.468, 0.472, 0.477),
        "lsh": (0.403, 0.421, 0.426, 0.441),
    },
}

_PRECISION_RADIUS2: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "dnnh": (0.527, 0.615, 0.602, 0.625),
        "dnnh_two_towers": (0.450, 0.564, 0.549, 0.588),
    },
    "nuswide": {
        "dnnh": (0.623, 0.686, 0.710, 0.714),
        "dnnh_two_towers": (0.579, 0.664, 0.696, 0.704),
    },
}


ABLATIONS = ("dnnh_fc", "dnnh_two_towers")

Row = dict[int, float]  # bits to value


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """A table of a paper, or the values of one of its figures.

    Attributes
    ----------
    name : str
    dataset : str
    measure : str
        Of the metrics: "map" or "precision_radius2".
    rows : dict of method to dict of bits to value
        Methods are named as in our results.
    takes_all : bool
        Our methods that the paper does not print stand in the table, too; ablations do not.
    note : str, optional
    """

    name: str
    dataset: str
    measure: str
    rows: dict[str, Row]
    takes_all: bool = False
    note: str | None = None


def _rows(printed: dict[str, tuple[float, ...]], methods: Iterable[str]) -> dict[str, Row]:
    return {method: dict(zip(LENGTHS, printed[method])) for method in methods}


def _tables() -> Iterator[PrintedTable]:
    """All of them, in the papers' order."""
    for dataset, printed in _MAP.items():
        compared = [method for method in printed if method not in ABLATIONS]
        yield PrintedTable(
            name="Table 2",
            dataset=dataset,
            measure="map",
            rows=_rows(printed, compared),
            takes_all=True,
        )
    for dataset, printed in _MAP.items():
        yield PrintedTable(
            name="Table 3",
            dataset=dataset,
            measure="map",
            rows=_rows(printed, ("dnnh", "dnnh_fc")),
            note="divide-and-encode against a fully connected layer",
        )
    for number, dataset in ((4, "cifar10"), (5, "nuswide")):
        for measure, printed in (("map", _MAP), ("precision_radius2", _PRECISION_RADIUS2)):
            yield PrintedTable(
                name=f"Table {number}",
                dataset=dataset,
                measure=measure,
                rows=_rows(printed[dataset], ("dnnh", "dnnh_two_towers")),
                note="one sub-network against two",
            )
    for number, dataset in ((5, "svhn"), (6, "cifar10"), (7, "nuswide")):
        printed = _PRECISION_RADIUS2.get(dataset, {})
        yield PrintedTable(
            name=f"Figure {number}a",
            dataset=dataset,
            measure="precision_radius2",
            rows=_rows(printed, printed),
            takes_all=True,
            note="printed as curves; as numbers in the tables alone",
        )
    # That paper's methods hash features of a network trained on other images; ours do,
    # too, with `tools/baselines.py --features deep.npy`.
    yield PrintedTable(
        name="BDNN",
        dataset="cifar10",
        measure="map",
        rows={
            "sh_bdnn_deep": {8: 0.5412, 32: 0.6962},
            "sdh_deep": {8: 0.3160, 32: 0.6763},
            "ksh_deep": {32: 0.6576},
            "bre_deep": {8: 0.2384, 32: 0.4489},
        },
        note="of deep features; its own protocol",
    )
    yield PrintedTable(
        name="BDNN",
        dataset="cifar10",
        measure="map",
        rows={"sh_bdnn_deep": {32: 0.6622}, "drsch": {32: 0.6305}, "dsrh": {32: 0.6177}},
        note="beside deep methods; the protocol of those",
    )
    yield PrintedTable(
        name="BDNN",
        dataset="mnist",
        measure="precision_radius2",
        rows={"sh_bdnn_pixels": {32: 0.9551}, "sdh_pixels": {32: 0.9443}},
        takes_all=True,
        note="of raw pixels; its own protocol",
    )
    yield PrintedTable(
        name="BDNN",
        dataset="mnist",
        measure="map",
        rows={},
        takes_all=True,
        note="printed as curves",
    )


TABLES = tuple(_tables())

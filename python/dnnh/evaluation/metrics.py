"""Metrics of a Hamming ranking.

Definitions, for one query with R relevant items in the ranked list of n:

- **Average precision** is the mean, over the relevant items of the list, of the
  precision at their ranks: AP = (1 / R) sum over relevant ranks k of
  (relevant among the first k) / k. If only the first ``top`` items of the ranking
  count, the list is those items and R is the number of relevant ones among them. A
  query with R = 0 has AP 0; the number of such queries is reported.
- **Ties.** ``map`` keeps the order of the database after one fixed shuffle.
  ``map_tie_aware`` is the expectation of AP over all orders of equal distances
  (McSherry and Najork, "Computing information retrieval performance measures
  efficiently in the presence of tied scores", ECIR 2008).
- **Precision within Hamming radius 2** is the share of relevant items among those at
  distance 0, 1 or 2; 0 for a query that retrieves none.
- **precision_at** N is the share of relevant items among the first N.
- **pr_curve** is the mean recall and precision over queries of the items within each
  radius 0..q; precision is 0 where a radius retrieves nothing.

With bit weights the ranking, and so ``map``, ``map_tie_aware`` and ``precision_at``, is by
weighted Hamming distance. A radius is always one of Hamming distances.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh.errors import UserError
from dnnh.evaluation import ranking

PRECISION_AT = tuple(range(100, 1001, 100))
RADIUS = 2
SHUFFLE_SEED = 0


@dataclasses.dataclass(kw_only=True)
class PrecisionRecall:
    """Mean recall and precision over queries within each Hamming radius 0..q."""

    recall: list[float]
    precision: list[float]

    def above_zero_recall(self) -> "PrecisionRecall":
        """The points to draw: a radius that retrieves nothing relevant is not a point."""
        kept = [i for i, recall in enumerate(self.recall) if recall > 0]
        return PrecisionRecall(
            recall=[self.recall[i] for i in kept], precision=[self.precision[i] for i in kept]
        )


@dataclasses.dataclass(kw_only=True)
class Metrics:
    """The metrics of a ranking; the module's docstring defines them.

    :func:`evaluate` sets all of them. Those with a default of None are missing in some
    result files of earlier versions. In the order of the result file.

    Attributes
    ----------
    precision_at : dict of N to precision
    queries, database : int
        How many codes; ``database`` is without the query itself.
    top : int, or None
        MAP is within the first ``top`` items; None: of the whole ranking.
    map_random : float
        Expected MAP of a random ranking.
    relevant_share : float
        Mean share of relevant items in the database: the precision of a random ranking.
    queries_without_relevant : int
        Queries without any relevant item; their AP is 0.
    queries_without_radius2 : int
        Queries that retrieve nothing within radius 2; their precision there is 0.
    """

    queries: int | None = None
    database: int | None = None
    top: int | None = None
    map: float
    map_tie_aware: float | None = None
    precision_radius2: float
    precision_at: dict[int, float]
    pr_curve: PrecisionRecall
    map_random: float | None = None
    relevant_share: float | None = None
    queries_without_relevant: int | None = None
    queries_without_radius2: int | None = None


def relevance(
    query_labels: NDArray, database_labels: NDArray
) -> Callable[[int, int], NDArray[np.bool_]]:
    """Which database items are relevant to which queries.

    Parameters
    ----------
    query_labels, database_labels : int64 of shape (m,) and (n,): items with the same
        label are relevant; or uint8 multi-hot of shape (m, classes), (n, classes):
        items that share at least one label are relevant

    Returns
    -------
    function of (first, count): bool array of shape (count, n).
    """
    if query_labels.ndim == 1:
        # One byte per label if that is enough: memory traffic dominates the time here.
        kinds, indices = np.unique(
            np.concatenate([query_labels, database_labels]), return_inverse=True
        )
        if len(kinds) <= 256:
            indices = indices.astype(np.uint8)
        query, database = np.split(indices, [len(query_labels)])
        return lambda first, count: query[first : first + count, np.newaxis] == database
    database = database_labels.astype(np.float32).T
    return lambda first, count: (
        query_labels[first : first + count].astype(np.float32) @ database > 0
    )


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """AP of one ranked list; 0 if nothing is relevant.

    Parameters
    ----------
    relevant : bool array of shape (n,)
    """
    ranks = np.flatnonzero(relevant) + 1
    if not len(ranks):
        return 0.0
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def tie_aware_average_precision(
    items: NDArray[np.int64], hits: NDArray[np.int64], top: int | None = None
) -> NDArray[np.float64]:
    """Expected AP of each query over all orders of items at equal distance.

    Parameters
    ----------
    items : int array of shape (m, q + 1), how many items lie at each distance
    hits : int array of shape (m, q + 1), how many of those are relevant
    top : int, optional
        Count the first ``top`` items only.

    Returns
    -------
    float array of shape (m,).

    Notes
    -----
    Take a group of n items at one distance, r of them relevant, behind N nearer
    items with H relevant ones. Its place i = 1..n holds a relevant item with
    probability r / n, and given that, the i - 1 places before it hold
    (i - 1)(r - 1)/(n - 1) relevant ones in expectation. So the group adds

        (r / n) sum_i (H + 1 + (i - 1)(r - 1)/(n - 1)) / (N + i)
        = (r / n) ((H + 1) A + (r - 1)/(n - 1) (n - (N + 1) A)),

    A = 1/(N + 1) + ... + 1/(N + n), to the sum that is divided by R. If rank ``top``
    cuts a group, its first n' places count; they hold h relevant items with a
    hypergeometric probability, and given h the same formula holds with n' and h for n
    and r.
    """
    items_before = np.cumsum(items, axis=1) - items  # N, (m, q + 1)
    hits_before = np.cumsum(hits, axis=1) - hits  # H
    longest = max(1, items.sum(axis=1).max())
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, longest + 1))])

    def group_sum(n: Any, r: Any, before: Any, relevant_before: Any) -> Any:
        a = harmonic[before + n] - harmonic[before]
        pairs = (r - 1) / np.maximum(n - 1, 1)
        return r / np.maximum(n, 1) * ((relevant_before + 1) * a + pairs * (n - (before + 1) * a))

    sums = group_sum(items, hits, items_before, hits_before)
    if top is None:
        return sums.sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    whole = items_before + items <= top  # groups that lie within the first ``top``
    expected = np.zeros(len(items))
    for query in range(len(items)):
        total = sums[query, whole[query]].sum()
        relevant = hits[query, whole[query]].sum()
        beyond = np.flatnonzero(~whole[query])
        if not len(beyond) or items_before[query, beyond[0]] >= top:
            expected[query] = total / max(relevant, 1)
            continue
        cut = beyond[0]  # the one group that rank ``top`` cuts
        n, r, before = items[query, cut], hits[query, cut], items_before[query, cut]
        places = top - before
        h = np.arange(max(0, r - (n - places)), min(r, places) + 1)
        expected[query] = np.sum(
            scipy.stats.hypergeom.pmf(h, n, r, places)
            * (total + group_sum(places, h, before, relevant))
            / np.maximum(relevant + h, 1)
        )
    return expected


def _tie_aware(
    distances: NDArray[np.float32], relevant: NDArray[np.bool_], top: int | None
) -> float:
    """Tie-aware AP of one query: its distances, ascending, and which items are relevant."""
    starts = np.flatnonzero(np.diff(distances, prepend=-np.inf))
    items = np.diff(starts, append=len(distances))
    hits = np.add.reduceat(relevant.astype(np.int64), starts)
    return float(tie_aware_average_precision(items[np.newaxis], hits[np.newaxis], top)[0])


def evaluate(
    query_codes: NDArray[np.uint8],
    database_codes: NDArray[np.uint8],
    query_labels: NDArray,
    database_labels: NDArray,
    bits: int,
    top: int | None = None,
    query_rows: NDArray[np.int64] | None = None,
    bit_weights: NDArray[np.float32] | None = None,
    progress: bool = False,
) -> Metrics:
    """Rank the database for every query and measure the rankings.

    Parameters
    ----------
    query_codes, database_codes : uint8, packed codes of shape (m, bytes) and
        (n, bytes)
    query_labels, database_labels : see :func:`relevance`
    bits : int
        q, the length of the codes.
    top : int, optional
        MAP within the first ``top`` items only (NUS-WIDE: 5000).
    query_rows : int array of shape (m,), optional
        The row of each query in the database. It is excluded from its own ranking (when a
        set is ranked within itself).
    bit_weights : float32 array of shape (q,), optional
        Rank by weighted Hamming distance.
    progress : bool
        Show a progress bar.

    Raises
    ------
    UserError
        If there is no query, or nothing to rank.
    """
    shuffle = np.random.default_rng(SHUFFLE_SEED).permutation(len(database_codes))
    if query_rows is not None:
        query_rows = np.argsort(shuffle)[query_rows]  # after the shuffle
    database_codes, database_labels = database_codes[shuffle], database_labels[shuffle]
    is_relevant = relevance(query_labels, database_labels)
    length = len(database_codes) - (query_rows is not None)
    if length < 1 or not len(query_codes):
        raise UserError(
            f"{len(query_codes)} queries and {length} database codes: "
            "there must be at least one of each"
        )
    cutoffs = [n for n in PRECISION_AT if n <= length]
    items = np.zeros((len(query_codes), bits + 1), np.int64)  # at each distance, (m, q + 1)
    hits = np.zeros_like(items)  # relevant ones at each distance
    averages = np.zeros(len(items))  # AP
    tie_aware = np.zeros(len(items))
    weighted = bit_weights is not None and ranking.weighted_distances(database_codes, bit_weights)
    first_hits = np.zeros((len(items), len(cutoffs)))  # relevant ones among the first N
    with tqdm(total=len(items), unit=" queries", desc="ranking", disable=not progress) as bar:
        for first, block in ranking.distances(query_codes, database_codes):
            relevant = is_relevant(first, len(block))
            for row in range(len(block)):
                query = first + row
                distances, relevant_items = block[row], relevant[row]
                ranked_by = weighted(query_codes[query]) if weighted else distances
                if query_rows is not None:
                    distances = np.delete(distances, query_rows[query])
                    ranked_by = np.delete(ranked_by, query_rows[query])
                    relevant_items = np.delete(relevant_items, query_rows[query])
                items[query] = np.bincount(distances, minlength=bits + 1)
                hits[query] = np.bincount(distances[relevant_items], minlength=bits + 1)
                order = ranking.order(ranked_by)
                ranked = relevant_items[order]
                if weighted:
                    tie_aware[query] = _tie_aware(ranked_by[order], ranked, top)
                averages[query] = average_precision(ranked[:top])
                first_hits[query] = [ranked[:n].sum() for n in cutoffs]
            bar.update(len(block))
    if not weighted:
        tie_aware = tie_aware_average_precision(items, hits, top)
    within = np.cumsum(items, axis=1)  # (m, q + 1), within each radius
    hits_within = np.cumsum(hits, axis=1)
    precision = hits_within / np.maximum(within, 1)
    recall = hits_within / np.maximum(hits_within[:, -1:], 1)
    radius = min(RADIUS, bits)
    mean_precision_at = (first_hits / np.array(cutoffs)).mean(axis=0)
    # A random ranking: all items at one distance.
    all_items, all_hits = items.sum(axis=1, keepdims=True), hits.sum(axis=1, keepdims=True)
    return Metrics(
        queries=len(items),
        database=length,
        top=top,
        map=float(averages.mean()),
        map_tie_aware=float(tie_aware.mean()),
        precision_radius2=float(precision[:, radius].mean()),
        precision_at={n: float(value) for n, value in zip(cutoffs, mean_precision_at)},
        pr_curve=PrecisionRecall(
            recall=recall.mean(axis=0).tolist(), precision=precision.mean(axis=0).tolist()
        ),
        map_random=float(tie_aware_average_precision(all_items, all_hits, top).mean()),
        relevant_share=float(hits_within[:, -1].mean() / length),
        queries_without_relevant=int((hits_within[:, -1] == 0).sum()),
        queries_without_radius2=int((within[:, radius] == 0).sum()),
    )

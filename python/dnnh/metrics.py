"""How good a Hamming ranking is.

Definitions, for one query with R relevant items in the list of n:

- **Average precision** is the mean, over the relevant items of the list, of the
  precision at their ranks: AP = (1 / R) sum over relevant ranks k of
  (relevant among the first k) / k. Where only the first ``top`` items of the
  ranking are looked at, the list is those items and R counts the relevant ones
  among them. A query with R = 0 has AP 0, and how many there are is reported.
- **Equal distances.** ``map`` keeps the order of the database after one fixed
  shuffle of it. ``map_tie_aware`` is the expectation of AP over all orders of
  equal distances (McSherry and Najork, "Computing information retrieval
  performance measures efficiently in the presence of tied scores", ECIR 2008).
- **Precision within radius 2** is the share of relevant ones among the items at
  distance 0, 1 or 2; 0 for a query that retrieves none.
- **precision_at** N is the share of relevant ones among the first N.
- **pr_curve** is the mean recall and precision over queries of what lies within
  each radius 0..q; precision is 0 where nothing does.
"""

import numpy as np
import scipy.stats
from tqdm import tqdm

from dnnh import ranking
from dnnh.errors import UserError

PRECISION_AT = tuple(range(100, 1001, 100))
RADIUS = 2
SHUFFLE_SEED = 0


def relevance(query_labels, database_labels):
    """Which database items are relevant to which queries.

    Parameters
    ----------
    query_labels, database_labels : int64 of shape (m,) and (n,): relevant is the
        same label; or uint8 multi-hot of shape (m, classes), (n, classes):
        relevant is at least one label in common

    Returns
    -------
    function of (first, count): bool array of shape (count, n).
    """
    if query_labels.ndim == 1:
        # One byte a label where that is enough: memory is what costs time here.
        kinds, indices = np.unique(
            np.concatenate([query_labels, database_labels]), return_inverse=True)
        if len(kinds) <= 256:
            indices = indices.astype(np.uint8)
        query, database = np.split(indices, [len(query_labels)])
        return lambda first, count: (
            query[first:first + count, np.newaxis] == database)
    database = database_labels.astype(np.float32).T
    return lambda first, count: (
        query_labels[first:first + count].astype(np.float32) @ database > 0)


def average_precision(relevant):
    """AP of one list in its order; 0 where nothing is relevant.

    Parameters
    ----------
    relevant : bool array of shape (n,)
    """
    ranks = np.flatnonzero(relevant) + 1
    if not len(ranks):
        return 0.0
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def tie_aware_average_precision(items, hits, top=None):
    """Expected AP over all orders of items at equal distance, query by query.

    Parameters
    ----------
    items : int array of shape (m, q + 1), how many items lie at each distance
    hits : int array of shape (m, q + 1), how many of those are relevant
    top : int, optional
        Look at the first ``top`` items only.

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

    A = 1/(N + 1) + ... + 1/(N + n), to the sum that is divided by R. Of a group
    that rank ``top`` cuts, the first n' places are seen; they hold h relevant
    items with a hypergeometric probability, and given h the same formula holds
    with n' and h for n and r.
    """
    before = np.cumsum(items, axis=1) - items            # N, (m, q + 1)
    hits_before = np.cumsum(hits, axis=1) - hits         # H
    harmonic = np.concatenate([[0], np.cumsum(
        1 / np.arange(1, max(1, items.sum(axis=1).max()) + 1))])

    def group_sum(n, r, first, found):
        a = harmonic[first + n] - harmonic[first]
        pairs = (r - 1) / np.maximum(n - 1, 1)
        return r / np.maximum(n, 1) * ((found + 1) * a + pairs * (n - (first + 1) * a))

    sums = group_sum(items, hits, before, hits_before)
    if top is None:
        return sums.sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    whole = before + items <= top
    expected = np.zeros(len(items))
    for i in range(len(items)):
        total = sums[i, whole[i]].sum()
        found = hits[i, whole[i]].sum()
        cut = np.flatnonzero(~whole[i])[:1]              # at most one group matters
        if not len(cut) or before[i, cut[0]] >= top:
            expected[i] = total / max(found, 1)
            continue
        n, r, first = items[i, cut[0]], hits[i, cut[0]], before[i, cut[0]]
        seen = top - first
        h = np.arange(max(0, r - (n - seen)), min(r, seen) + 1)
        expected[i] = np.sum(
            scipy.stats.hypergeom.pmf(h, n, r, seen)
            * (total + group_sum(seen, h, first, found)) / np.maximum(found + h, 1))
    return expected


def evaluate(query_codes, database_codes, query_labels, database_labels, bits,
             top=None, same=None, progress=False):
    """Rank the database for every query, and measure.

    Parameters
    ----------
    query_codes, database_codes : uint8, packed codes of shape (m, bytes) and
        (n, bytes)
    query_labels, database_labels : see :func:`relevance`
    bits : int
        q, the length of the codes.
    top : int, optional
        MAP within the first ``top`` items only (NUS-WIDE: 5000).
    same : int array of shape (m,), optional
        The place of each query in the database, where it is left out of its own
        ranking (when a set is ranked within itself).
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict with ``map``, ``map_tie_aware``, ``precision_radius2``,
    ``precision_at``, ``pr_curve``, ``queries``, ``database``, ``relevant_share`` (of the
    database, for a query on average: the precision of a random ranking), ``map_random``
    (that ranking's MAP, expected),
    ``queries_without_relevant``, ``queries_without_radius2`` (that nothing lies within the
    radius of, and that have a precision of 0 there).
    """
    shuffle = np.random.default_rng(SHUFFLE_SEED).permutation(len(database_codes))
    if same is not None:
        same = np.argsort(shuffle)[same]          # its place after the shuffle
    database_codes, database_labels = database_codes[shuffle], database_labels[shuffle]
    is_relevant = relevance(query_labels, database_labels)
    length = len(database_codes) - (same is not None)
    if length < 1 or not len(query_codes):
        raise UserError(f"{len(query_codes)} queries and {length} database codes: "
                        "there must be at least one of each")
    precision_at = [n for n in PRECISION_AT if n <= length]
    items = np.zeros((len(query_codes), bits + 1), np.int64)   # (m, q + 1)
    hits = np.zeros_like(items)
    average = np.zeros(len(items))
    first_hits = np.zeros((len(items), len(precision_at)))
    with tqdm(total=len(items), unit="query", desc="ranking",
              disable=not progress) as bar:
        for first, block in ranking.distances(query_codes, database_codes):
            relevant = is_relevant(first, len(block))
            for i, (row, row_relevant) in enumerate(zip(block, relevant), first):
                if same is not None:
                    row = np.delete(row, same[i])
                    row_relevant = np.delete(row_relevant, same[i])
                items[i] = np.bincount(row, minlength=bits + 1)
                hits[i] = np.bincount(row[row_relevant], minlength=bits + 1)
                in_order = row_relevant[ranking.order(row)]
                average[i] = average_precision(in_order[:top])
                first_hits[i] = [in_order[:n].sum() for n in precision_at]
            bar.update(len(block))
    within = np.cumsum(items, axis=1)             # (m, q + 1), within each radius
    hits_within = np.cumsum(hits, axis=1)
    precision = hits_within / np.maximum(within, 1)
    recall = hits_within / np.maximum(hits_within[:, -1:], 1)
    return {
        "queries": len(items), "database": length, "top": top,
        "map": float(average.mean()),
        "map_tie_aware": float(tie_aware_average_precision(items, hits, top).mean()),
        "precision_radius2": float(precision[:, min(RADIUS, bits)].mean()),
        "precision_at": {n: float(p) for n, p in zip(
            precision_at, (first_hits / precision_at).mean(axis=0))},
        "pr_curve": {"recall": recall.mean(axis=0).tolist(),
                     "precision": precision.mean(axis=0).tolist()},
        "map_random": float(tie_aware_average_precision(
            *(counts.sum(axis=1, keepdims=True) for counts in (items, hits)), top).mean()),
        "relevant_share": float(hits_within[:, -1].mean() / length),
        "queries_without_relevant": int((hits_within[:, -1] == 0).sum()),
        "queries_without_radius2": int((within[:, min(RADIUS, bits)] == 0).sum()),
    }

"""Seconds of Hamming ranking: ours, and FAISS's IndexBinaryFlat.

  python benchmarks/ranking.py
  python benchmarks/ranking.py --sizes 59000 --bits 48

1,000 queries against random codes. Ours gives what MAP needs, the order of the whole
database for each query; FAISS, if it is installed (pip install faiss-cpu), the 10 and
the 1,000 nearest. "Limit" is the time in which memory could deliver the codes once for each query,
at the speed of a copy measured in the same run: what would be left if comparing cost
nothing and nothing stayed in a cache, so that a share above 100 % is possible.
"""

import argparse
import os
import statistics
import time

import figures
import numpy as np
from tqdm import tqdm

from dnnh import errors, ranking
from dnnh.errors import UserError

QUERIES = 1000
NEAREST = (10, 1000)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[59000, 1000000])
    parser.add_argument("--bits", nargs="+", type=int, default=[12, 48, 64])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if min(*arguments.sizes, *arguments.bits, arguments.rounds) < 1:
        raise UserError("--sizes, --bits and --rounds are 1 or more")
    faiss = _faiss()
    rate = copy_rate()
    rows, measured = [], []
    for size in arguments.sizes:
        for bits in arguments.bits:
            times = race(faiss, size, bits, arguments.rounds)
            codes_bytes = ranking.pack(np.zeros((1, bits))).shape[1] * size
            limit = QUERIES * codes_bytes / rate
            measured.append({"size": size, "bits": bits, "limit": limit, **times})
            rows.append([f"{size:,}", bits] + [
                cell for name in times
                for cell in (f"{times[name]:.3f}", f"{limit / times[name]:.0%}")]
                + [f"{limit:.3f}"])
    columns = [cell for name in times for cell in (name, "of the limit")]
    figures.publish(
        "ranking", f"{QUERIES:,} queries, seconds; {os.cpu_count()} threads for FAISS, "
        f"one for ours; memory copies {rate / 1e9:.1f} GB/s\n\n"
        + figures.table(["codes", "bits", *columns, "limit"], rows),
        {"bytes_per_second": rate, "rankings": measured})


def _faiss():
    try:
        import faiss
    except ImportError:
        print("FAISS is not installed and takes no part")
        return None
    return faiss


def copy_rate():
    """Bytes a second that memory delivers to one thread."""
    source = np.ones(1 << 28, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)      # read, and written


def race(faiss, size, bits, rounds):
    """Median seconds by program, which take turns; their distances must agree."""
    generator = np.random.default_rng(0)
    database, queries = (ranking.pack(generator.integers(0, 2, (count, bits)))
                         for count in (size, QUERIES))
    programs = {"ours, all in order": lambda: rank(queries, database)}
    if faiss:
        # FAISS is fastest with codes of 64 bits, and takes whole bytes only.
        width = -(-bits // 64) * 8
        padded = [np.pad(codes, ((0, 0), (0, width - codes.shape[1])))
                  for codes in (queries, database)]
        index = faiss.IndexBinaryFlat(8 * width)
        index.add(padded[1])
        for count in NEAREST:
            programs[f"FAISS, {count:,} nearest"] = (
                lambda count=count: index.search(padded[0], count))
        found, _ = index.search(padded[0], 1)
        _, block = next(ranking.distances(queries, database))
        if (block.min(axis=1) != found[:len(block), 0]).any():
            raise AssertionError("FAISS and our ranking disagree")
    times = {name: [] for name in programs}
    for _ in tqdm(range(rounds), desc=f"{size:,} codes of {bits} bits", unit="round"):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def rank(queries, database):
    for _, block in ranking.distances(queries, database):
        for row in block:
            ranking.order(row)


if __name__ == "__main__":
    errors.run(main)

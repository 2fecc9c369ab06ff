"""Seconds of Hamming ranking: ours, and FAISS's IndexBinaryFlat.

  python benchmarks/ranking.py
  python benchmarks/ranking.py --sizes 59000 --bits 48

1,000 queries against random codes. Ours computes what MAP needs, the order of the whole
database for each query; FAISS, if it is installed (pip install faiss-cpu), the 10 and
the 1,000 nearest. "Limit" is the time to read the codes from memory once for each query,
at the speed of a copy measured in the same run: the time if comparing cost nothing and
nothing stayed in a cache, so that a share above 100 % is possible.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh import cli, errors, packed_codes
from dnnh.errors import UserError
from dnnh.evaluation import ranking

import harness

QUERIES = 1000
NEAREST = (10, 1000)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[59000, 1000000])
    parser.add_argument("--bits", nargs="+", type=int, default=[12, 48, 64])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if min(*arguments.sizes, *arguments.bits, arguments.rounds) < 1:
        raise UserError("--sizes, --bits and --rounds are 1 or more")
    faiss = _faiss()
    rate = copy_rate()
    columns, rows, measured = ["codes", "bits"], [], []
    for size in arguments.sizes:
        for bits in arguments.bits:
            times = race(faiss, size, bits, arguments.rounds)
            limit = QUERIES * size * packed_codes.code_bytes(bits) / rate
            measured.append({"size": size, "bits": bits, "limit": limit, **times})
            row = [f"{size:,}", bits]
            columns = ["codes", "bits"]
            for name, seconds in times.items():
                columns += [name, "of the limit"]
                row += [f"{seconds:.3f}", f"{limit / seconds:.0%}"]
            rows.append([*row, f"{limit:.3f}"])
    harness.publish(
        "ranking",
        f"{QUERIES:,} queries, seconds; {os.cpu_count()} threads for FAISS, "
        f"one for ours; memory copies {rate / 1e9:.1f} GB/s\n\n"
        + harness.table([*columns, "limit"], rows),
        {"bytes_per_second": rate, "rankings": measured},
    )


def _faiss() -> Any:
    """The module; None if it is not installed."""
    try:
        import faiss
    except ImportError:
        print("FAISS is not installed and takes no part")
        return None
    return faiss


def copy_rate() -> float:
    """Bytes per second that memory delivers to one thread."""
    source = np.ones(1 << 28, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)  # read, and written


def race(faiss: Any, size: int, bits: int, rounds: int) -> dict[str, float]:
    """Median seconds by program, of interleaved runs; their distances must agree."""
    generator = np.random.default_rng(0)
    database, queries = (
        packed_codes.pack(generator.integers(0, 2, (count, bits))) for count in (size, QUERIES)
    )
    programs: dict[str, Callable[[], object]] = {
        "ours, all in order": lambda: rank(queries, database)
    }
    if faiss:
        # FAISS is fastest with codes of 64 bits, and takes whole bytes only.
        width = -(-bits // 64) * 8
        padded_queries = packed_codes.pad(queries, width)
        index = faiss.IndexBinaryFlat(8 * width)
        index.add(packed_codes.pad(database, width))
        for count in NEAREST:
            programs[f"FAISS, {count:,} nearest"] = lambda count=count: index.search(
                padded_queries, count
            )
        nearest, _ = index.search(padded_queries, 1)
        _, block = next(ranking.distances(queries, database))
        if (block.min(axis=1) != nearest[: len(block), 0]).any():
            raise AssertionError("FAISS and our ranking disagree")
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in tqdm(range(rounds), desc=f"{size:,} codes of {bits} bits", unit="round"):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def rank(queries: NDArray[np.uint8], database: NDArray[np.uint8]) -> None:
    for _, block in ranking.distances(queries, database):
        for row in block:
            ranking.order(row)


if __name__ == "__main__":
    errors.run(main)

"""Seconds of searching a large collection: dnnh.search's engines flat and ivf.

  python benchmarks/search.py
  python benchmarks/search.py --codes 1000000 --bits 64 --probed 16

Codes lie around random centres, each bit of a centre flipped with probability 0.1. Recall is
the share of hits that are as near as the exact hits in their place; memory is what the
process grew by, for each byte of codes as FAISS has them (8 at 48 bits). Beside them NumPy on
as many of the codes as it takes to see its rate.
"""

import argparse
import time

import figures
import numpy as np

from dnnh import errors, ranking, search
from dnnh.errors import UserError

CENTRES, FLIPPED = 10_000, 0.1
QUERIES, TOP = 1000, 10
BLOCK = 1_000_000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=100_000_000)
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--lists", type=int, default=search.LISTS)
    parser.add_argument("--probed", type=int, nargs="+", default=[8, 32, 128])
    arguments = parser.parse_args()
    if arguments.codes < 1:
        raise UserError("--codes is 1 or more")

    flat = search.Index(arguments.bits, "flat")
    before = resident()
    for codes in generate(arguments.codes, arguments.bits, seed=0):
        flat.add(codes)
        del codes
    bytes_of_codes = arguments.codes * flat._width
    queries = next(generate(QUERIES, arguments.bits, seed=1))
    rows, measured = [], []

    def record(name, seconds_of_one, seconds_of_all, recall, memory, built=None):
        measured.append({"engine": name, "one": seconds_of_one, "all": seconds_of_all,
                         "recall": recall, "memory": memory, "built": built})
        rows.append([name, f"{1000 * seconds_of_one:.1f} ms", f"{seconds_of_all:.2f} s",
                     f"{recall:.4f}", f"{memory:.2f}",
                     "" if built is None else f"{built:.0f} s"])
        print(*rows[-1], sep="   ", flush=True)

    one, _ = timed(lambda: flat.search(queries[:1], TOP), 5)
    memory = (resident() - before) / bytes_of_codes
    all_, (exact, _) = timed(lambda: flat.search(queries, TOP))
    record("flat", one, all_, 1, memory)

    some = search.Index(arguments.bits)
    some.add(next(generate(arguments.codes, arguments.bits, seed=0)))
    one, _ = timed(lambda: some.search(queries[:1], TOP), 5)
    all_, _ = timed(lambda: some.search(queries[:100], TOP))
    record(f"numpy, {len(some):,} codes, 100 queries", one, all_, 1,
           flat.width / flat._width)

    del flat, some, codes
    before = resident()
    ivf = search.Index(arguments.bits, "ivf", arguments.lists)
    for codes in generate(arguments.codes, arguments.bits, seed=0):
        ivf.add(codes)
    del codes
    built, _ = timed(lambda: ivf.search(queries[:1], TOP))
    memory = (resident() - before) / bytes_of_codes
    for probed in arguments.probed:
        ivf.probed = probed
        one, _ = timed(lambda: ivf.search(queries[:1], TOP), 50)
        all_, (found, _) = timed(lambda: ivf.search(queries, TOP))
        recall = ((found >= 0) & (found <= exact)).mean()
        record(f"ivf, {probed} of {arguments.lists} lists", one, all_, recall, memory, built)
    figures.publish(
        "search", f"{arguments.codes:,} codes of {arguments.bits} bits, top {TOP}\n\n"
        + figures.table(["engine", "one query", f"{QUERIES:,} queries", "recall",
                         "bytes a byte of code", "built"], rows),
        {"codes": arguments.codes, "bits": arguments.bits, "engines": measured})


def generate(count, bits, seed):
    """Yield packed codes around the centres, BLOCK at a time."""
    centres = np.random.default_rng(0).integers(0, 2, (CENTRES, bits), np.uint8)
    rng = np.random.default_rng([seed, 1])
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        flipped = rng.random((size, bits), np.float32) < FLIPPED
        yield ranking.pack(centres[rng.integers(CENTRES, size=size)] ^ flipped)


def timed(function, rounds=1):
    """(median of seconds, what the last call gave)."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def resident():
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    errors.run(main)

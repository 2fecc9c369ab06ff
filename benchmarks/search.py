"""Seconds of searching a large collection, by each engine.

  python benchmarks/search.py                                100 million codes, flat and ivf
  python benchmarks/search.py --codes 1000000 --engines flat numpy spark milvus
  python benchmarks/search.py --codes 1000000 --bits 64 --probed 16

Codes lie around random centres, each bit of a centre flipped with probability 0.1. Recall is
the share of hits that are as near as the exact hits in their place; memory is what the
process grew by, for each byte of codes as FAISS has them (8 at 48 bits), which is not told
for engines that keep codes elsewhere. Milvus is its embedded edition; Spark has this machine's
cores.
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import tempfile
import time

import figures
import numpy as np

from dnnh import errors, finder, milvus, parquet, ranking, search, spark
from dnnh.errors import UserError

CENTRES, FLIPPED = 10_000, 0.1
TOP = 10
ALONE = 30                 # queries that are asked one by one, of which the median counts
BLOCK = 1_000_000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=100_000_000)
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--engines", nargs="+", choices=finder.ENGINES,
                        default=["flat", "ivf"])
    parser.add_argument("--lists", type=int, default=search.LISTS)
    parser.add_argument("--probed", type=int, nargs="+", default=[8, 24, 64])
    arguments = parser.parse_args()
    if min(arguments.codes, arguments.queries) < 1:
        raise UserError("--codes and --queries are 1 or more")

    queries = next(generate(arguments.queries, arguments.bits, seed=1))
    exact, rows, measured = None, [], []
    for engine in arguments.engines:
        with made(engine, arguments) as (index, built, memory):
            for probed in arguments.probed if engine == "ivf" else [None]:
                name = engine
                if probed:
                    index.probed, name = probed, f"{engine}, {probed} of {arguments.lists} lists"
                one = np.median([timed(lambda: index.search(query[None], TOP))[0]
                                 for query in queries[:ALONE]])
                every, (found, _) = timed(lambda: index.search(queries, TOP))
                exact = found if exact is None else exact
                recall = float(((found >= 0) & (found <= exact)).mean())
                measured.append({"engine": name, "one": one, "all": every, "recall": recall,
                                 "memory": memory, "built": built})
                rows.append([name, f"{1000 * one:,.1f} ms", f"{every:.2f} s", f"{recall:.4f}",
                             "" if memory is None else f"{memory:.2f}", f"{built:.0f} s"])
                print(*rows[-1], sep="   ", flush=True)
    figures.publish(
        "search", f"{arguments.codes:,} codes of {arguments.bits} bits, top {TOP}\n\n"
        + figures.table(["engine", "one query", f"{arguments.queries:,} queries",
                         f"recall, against {arguments.engines[0]}", "bytes a byte of code",
                         "made in"], rows),
        {"codes": arguments.codes, "bits": arguments.bits, "engines": measured})


@contextlib.contextmanager
def made(engine, arguments):
    """Yield (index, seconds it took, memory it took or None).

    It takes codes and is asked once; drawing the codes does not count.
    """
    bits = arguments.bits
    if engine in search.ENGINES:               # what the engine takes without codes
        few = search.Index(bits, engine)
        few.add(next(generate(1000, bits, seed=0)))
        few.search(np.zeros((1, -(-bits // 8)), np.uint8))
    before, built = resident(), 0
    blocks = generate(arguments.codes, bits, seed=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if engine == "milvus":
            codes = np.concatenate(list(blocks))
            built, index = timed(lambda: milvus.Index(codes, bits, f"{folder}/codes.db"))
        elif engine == "spark":
            for number, codes in enumerate(blocks):
                built += timed(lambda: write_parquet(codes, bits, pathlib.Path(folder), number))[0]
            session = stack.enter_context(spark.session())
            index = spark.Index(session.read.parquet(folder), bits, arguments.codes)
        else:
            index = search.Index(bits, engine, arguments.lists,
                                 min(search.PROBED, arguments.lists))
            for codes in blocks:
                built += timed(lambda: index.add(codes))[0]
            del codes
        built += timed(lambda: index.search(np.zeros((1, -(-bits // 8)), np.uint8)))[0]
        memory = (None if engine in ("milvus", "spark") else
                  (resident() - before) / (8 * -(-bits // 64) * arguments.codes))
        yield index, built, memory


def write_parquet(codes, bits, folder, number):
    """One block of codes, as a file of its own."""
    import pyarrow
    from pyarrow import parquet as files
    first = number * BLOCK
    files.write_table(pyarrow.table(
        {"row": np.arange(first, first + len(codes)),
         **dict(zip(parquet.word_names(bits), parquet.words(codes).T))}),
        folder / f"{number:06}.parquet")


def generate(count, bits, seed):
    """Yield packed codes around the centres, BLOCK at a time."""
    centres = np.random.default_rng(0).integers(0, 2, (CENTRES, bits), np.uint8)
    rng = np.random.default_rng([seed, 1])
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        flipped = rng.random((size, bits), np.float32) < FLIPPED
        yield ranking.pack(centres[rng.integers(CENTRES, size=size)] ^ flipped)


def timed(function):
    """(seconds, what the function gave)."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def resident():
    """Bytes of memory that this process has, without those that it is free to give back."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    errors.run(main)

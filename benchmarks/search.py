"""Seconds and memory of searching a large index, by each engine.

  python benchmarks/search.py                                100 million codes, flat and ivf
  python benchmarks/search.py --engines flat ivf faiss_ivf   and FAISS's own IVF beside ours
  python benchmarks/search.py --size 1000000 --engines flat numpy spark milvus
  python benchmarks/search.py --size 1000000 --bits 64 --nprobe 16

Codes lie around random centers, each bit of a center flipped with probability 0.1. Recall is
the share of hits that are as near as the exact hits in their place; memory is what the
process grew by, for each byte of codes as FAISS has them (8 at 48 bits), which is not known
for engines that keep codes elsewhere. Milvus is Milvus Lite; Spark has this machine's cores.
faiss_ivf is FAISS's IndexBinaryIVF with lists of exactly the size that they need, the least
memory that its array lists can have; faiss_ivf_unpadded the same with codes of 6 bytes at 48
bits, where the engines have 8.
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dnnh import cli, errors, packed_codes
from dnnh.errors import UserError
from dnnh.retrieval import parquet, retriever, spark_session
from dnnh.retrieval.engines import faiss_knn, inverted_lists, ivf, storage
from dnnh.retrieval.engines.base import Engine, Neighbors
from dnnh.retrieval.engines.ivf import IvfEngine
from dnnh.retrieval.engines.milvus import MilvusEngine
from dnnh.retrieval.engines.spark import SparkEngine

import harness

FAISS_IVF = ("faiss_ivf", "faiss_ivf_unpadded")
APPROXIMATE = ("ivf", *FAISS_IVF)
CENTERS, FLIPPED = 10_000, 0.1
K = 10
ALONE = 30  # queries that are sent one by one, of which the median counts
BLOCK = 1_000_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Built:
    """An engine with codes, the seconds that it took, and its bytes for each byte of code."""

    engine: Any
    seconds: float
    memory: float | None


@dataclass(frozen=True)
class Measured:
    """One row of the table; seconds where nothing else is said."""

    engine: str
    one: float
    all: float
    recall: float
    memory: float | None
    built: float

    def row(self) -> list[str]:
        return [
            self.engine,
            f"{1000 * self.one:,.1f} ms",
            f"{self.all:.2f} s",
            f"{self.recall:.4f}",
            "" if self.memory is None else f"{self.memory:.2f}",
            f"{self.built:.0f} s",
        ]


def main() -> None:
    arguments = parse_arguments()
    queries = next(generate(arguments.queries, arguments.bits, seed=1))
    exact, measured = None, []
    for name in arguments.engines:
        with build(name, arguments) as built:
            for nprobe in arguments.nprobe if name in APPROXIMATE else [None]:
                label = name
                if nprobe is not None:
                    built.engine.nprobe = nprobe
                    label = f"{name}, {nprobe} of {arguments.nlist} lists"
                alone, seconds, distances = time_search(built.engine, queries)
                if exact is None:
                    exact = distances
                recall = float(((distances >= 0) & (distances <= exact)).mean())
                measured.append(
                    Measured(label, alone, seconds, recall, built.memory, built.seconds)
                )
                print(*measured[-1].row(), sep="   ", flush=True)
    columns = [
        "engine",
        "one query",
        f"{arguments.queries:,} queries",
        f"recall, against {arguments.engines[0]}",
        "bytes per byte of code",
        "built in",
    ]
    harness.publish(
        "search",
        f"{arguments.size:,} codes of {arguments.bits} bits, top {K}\n\n"
        + harness.table(columns, [row.row() for row in measured]),
        {
            "codes": arguments.size,
            "bits": arguments.bits,
            "engines": [asdict(row) for row in measured],
        },
    )


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--size", type=int, default=100_000_000, help="number of codes")
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=(*retriever.ENGINES, *FAISS_IVF),
        default=["flat", "ivf"],
    )
    parser.add_argument("--nlist", type=int, default=ivf.NLIST)
    parser.add_argument("--nprobe", type=int, nargs="+", default=[8, 24, 64])
    arguments = parser.parse_args()
    if min(arguments.size, arguments.queries) < 1:
        raise UserError("--size and --queries are 1 or more")
    return arguments


def time_search(
    engine: Engine, queries: NDArray[np.uint8]
) -> tuple[float, float, NDArray[np.int64]]:
    """Seconds for one query, seconds for all, and the distances of all."""
    alone = [timed(engine.search, query[np.newaxis], K)[0] for query in queries[:ALONE]]
    seconds, neighbors = timed(engine.search, queries, K)
    return float(np.median(alone)), seconds, neighbors.distances


@contextlib.contextmanager
def build(name: str, arguments: argparse.Namespace) -> Iterator[Built]:
    """Yield an engine that has the codes and was searched once; drawing codes does not count."""
    bits, nlist = arguments.bits, arguments.nlist
    one_query = np.zeros((1, packed_codes.code_bytes(bits)), np.uint8)
    warm_up(name, bits, one_query)
    before = resident()
    blocks = generate(arguments.size, bits, seed=0)
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if name == "milvus":
            codes = np.concatenate(list(blocks))
            seconds, engine = timed(MilvusEngine, codes, bits, f"{folder}/codes.db")
        elif name == "spark":
            for number, codes in enumerate(blocks):
                path = pathlib.Path(folder, f"{number:06}.parquet")
                seconds += timed(write_parquet, codes, bits, number * BLOCK, path)[0]
            session = stack.enter_context(spark_session.session())
            engine = SparkEngine(session.read.parquet(folder), bits, arguments.size)
        elif name in FAISS_IVF:
            is_padded = name == "faiss_ivf"
            engine = FaissIvf(
                faiss_knn.stored_bytes(bits) if is_padded else packed_codes.code_bytes(bits), nlist
            )
            for codes in blocks:
                seconds += timed(engine.count, codes)[0]
            # Drawn again, so that codes never lie in memory beside the lists.
            for codes in generate(arguments.size, bits, seed=0):
                seconds += timed(engine.fill, codes)[0]
            del codes
            engine.finish()
        else:
            if name == "ivf":
                engine = IvfEngine(bits, nlist, min(ivf.NPROBE, nlist))
            else:
                engine = storage.make_engine(name, bits)
            for codes in blocks:
                seconds += timed(engine.add, codes)[0]
            del codes
        seconds += timed(engine.search, one_query)[0]
        memory = None
        if name not in ("milvus", "spark"):
            grown = resident() - before
            memory = grown / (8 * -(-bits // 64) * arguments.size)
        yield Built(engine, seconds, memory)


def warm_up(name: str, bits: int, one_query: NDArray[np.uint8]) -> None:
    """Let an engine of this process take the memory that it takes without codes."""
    if name in FAISS_IVF:
        name = "ivf"
    if name in storage.ENGINES:
        engine = storage.make_engine(name, bits)
        engine.add(next(generate(1000, bits, seed=0)))
        engine.search(one_query)


class FaissIvf:
    """FAISS's IndexBinaryIVF, with array lists that are made at exactly their size.

    IndexBinaryIVF.add lets each list grow by doubling. So all codes are shown to :meth:`count`
    first, then lists are made, and all codes are shown to :meth:`fill` in the same order.

    Parameters
    ----------
    code_bytes : int
        Bytes of a code in the lists; zeros stand behind shorter codes.
    nlist : int
    """

    def __init__(self, code_bytes: int, nlist: int) -> None:
        self._faiss = faiss_knn.import_faiss()
        self._code_bytes = code_bytes
        self._quantizer = self._faiss.IndexBinaryFlat(8 * code_bytes)
        self._index = self._faiss.IndexBinaryIVF(self._quantizer, 8 * code_bytes, nlist)
        self._lists = None
        self._list_of: list[NDArray[np.uint16]] = []  # of each block of codes
        self._sizes = np.zeros(nlist, np.int64)
        self._filled = np.zeros(nlist, np.int64)
        self._next_id = 0

    @property
    def nprobe(self) -> int:
        return self._index.nprobe

    @nprobe.setter
    def nprobe(self, nprobe: int) -> None:
        self._index.nprobe = nprobe

    def count(self, codes: NDArray[np.uint8]) -> None:
        """Find the lists of some codes, and how long lists become."""
        codes = packed_codes.pad(codes, self._code_bytes)
        if not self._index.is_trained:
            sample = inverted_lists.TRAINING_CODES * len(self._sizes)
            self._index.train(codes[:sample])  # they come in random order
        _, nearest = self._quantizer.search(codes, 1)
        self._list_of.append(nearest[:, 0].astype(np.uint16))
        self._sizes += np.bincount(nearest[:, 0], minlength=len(self._sizes))

    def fill(self, codes: NDArray[np.uint8]) -> None:
        """Put the same codes into their lists."""
        if self._lists is None:
            self._lists = self._faiss.ArrayInvertedLists(len(self._sizes), self._code_bytes)
            for number, size in enumerate(self._sizes.tolist()):
                self._lists.resize(number, size)
        codes = packed_codes.pad(codes, self._code_bytes)
        list_of = self._list_of.pop(0)
        order = np.argsort(list_of, kind="stable")
        ends = np.cumsum(np.bincount(list_of, minlength=len(self._sizes)))
        for number, rows in enumerate(np.split(order, ends[:-1])):
            # Pointers do not keep arrays alive, so that both need names.
            ids, of_list = rows + self._next_id, codes[rows]
            self._lists.update_entries(
                number,
                int(self._filled[number]),
                len(rows),
                self._faiss.swig_ptr(ids),
                self._faiss.swig_ptr(of_list),
            )
            self._filled[number] += len(rows)
        self._next_id += len(codes)

    def finish(self) -> None:
        """Give the index its lists."""
        self._index.replace_invlists(self._lists, False)
        self._index.ntotal = self._next_id

    def search(self, queries: NDArray[np.uint8], k: int = K) -> Neighbors:
        queries = packed_codes.pad(queries, self._code_bytes)
        distances, ids = self._index.search(queries, k)
        distances = np.where(ids < 0, -1, distances)
        return Neighbors(distances.astype(np.int64), ids)


def write_parquet(codes: NDArray[np.uint8], bits: int, first: int, path: pathlib.Path) -> None:
    """One block of codes, as a file of its own."""
    import pyarrow
    from pyarrow import parquet as parquet_files

    columns = {"row": np.arange(first, first + len(codes))}
    columns |= dict(zip(parquet.word_names(bits), parquet.words(codes).T))
    parquet_files.write_table(pyarrow.table(columns), path)


def generate(count: int, bits: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield packed codes around the centers, BLOCK at a time."""
    centers = np.random.default_rng(0).integers(0, 2, (CENTERS, bits), np.uint8)
    rng = np.random.default_rng([seed, 1])
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        flipped = rng.random((size, bits), np.float32) < FLIPPED
        yield packed_codes.pack(centers[rng.integers(CENTERS, size=size)] ^ flipped)


def timed(function: Callable[..., Result], *arguments: Any) -> tuple[float, Result]:
    """(seconds, what the function returned)."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def resident() -> int:
    """Bytes of memory that this process has, without those that it is free to give back."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    errors.run(main)

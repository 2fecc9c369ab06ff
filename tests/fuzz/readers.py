"""Every reader of the package, and the program caffe: what it reads, and how.

A reader reads one file of a seed that is mutated. The folder of the seed is its world: in it
lie all files that it needs.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator

import lmdb
import numpy as np

from dnnh import paths
from dnnh.baselines import features
from dnnh.data import (
    archives,
    cifar10,
    datasets,
    download,
    image_database,
    image_files,
    lmdb_pages,
    mnist,
    nuswide,
    sources,
    splits,
    svhn,
    tables,
)
from dnnh.data.dataset import EncodedImages
from dnnh.errors import UserError
from dnnh.evaluation import codes, comparison, metrics
from dnnh.nets import caffe_encoder, prototxt, torch_weights, training_log
from dnnh.retrieval import image_groups, index_files, index_writer
from dnnh.retrieval.engines import storage

import seeds

IMAGES = 20  # of a data set as published, in miniature


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader and its seeds.

    Attributes
    ----------
    write_seeds : function of a folder
        Fills it; a sub-folder is a seed.
    targets : tuple of str
        Patterns of the files in a seed that are mutated, one at a time.
    read : function of (folder, path of the mutated file)
        Reads it; None for the program caffe.
    arguments : tuple of str
        Of the program caffe, which runs in the folder.
    prepare : function
        Called once in the process that reads.
    may_change : str
        A pattern of files that reading may write, replace or delete.
    """

    write_seeds: Callable[[pathlib.Path], None]
    targets: tuple[str, ...]
    read: Callable[[pathlib.Path, pathlib.Path], object] | None = None
    arguments: tuple[str, ...] = ()
    prepare: Callable[[], None] = lambda: None
    may_change: str = ""


def _image(folder: pathlib.Path, path: pathlib.Path) -> None:
    image_files.decode_image(path.read_bytes(), path)


def _archive(folder: pathlib.Path, path: pathlib.Path) -> None:
    with archives.open_archive(path) as archive:
        for _ in archive.read_all(archive.members):
            pass


def _prepare_published() -> None:
    """Make the data sets small, as their tests do."""
    cifar10.BATCH = IMAGES
    mnist.PARTS = {"train": IMAGES, "t10k": IMAGES}
    svhn.COUNTS = {"train_32x32.mat": IMAGES, "extra_32x32.mat": 3, "test_32x32.mat": IMAGES}
    nuswide.IMAGES, nuswide.CONCEPTS, nuswide.FREQUENT, nuswide.WORDS = IMAGES, 5, 3, 7


def _source(folder: pathlib.Path, path: pathlib.Path) -> None:
    """A folder, a CSV file or an LMDB: all items, each read; those that cannot be are skipped."""
    if path.name == "data.mdb":
        source = path.parent
    else:
        source = path if path.suffix == ".csv" else folder / "images"
    problems = []
    for item in sources.items(source):
        try:
            item.read()
        except UserError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _lmdb(folder: pathlib.Path, path: pathlib.Path) -> None:
    try:
        with (
            lmdb_pages.open_checked(path.parent) as database,
            database.begin() as transaction,
        ):
            for _, value in transaction.cursor():
                hashlib.md5(value).digest()  # each byte is read
    except lmdb.Error as error:  # which open_checked leaves to its callers
        raise UserError(f"{path} cannot be read ({error})") from error


@contextlib.contextmanager
def _data_in(folder: pathlib.Path) -> Iterator[None]:
    before, paths.DATA = paths.DATA, folder / "data"
    try:
        yield
    finally:
        paths.DATA = before


def _data_set(folder: pathlib.Path, path: pathlib.Path) -> None:
    with _data_in(folder):
        datasets.image_side("photos")
        images = datasets.load("photos").images
        if isinstance(images, EncodedImages):
            for row in range(len(images)):
                images[row]
        images[:]


def _split(folder: pathlib.Path, path: pathlib.Path) -> None:
    with _data_in(folder):
        splits.load_split(seeds.split_dataset())


def _codes(folder: pathlib.Path, path: pathlib.Path) -> None:
    loaded = codes.load(path)
    metrics.evaluate(
        loaded.query_codes,
        loaded.database_codes,
        loaded.query_labels,
        loaded.database_labels,
        loaded.bits,
    )


def _result(folder: pathlib.Path, path: pathlib.Path) -> None:
    """A result, and the page that compares it with the paper's."""
    read, skipped = comparison.read_results([path])
    tables = comparison.tables("digits", read)
    comparison.page("digits", tables, {}, comparison.spreads("digits", read, [read]))
    for sentence in skipped:
        raise UserError(sentence)


def _index(folder: pathlib.Path, path: pathlib.Path) -> None:
    index = index_files.load(path if path.suffix == ".h5" else folder / "index")
    assert index.codes is not None
    rows = slice(0, len(index.codes))
    problems = []
    for read in (index.names, index.labels):
        try:
            read(rows)
            read(np.arange(len(index.codes))[::-1])
        except UserError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _half_done(folder: pathlib.Path, path: pathlib.Path) -> None:
    """An index that was interrupted is completed, and read."""
    seeds.set_times(folder / "photos")
    writer = index_writer.IndexWriter(folder / "index.h5", seeds.NET, "photos")
    try:
        images = sources.items(folder / "photos")
        writer.advance(images)
        for group in image_groups.read_groups(images, seeds.NET_INPUT):
            writer.add(group, seeds.outputs)
        writer.finish()
    finally:
        for file in writer._files.values():
            file.close()
    _index(folder, folder / "index.h5")


def _engine(folder: pathlib.Path, path: pathlib.Path) -> None:
    for name in (None, *storage.ENGINES):
        engine = storage.load(path, name)
        engine.search(np.zeros((1, -(-engine.bits // 8)), np.uint8), 3)


def _features(folder: pathlib.Path, path: pathlib.Path) -> None:
    with _data_in(folder):
        dataset = seeds.split_dataset()
        dataset.images, dataset.labels = seeds.IMAGES, seeds.LABELS
        features.load("gist" if "gist" in path.name else str(path), dataset)


def _weights(folder: pathlib.Path, path: pathlib.Path) -> None:
    net = caffe_encoder.CaffeEncoder((folder / "net.prototxt").read_text(), path)
    net.outputs(seeds.IMAGES)


def _download(folder: pathlib.Path, path: pathlib.Path) -> None:
    with _data_in(folder):
        archive = download.Archive(
            "https://example.org/archive.bin", hashlib.md5(ARCHIVE).hexdigest(), len(ARCHIVE)
        )
        download._fetch("x", archive, f"file://{folder}/server/archive.bin", paths.DATA)
        assert (folder / "data/archive.bin").read_bytes() == ARCHIVE


ARCHIVE = bytes(range(256)) * 20

TRAIN = ("train", "-solver", "solver.prototxt")

READERS: dict[str, Reader] = {
    "images": Reader(seeds.images, ("image",), _image),
    "archives": Reader(seeds.archives, ("archive.*",), _archive),
    "cifar10": Reader(
        functools.partial(seeds.cifar10, batch=IMAGES),
        ("data_batch_1*",),
        lambda folder, path: cifar10.prepare_cifar10(folder),
        prepare=_prepare_published,
    ),
    "mnist": Reader(
        functools.partial(seeds.mnist, count=IMAGES),
        ("*",),
        lambda folder, path: mnist.prepare_mnist(folder),
        prepare=_prepare_published,
    ),
    "svhn": Reader(
        functools.partial(seeds.svhn, count=IMAGES),
        ("t*.mat",),
        lambda folder, path: svhn.prepare_svhn(folder),
        prepare=_prepare_published,
    ),
    "nuswide": Reader(
        functools.partial(seeds.nuswide, images=IMAGES, concepts=5, words=7),
        ("*.txt", "BoW_int.dat"),
        lambda folder, path: nuswide.prepare_nuswide(folder),
        prepare=_prepare_published,
    ),
    "downloads": Reader(
        functools.partial(seeds.downloads, archive=ARCHIVE),
        ("*.partial", "server/*"),
        _download,
        may_change="data/archive.*",
    ),
    "tables": Reader(seeds.tables, ("*.csv",), lambda folder, path: list(tables.table_rows(path))),
    "sources_table": Reader(seeds.tables, ("*.csv", "*.png"), _source),
    "sources_folder": Reader(seeds.folders, ("*.png", "*.jpg"), _source),
    "sources_lmdb": Reader(seeds.databases, ("data.mdb",), _source),
    "lmdb_pages": Reader(seeds.databases, ("data.mdb",), _lmdb),
    "layout": Reader(
        seeds.databases,
        ("layout.json",),
        lambda folder, path: image_database.read_layout(path.parent),
    ),
    "datasets": Reader(seeds.data_sets, ("photos.h5",), _data_set),
    "splits": Reader(seeds.splits_of, ("*.h5",), _split),
    "codes": Reader(seeds.codes_files, ("codes.h5",), _codes),
    "results": Reader(seeds.results_files, ("result.json",), _result),
    "index": Reader(seeds.indexes, ("index.h5",), _index),
    "index_parquet": Reader(seeds.parquet_indexes, ("about.json", "*.parquet"), _index),
    "index_half_done": Reader(
        seeds.half_done,
        ("state.json", "codes", "entries", "skipped"),
        _half_done,
        may_change="index.h5*",
    ),
    "engines": Reader(seeds.engines, ("engine.h5",), _engine),
    "features": Reader(
        seeds.feature_files, ("features.*", "*gist.h5"), _features, may_change="data/features/*"
    ),
    "training_log": Reader(
        seeds.logs, ("training.log",), lambda folder, path: training_log.read(path)
    ),
    "prototxt_net": Reader(
        seeds.prototxts, ("net.prototxt",), lambda folder, path: prototxt.read_net(path)
    ),
    "prototxt_solver": Reader(
        seeds.prototxts, ("solver.prototxt",), lambda folder, path: prototxt.read_solver(path)
    ),
    "weights": Reader(seeds.models, ("net.caffemodel*",), _weights),
    "torch_weights": Reader(
        seeds.torch_states, ("net.pth",), lambda folder, path: torch_weights.read(path)
    ),
    "caffe_database": Reader(seeds.trained_databases, ("data.mdb",), arguments=TRAIN),
    "caffe_triplets": Reader(seeds.triplet_lists, ("triplets.h5",), arguments=TRAIN),
    "caffe_weights": Reader(
        seeds.training_weights,
        ("net.caffemodel*",),
        arguments=(*TRAIN, "-weights", "{target}"),
    ),
    "caffe_snapshot": Reader(
        seeds.solver_states,
        ("state.solverstate*", "net.caffemodel*"),
        arguments=(*TRAIN, "-snapshot", "{state}"),
    ),
    "caffe_prototxt": Reader(
        seeds.training_prototxts, ("*.prototxt",), arguments=TRAIN, may_change="*"
    ),
}

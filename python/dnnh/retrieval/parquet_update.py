"""Updates of an index in Parquet files: dnnh.retrieval.index_update for dnnh.retrieval.parquet.

An update encodes on Spark what is new or has changed, and writes one file: the rows that differ from
those of the first encoding, because of earlier updates, too. The file before it stays until the next
update, for searches that are running.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files
from dnnh.data import sources
from dnnh.data.sources import Item
from dnnh.errors import UserError
from dnnh.nets.specs import NetSpec
from dnnh.retrieval import index_claim, index_writer, parquet, spark_encoding
from dnnh.retrieval.image_index import PRESENT
from dnnh.retrieval.index_update import Update
from dnnh.retrieval.parquet import About, Images
from dnnh.retrieval.spark_encoding import Job


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Images that an update has encoded, in the order of the source.

    Attributes
    ----------
    positions : int64 array of shape (m,)
        Their rows in the index (an ImageIndex); those of new images are behind the others.
    texts : pyarrow Table
        ``name``, ``labels`` and ``stamp``.
    codes : uint8 array of shape (m, ceil(q / 8))
    reasons : list of str
        Why images were skipped.
    """

    positions: NDArray[np.int64]
    texts: Any
    codes: NDArray[np.uint8]
    reasons: list[str]


def update(
    spark: Callable[[], contextlib.AbstractContextManager[Any]],
    folder: pathlib.Path,
    spec: NetSpec,
    weights: pathlib.Path,
    gpu: int | None = None,
) -> tuple[str, int]:
    """Encode what is new or has changed in the source of an index.

    Parameters
    ----------
    spark : function that returns a context manager of a SparkSession
        It is called if there are images to encode.
    folder : path of the index
    spec, weights, gpu : as of :func:`dnnh.retrieval.spark_encoding.encode`

    Returns
    -------
    str
        A summary of the update.
    int
        How many images could not be read.

    Raises
    ------
    UserError
        If the index has no stamps, another process updates it, its source has no images, no image
        is left, or Spark fails.
    """
    with _claimed(folder):
        images = parquet.read(folder)
        about = images.about
        changes = Update(parquet.index_of(images), folder)
        job = spark_encoding.job_of(spec, weights, about.source, about.stamp_kind, gpu)
        if job.digest != about.weights:
            raise UserError(f"{folder} was encoded with other weights than {weights}")
        encoded = _nothing_encoded(images)
        items = changes.to_encode(sources.items(about.source), about.stamp_kind)
        if (first := next(items, None)) is not None:
            items = itertools.chain([first], items)
            with spark() as session:
                encoded = _encode(session, job, items, _work_folder(folder), len(images.rows))
        count = max(len(images.rows), encoded.positions.max(initial=-1) + 1)
        states = changes.merged(encoded.positions, count)
        if not len(encoded.positions) and np.array_equal(states, images.states):
            index_writer.write_reasons(folder, encoded.reasons)
            return "nothing is new, changed or gone", len(encoded.reasons)
        if not (states == PRESENT).any():
            raise UserError(
                f"no image of {folder} is left in {about.source}; if that is so, delete the index"
            )
        summary = changes.summary(encoded.positions, count)
        _write_changes(folder, images, encoded, states)
        index_writer.write_reasons(folder, encoded.reasons)
        return summary, len(encoded.reasons)


def remove(folder: pathlib.Path, names: Sequence[str]) -> int:
    """Mark images of an index as removed: see :func:`dnnh.retrieval.index_writer.remove`."""
    with _claimed(folder):
        images = parquet.read(folder)
        changes = Update(parquet.index_of(images), folder)
        left = changes.remove(names)
        if np.array_equal(changes.states, images.states):
            return left
        _write_changes(folder, images, _nothing_encoded(images), changes.states)
        return left


@contextlib.contextmanager
def _claimed(folder: pathlib.Path) -> Iterator[None]:
    with index_claim.claimed(folder):
        _clear(folder)  # of what a killed update has left
        try:
            yield
        finally:
            _clear(folder)


def _clear(folder: pathlib.Path) -> None:
    shutil.rmtree(_work_folder(folder), ignore_errors=True)


def _work_folder(folder: pathlib.Path) -> pathlib.Path:
    return index_claim.folder_of(folder) / "encoded"


def _nothing_encoded(images: Images) -> Encoded:
    return Encoded(np.zeros(0, np.int64), images.texts.slice(0, 0), images.codes[:0], [])


def _encode(
    spark: Any, job: Job, items: Iterator[Item], folder: pathlib.Path, count: int
) -> Encoded:
    """Encode images, by files in a folder; ``count`` is how many images the index has."""
    from pyarrow import dataset

    positions: list[int | None] = []  # of the index, of all images

    def noted() -> Iterator[Item]:
        for item in items:
            positions.append(item.row)
            yield item

    folder.mkdir()
    spark_encoding.encode_items(spark, job, noted(), folder, folder)
    table = dataset.dataset(str(folder / parquet.IMAGES), format="parquet").to_table()
    table = table.sort_by("row")
    reasons = table["skipped"].to_pylist()
    rows = [row for row, reason in enumerate(reasons) if reason is None]
    of_index = []
    for row in rows:
        position = positions[row]
        of_index.append(count if position is None else position)
        count += position is None
    table = table.take(np.array(rows, np.int64))
    code_words = np.column_stack([table[name].to_numpy() for name in parquet.word_names(job.bits)])
    return Encoded(
        positions=np.array(of_index, np.int64),
        texts=table.select(["name", "labels", "stamp"]),
        codes=parquet.packed(code_words, job.bits),
        reasons=[reason for reason in reasons if reason is not None],
    )


def _write_changes(
    folder: pathlib.Path,
    images: Images,
    encoded: Encoded,
    states: NDArray[np.uint8],
) -> None:
    """Write the rows that differ from those of the first encoding, and about.json."""
    import pyarrow
    from pyarrow import parquet as parquet_files

    about, old = images.about, len(images.rows)
    is_changed = np.ones(len(states), bool)
    is_changed[:old] = images.changed | (states[:old] != images.states)
    is_changed[encoded.positions] = True
    positions = np.flatnonzero(is_changed)
    first_new = max(about.encoded + about.skipped, images.rows.max(initial=-1) + 1)
    rows = np.concatenate([images.rows, first_new + np.arange(len(states) - old)])
    # Where the text and the code of each row are: the old ones, and behind them the new.
    places = np.arange(len(states))
    places[encoded.positions] = old + np.arange(len(encoded.positions))
    places = places[positions]
    schema = pyarrow.schema(
        [
            ("name", pyarrow.string()),
            ("labels", pyarrow.list_(pyarrow.string())),
            ("stamp", pyarrow.string()),
        ]
    )
    texts = [images.texts, encoded.texts.cast(images.texts.schema)]
    table = pyarrow.concat_tables(texts).take(places).cast(schema)
    code_words = parquet.words(np.concatenate([images.codes, encoded.codes])[places])
    for name, values in (
        ("row", rows[positions]),
        ("state", states[positions]),
        *zip(parquet.word_names(about.bits), code_words.T),
    ):
        table = table.append_column(name, pyarrow.array(np.ascontiguousarray(values)))
    name = f"changes-{about.updates + 1}.parquet"
    with atomic_files.write_atomically(folder / name) as partial:
        parquet_files.write_table(table, partial)
    _write_about(folder, about, changes=name, changed=len(table))
    for path in folder.glob("changes-*.parquet"):
        if path.name not in (name, about.changes):
            path.unlink()


def _write_about(folder: pathlib.Path, about: About, **changed: Any) -> None:
    if parquet.read_about(folder) != about:
        raise UserError(f"{folder} was replaced during its update; run the same command again")
    parquet.write_about(folder, dataclasses.replace(about, updates=about.updates + 1, **changed))

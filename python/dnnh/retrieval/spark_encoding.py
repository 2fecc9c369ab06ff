"""Encoding images on Apache Spark, into the Parquet files of dnnh.retrieval.parquet.

What machines need is in :mod:`dnnh.retrieval.spark_session`. Losing a worker costs time but no
data.
"""

import functools
import itertools
import os
import pathlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnnh import atomic_files, files
from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.nets import prototxt
from dnnh.nets.caffe_encoder import CaffeEncoder
from dnnh.nets.net_config import InputConfig
from dnnh.nets.specs import NetSpec
from dnnh.retrieval import image_groups, index_writer, parquet, spark_session

GROUPS_A_PART = 1000  # that one file of codes is made from, at most
PARTS_A_CORE = 4  # so that no core waits long for the last
GROUPS_A_TABLE = 1000  # of the list of images, that are written at a time


@dataclass(frozen=True)
class Job:
    """What a worker has to know: which net, with which weights, and whose images.

    Attributes
    ----------
    deploy : str
        The text of the deploy prototxt.
    net_input : InputConfig
    bits : int
    weights : str
        Path of the .caffemodel.
    digest : str
        Its SHA-256.
    source : str
        Path of the images.
    stamp : str
        One of dnnh.data.sources.STAMPS.
    gpu : int, or None
        Of each machine; None is the CPU.
    """

    deploy: str
    net_input: InputConfig
    bits: int
    weights: str
    digest: str
    source: str
    stamp: str = sources.STAMPS[0]
    gpu: int | None = None


@dataclass(frozen=True)
class Counts:
    """How many images were encoded, and how many skipped."""

    encoded: int
    skipped: int


def encode(
    spark: Any,
    source: StrPath,
    spec: NetSpec,
    weights: StrPath,
    output: StrPath,
    gpu: int | None = None,
    stamp: str = sources.STAMPS[0],
) -> Counts:
    """Encode the images of a source, on all of Spark's workers.

    Parameters
    ----------
    spark : SparkSession
    source : path, see dnnh.data.sources.items
    spec : NetSpec
    weights : path of a .caffemodel
    output : path of the index to write; it is written atomically
    gpu : int, optional
        The GPU of each machine that its workers share; they compute on the CPU by default.
    stamp : str
        One of dnnh.data.sources.STAMPS: how an update will see that an image has changed.

    Raises
    ------
    UserError
        If there is no such source or nothing of it could be encoded, if the machines do not
        see the same weights, images and ``output``, if one has no such GPU, or if Spark fails.
    """
    source = files.resolved(source)
    index_writer.check_is_text(str(source))
    job = job_of(spec, weights, source, stamp, gpu)
    with atomic_files.write_atomically(output) as partial:
        partial.mkdir()
        counts = encode_items(spark, job, sources.items(source), partial, output)
        if not counts.encoded:
            raise UserError(f"{source} has no image that can be read")
        parquet.write_about(
            partial,
            parquet.About(
                bits=spec.bits,
                dataset=spec.dataset,
                method=spec.method,
                schedule=spec.schedule,
                weights=job.digest,
                source=job.source,
                encoded=counts.encoded,
                skipped=counts.skipped,
                stamp_kind=stamp,
            ),
        )
    return counts


def job_of(
    spec: NetSpec, weights: StrPath, source: StrPath, stamp: str, gpu: int | None = None
) -> Job:
    """What a worker has to know; arguments as of :func:`encode`."""
    weights = files.resolved(weights)
    return Job(
        # The last sub-network encodes the database, where there are two (section 4.4).
        deploy=prototxt.deploy_text(spec, spec.config.towers[-1]),
        net_input=spec.config.input,
        bits=spec.bits,
        weights=str(weights),
        digest=files.sha256(weights),
        source=str(source),
        stamp=stamp,
        gpu=gpu,
    )


def encode_items(
    spark: Any, job: Job, items: Iterable[sources.Item], folder: pathlib.Path, output: StrPath
) -> Counts:
    """Encode images on all workers, into Parquet files of ``folder / parquet.IMAGES``.

    Parameters
    ----------
    spark : SparkSession
    job : Job
    items : iterable of dnnh.data.sources.Item
        Their rows in the files are 0, 1, ....
    folder : path
        That all machines share.
    output : path
        Of the index, for messages.

    Raises
    ------
    UserError
        If files of some machines are missing.
    """
    # Images are listed here, a group a row, and read and encoded by the workers.
    listing, images = folder / "listing", folder / parquet.IMAGES
    listed = _list_groups(items, listing)
    _encode_listed(spark, job, listed.groups, listing, images)
    listing.unlink()
    counts = _count(spark, images)
    if counts.encoded + counts.skipped != listed.images:
        raise UserError(
            f"{counts.encoded + counts.skipped:,} of {listed.images:,} images came back to "
            f"{output}; it must be a folder that all machines share"
        )
    return counts


@dataclass(frozen=True)
class _Listed:
    """How many images a source has, and how many groups they are encoded in."""

    groups: int
    images: int


def _list_groups(items: Iterable[sources.Item], path: pathlib.Path) -> _Listed:
    """Write which images there are, one row for each group that is encoded at once."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema(
        [
            ("first", pyarrow.int64()),
            ("names", pyarrow.list_(pyarrow.string())),
            ("labels", pyarrow.list_(pyarrow.list_(pyarrow.string()))),
        ]
    )
    # Names and labels alone: an item of an LMDB holds its pixels.
    named = ((item.name, list(item.labels)) for item in items)
    groups = images = 0
    with ParquetWriter(path, schema) as writer:
        for some in _batches(_batches(named, image_groups.GROUP), GROUPS_A_TABLE):
            firsts = image_groups.GROUP * (groups + np.arange(len(some)))
            names = [[name for name, _ in group] for group in some]
            labels = [[labels for _, labels in group] for group in some]
            writer.write_table(pyarrow.table([firsts, names, labels], schema=schema))
            groups += len(some)
            images += sum(len(group) for group in some)
    return _Listed(groups, images)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items; the last may be shorter."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _encode_listed(
    spark: Any, job: Job, groups: int, listing: pathlib.Path, images: pathlib.Path
) -> None:
    """Let the workers encode the groups of a listing, into files of the folder ``images``."""
    parts = max(-(-groups // GROUPS_A_PART), PARTS_A_CORE * spark.sparkContext.defaultParallelism)
    columns = ["row long", "name string", "labels array<string>", "stamp string"]
    columns.append("skipped string")
    columns += [f"{name} long" for name in parquet.word_names(job.bits)]
    (
        spark.read.parquet(spark_session.pattern(listing))
        .repartition(max(1, min(groups, parts)))
        .mapInPandas(functools.partial(_encode_groups, job), ", ".join(columns))
        .write.parquet(spark_session.url(images))
    )


def _count(spark: Any, images: pathlib.Path) -> Counts:
    rows = (
        spark.read.parquet(spark_session.pattern(images))
        .selectExpr("skipped IS NULL AS is_encoded")
        .groupBy("is_encoded")
        .count()
        .collect()
    )
    counts = {row["is_encoded"]: row["count"] for row in rows}
    return Counts(counts.get(True, 0), counts.get(False, 0))


def _encode_groups(job: Job, tables: Iterable[Any]) -> Iterator[Any]:
    """For mapInPandas: rows of a listing to rows of an index, a group at a time."""
    import pandas

    net = _net(job)
    word_names = parquet.word_names(job.bits)
    for_rows, for_items = itertools.tee(_listed_items(job, tables))
    items = (item for _, item in for_items)
    for group in image_groups.read_groups(items, job.net_input, job.stamp):
        rows = [row for row, _ in itertools.islice(for_rows, len(group.items))]
        is_encoded = [reason is None for reason in group.reasons]
        words = np.zeros((len(rows), len(word_names)), np.int64)
        if any(is_encoded):
            words[is_encoded] = parquet.words(group.encode(net.outputs))
        yield pandas.DataFrame(
            {
                "row": rows,
                "name": [item.name for item in group.items],
                "labels": [list(item.labels) for item in group.items],
                "stamp": group.stamps,
                "skipped": group.reasons,
                **dict(zip(word_names, words.T)),
            }
        )


def _listed_items(job: Job, tables: Iterable[Any]) -> Iterator[tuple[int, sources.Item]]:
    """The images of a listing, each with its row of the index."""
    for table in tables:
        for first, names, labels in zip(table["first"], table["names"], table["labels"]):
            for row, (name, of_image) in enumerate(zip(names, labels), start=first):
                yield row, sources.item(job.source, name, tuple(of_image))


@functools.cache
def _net(job: Job) -> CaffeEncoder:
    """A worker's net, opened when it is first needed: nets cannot be sent to it."""
    if not os.path.exists(job.source):
        raise UserError(
            f"{socket.gethostname()} has no {job.source}; all machines need the same images"
        )
    if files.sha256(job.weights) != job.digest:
        raise UserError(
            f"{job.weights} is another file on {socket.gethostname()} than where "
            "this was started; all machines need the same weights"
        )
    return CaffeEncoder(job.deploy, job.weights, job.gpu)

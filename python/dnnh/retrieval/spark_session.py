"""A session of Apache Spark, for indexes that outgrow one machine.

Every machine needs this repository, built, and the images and the weights, all at the same
paths (a shared file system); Spark brings the rest.
"""

import contextlib
import os
import re
import socket
import sys
import urllib.parse
from collections.abc import Iterator
from typing import Any

from dnnh import files
from dnnh.errors import UserError
from dnnh.files import StrPath

MASTER = "local[*]"
SECONDS_TO_CONNECT = 5
DEFAULT_PORT = 7077


@contextlib.contextmanager
def session(master: str = MASTER) -> Iterator[Any]:
    """Yield a SparkSession, and stop it.

    Parameters
    ----------
    master : str
        ``local[2]``, ``local-cluster[2,1,2048]`` (machines, cores, MB: processes of
        their own on this machine), ``spark://host:port``, ``yarn``, ...

    Raises
    ------
    UserError
        If Spark or Java is not installed, or the master cannot be reached; and in place of
        what Spark raises inside the block.
    """
    try:
        # PySpark itself imports these two only when it needs them.
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UserError(
            f"the engine 'spark' is not installed completely ({error}); install it with "
            "'.venv/bin/pip install -e .[spark]'"
        ) from error
    if SparkSession.getActiveSession():
        raise UserError("this process has a Spark session already; stop that first, or use it")
    _check_reachable(master)
    # Workers run this very Python, with the packages that are in its environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder: Any = SparkSession.builder
    try:
        opened = (
            builder.master(master)
            .appName("DNNH on Caffe")
            .config("spark.log.level", "ERROR")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "true")
            .getOrCreate()
        )
    except (PySparkException, Py4JError) as error:
        raise UserError(
            f"Spark does not start on '{master}': {_reason(error)}; it needs "
            "Java 17 or later (Debian: openjdk-17-jre-headless)"
        ) from error
    try:
        yield opened
    except (PySparkException, Py4JError) as error:
        raise UserError(f"Spark: {_reason(error)}") from error
    finally:
        opened.stop()


def url(path: StrPath) -> str:
    """A path as Spark writes to it: not percent-encoded, since Spark would not decode it."""
    return f"file://{files.resolved(path)}"


def pattern(path: StrPath) -> str:
    """A path as Spark reads it: as a pattern, whose special characters are escaped."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", url(path))


def _check_reachable(master: str) -> None:
    """Spark itself tries for a minute, and then says so in a hundred lines."""
    if not master.startswith("spark://"):
        return
    reason = None
    for address in master.removeprefix("spark://").split(","):
        try:
            parts = urllib.parse.urlsplit(f"//{address}")
            where = parts.hostname or "", parts.port or DEFAULT_PORT
            socket.create_connection(where, SECONDS_TO_CONNECT).close()
            return
        except (OSError, ValueError) as error:
            reason = error
    raise UserError(f"nothing answers at {master} ({reason}); is the master running?")


def _reason(error: Exception) -> str:
    """The line of Spark's many that says what happened."""
    ours = "dnnh.errors.UserError: "
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if line.startswith((ours, "Caused by: ")):
            return line.removeprefix(ours)
    return lines[0].removeprefix(ours) if lines else type(error).__name__

"""The index that a server answers from: it is opened again when its file is replaced."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from dnnh.errors import UserError
from dnnh.retrieval import parquet
from dnnh.retrieval.image_index import IndexChanged
from dnnh.retrieval.retriever import QueryEncoder, Retriever


@dataclass(frozen=True)
class OpenedIndex:
    """What answers requests: a retriever, and the net that encoded its index."""

    retriever: Retriever
    encoder: QueryEncoder


class ServedIndex:
    """An index at a path, which others may replace, delete or write to at any time.

    Names and labels are read from the file when they are asked for, so an index whose file was
    written to is closed. A context manager; any number of threads may use it.

    Parameters
    ----------
    path : path of the index
    open_index : function
        Opens the index.
    """

    def __init__(
        self, path: pathlib.Path, open_index: Callable[[], AbstractContextManager[OpenedIndex]]
    ) -> None:
        self._path, self._open_index = path, open_index
        self._opening = threading.Lock()
        self._version: tuple[int, ...] | None = None
        self._opened: OpenedIndex | None = None
        self._problem = ""
        # Requests that are being answered still use the one before.
        self._current = contextlib.ExitStack()
        self._before = contextlib.ExitStack()

    def __enter__(self) -> "ServedIndex":
        self._open(self._version_on_disk())
        if self._opened is None:
            raise UserError(self._problem)
        return self

    def __exit__(self, *exception: object) -> None:
        self._before.close()
        self._current.close()

    def is_current(self) -> bool:
        """Whether :meth:`opened` answers at once. A deleted index stays in use."""
        version = self._version_on_disk()
        return self._opened is not None and version in (None, self._version)

    def opened(self) -> OpenedIndex:
        """The index that is at the path now; while another request opens it, the one before.

        Raises
        ------
        IndexChanged
            If there is none that can be opened.
        """
        before = self._opened
        if not self._opening.acquire(blocking=before is None):
            assert before is not None
            return before
        try:
            if not self.is_current():
                self._open(self._version_on_disk())
            if self._opened is None:
                raise IndexChanged(f"the index is being replaced, try again: {self._problem}")
            return self._opened
        finally:
            self._opening.release()

    def _open(self, version: tuple[int, ...] | None) -> None:
        if version and self._version and version[:2] == self._version[:2]:
            # Written to in place. HDF5 would open the same file again as it was before.
            self._opened = None
            self._before.close()
            self._current.close()
        with contextlib.ExitStack() as stack:
            try:
                opened = stack.enter_context(self._open_index())
            except UserError as error:
                self._opened, self._problem = None, str(error)
                return
            self._before.close()
            self._before, self._current = self._current, stack.pop_all()
        self._opened, self._version = opened, version

    def _version_on_disk(self) -> tuple[int, ...] | None:
        """What changes with the index; None if there is none."""
        path = self._path / parquet.ABOUT if self._path.is_dir() else self._path
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

"""Encoding images into an index, with what is needed to resume after an interruption."""

import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, limits, packed_codes
from dnnh.data import sources
from dnnh.errors import UserError, printable
from dnnh.files import StrPath
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval import index_claim
from dnnh.retrieval.image_groups import Group, Outputs
from dnnh.retrieval.image_index import PRESENT, Entry
from dnnh.retrieval.index_update import Update

ROWS = 100_000  # that are copied at a time
TEXT = h5py.string_dtype()
STRING_BYTES = 120  # that HDF5 adds to the texts of an image
TEXTS = ("names", "labels", "stamps")

# What an index is made from, in the folder beside it: codes; names, labels and stamps (a JSON list
# a line); and why images were skipped (a sentence a line).
FILES = ("codes", "entries", "skipped")


@dataclass
class State:
    """How far an index is complete: the content of state.json, replaced atomically.

    Attributes
    ----------
    about : dict
        The net, the source and, of an update, the SHA-256 of the index; others cannot go on here.
    seen : int
        Images of the source that are done, encoded or skipped.
    digest : str
        Of the names, labels and stamps of these images.
    encoded, skipped : int
    complete : dict
        How many bytes of each of FILES are complete.
    """

    about: dict[str, Any]
    seen: int = 0
    digest: str = ""
    encoded: int = 0
    skipped: int = 0
    complete: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FILES, 0))


def _next_digest(digest: str, item: sources.Item) -> str:
    """The digest of the images up to this one, from that of the images before it."""
    text = json.dumps([digest, item.name, item.labels, item.stamp("time")])
    return hashlib.sha256(text.encode()).hexdigest()


def check_is_text(source: str) -> None:
    """Raise UserError if the path of the images is not UTF-8: an index has it as text.

    At the start, not when hours of encoding are to be written.
    """
    if sources.as_text(source) != source:
        raise UserError(f"{printable(source)} has a name that is not text in UTF-8; rename it")


class Kept(Protocol):
    """What an index keeps of each image while it is written, and how that becomes codes."""

    row_bytes: int

    def rows(self, group: Group, outputs: Outputs) -> NDArray[Any]:
        """What is kept of a group's images, a row each."""
        ...

    def finish(
        self, file: h5py.File, rows: NDArray[np.uint8], labels: Iterable[tuple[str, ...]]
    ) -> NDArray[np.uint8]:
        """Write what else encodes queries into an index, and return the packed codes."""
        ...


class PackedCodes:
    """Codes as the net gives them."""

    def __init__(self, bits: int) -> None:
        self.row_bytes = packed_codes.code_bytes(bits)

    def rows(self, group: Group, outputs: Outputs) -> NDArray[np.uint8]:
        return group.encode(outputs)

    def finish(
        self, file: h5py.File, rows: NDArray[np.uint8], labels: Iterable[tuple[str, ...]]
    ) -> NDArray[np.uint8]:
        return rows


class SourceChanged(UserError):
    """What was begun cannot go on: the source has other images or labels now."""


class IndexWriter:
    """Encodes images into an index, group by group; resumes where it was interrupted.

    What is done so far lies in a folder beside the index, ``<name>.partial``: codes, names and
    labels as they come, and up to where all of them are complete. Use it within
    :func:`.index_claim.claimed`.

    Parameters
    ----------
    path : path of the index
    net : NetInfo
        The net that encodes; with another one than before it cannot resume.
    source : str
        Path of the images; likewise.
    kept : Kept, optional
        What is kept of each image until the index is written: by default its packed code.
    stamp : str
        One of dnnh.data.sources.STAMPS: the kind of stamps that the index gets.
    update : Update, optional
        The index at ``path``, which gets images that are new or have changed.

    Raises
    ------
    UserError
        If the files there are damaged or belong to another net or source.
    """

    def __init__(
        self,
        path: StrPath,
        net: NetInfo,
        source: str,
        kept: Kept | None = None,
        stamp: str = sources.STAMPS[0],
        update: Update | None = None,
    ) -> None:
        self.path, self.net, self.source = pathlib.Path(path), net, source
        self.kept = kept or PackedCodes(net.bits)
        self.stamp, self.update = stamp, update
        check_is_text(source)
        self.folder = index_claim.folder_of(path)
        with index_claim.naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self._read_state()
        self._files = {}
        for name in FILES:
            with index_claim.naming(self.folder):
                # Unbuffered: a buffer that a full disk does not take is written again at exit.
                file = (self.folder / name).open("ab", buffering=0)
                # Behind what is complete there may be a part of a group.
                file.truncate(self.state.complete[name])
                file.seek(0, os.SEEK_END)  # tell() would give the old end
            self._files[name] = file

    @property
    def _state_path(self) -> pathlib.Path:
        return self.folder / "state.json"

    def _read_state(self) -> State:
        """The state in the folder, checked; a new one if there is none."""
        path = self._state_path
        start = State({**asdict(self.net), "source": self.source, "stamp_kind": self.stamp})
        if self.update is not None:
            start.about["update_of"] = files.sha256(self.path)
        if not path.exists():
            return start
        try:
            content = files.read_json(path)
            types = {name: type(value) for name, value in asdict(start).items()}
            if {name: type(value) for name, value in content.items()} != types:
                raise ValueError("it has other entries")
            state = State(**content)
            if state.complete.keys() != start.complete.keys():
                raise ValueError("it has other files")
            for name, complete in state.complete.items():
                size = (self.folder / name).stat().st_size
                if type(complete) is not int or not 0 <= complete <= size:
                    raise ValueError(f"'{name}' has {size} bytes, not {complete}")
            self._check_counts(state)
        except (UserError, OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}); delete {self.folder} to start again"
            ) from error
        update_of = start.about.get("update_of")
        if update_of is not None and state.about.get("update_of") != update_of:
            of_index = {**start.about, "update_of": state.about.get("update_of")}
            if {"update_of": None, **state.about} == of_index:
                path.unlink()  # finished, but not deleted; or the index has changed since
                return start
        if state.about != start.about:
            raise UserError(
                f"{self.folder} is of another net or other images ({state.about}); delete it to "
                "start again, or name another --output"
            )
        return state

    def _check_counts(self, state: State) -> None:
        """Raise ValueError where the numbers of images fit neither each other nor the codes."""
        encoded, skipped = state.encoded, state.skipped
        if min(encoded, skipped) < 0 or state.seen != encoded + skipped:
            raise ValueError(f"of {state.seen} images {encoded} are encoded, {skipped} skipped")
        if state.complete["codes"] != encoded * self.kept.row_bytes:
            raise ValueError(f"{encoded} codes have {state.complete['codes']} bytes")

    @property
    def _old_rows(self) -> int:
        return 0 if self.update is None else len(self.update.states)

    @property
    def seen(self) -> int:
        """Images of the source that are done: encoded or skipped."""
        return self.state.seen

    def advance(self, images: Iterator[sources.Item]) -> None:
        """Go past the images that are done; they must be the same as before.

        Raises
        ------
        SourceChanged
            If they are not: images or labels were added, changed or taken away.
        """
        digest = ""
        for image in itertools.islice(images, self.seen):
            digest = _next_digest(digest, image)
        if digest != self.state.digest:
            raise SourceChanged(
                f"{self.source} has other images or labels than when {self.folder} was started, "
                f"among the first {self.seen:,}; delete that folder to start again"
            )

    def add(self, group: Group, outputs: Outputs) -> None:
        """Encode a group of images; those that cannot be read are listed and skipped.

        Parameters
        ----------
        group : Group
            Of GROUP images, but for the last.
        outputs : function of images, uint8 (k, height, width, channels), to relaxed codes (k, q)
        """
        rows = self.kept.rows(group, outputs)
        entries, skipped = [], []
        for item, stamp, reason in zip(group.items, group.stamps, group.reasons):
            if reason is None:
                entries.append(json.dumps([item.name, item.labels, stamp, item.row]) + "\n")
            else:
                skipped.append(f"{reason}\n")
        self._append("codes", rows.tobytes())
        self._append("entries", "".join(entries).encode())
        self._append("skipped", "".join(skipped).encode())
        self.state.seen += len(group.items)
        for item in group.items:
            self.state.digest = _next_digest(self.state.digest, item)
        self.state.encoded += len(rows)
        self.state.skipped += len(skipped)
        # What the state counts is on the disk before it, also after a power failure.
        with index_claim.naming(self.folder):
            for file in self._files.values():
                os.fsync(file.fileno())
        atomic_files.write_text(self._state_path, json.dumps(asdict(self.state)))

    def _append(self, name: str, data: bytes) -> None:
        file = self._files[name]
        with index_claim.naming(self.folder):
            while data:
                data = data[file.write(data) :]
        self.state.complete[name] = file.tell()

    def reset(self) -> None:
        """Delete what was begun."""
        self._close()
        # The state first: without it the rest is nothing.
        for name in (self._state_path.name, *FILES):
            (self.folder / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what was begun, and leave the index as it is; write why images were skipped."""
        self._close()
        self._write_reasons()
        self.reset()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def finish(self) -> int:
        """Write the index, and delete what it was made from.

        Returns the number of images that were skipped; the reasons are then beside the index,
        in ``<name>.skipped.txt``.

        Raises
        ------
        UserError
            If nothing could be encoded.
        """
        self._close()
        if not self.state.encoded and self.update is None:
            first_reason = (self.folder / "skipped").read_text(encoding="utf-8").partition("\n")[0]
            self.reset()
            raise UserError(
                f"{self.source} has no image that can be read"
                + (f"; the first: {first_reason}" if first_reason else "")
            )
        rows, count = self.rows()
        if self.update is not None:
            if files.sha256(self.path) != self.state.about["update_of"]:
                raise UserError(
                    f"{self.path} was replaced during its update; run the same command again"
                )
            if not (self.update.merged(rows, count) == PRESENT).any():
                raise UserError(
                    f"no image of {self.path} is left in {self.source}; if that is so, delete the "
                    "index"
                )
        row_bytes = packed_codes.code_bytes(self.net.bits) + STRING_BYTES
        size = self.state.complete["entries"] + row_bytes * count
        if not isinstance(self.kept, PackedCodes):
            size += limits.HASH_BYTES
        if self.update is not None:
            size += self.path.stat().st_size
        with atomic_files.write_hdf5_atomically(self.path, size) as file:
            self._write_codes(file, rows, count)
            self._write_text(file, count)
            for name, value in self.state.about.items():
                if name != "update_of":
                    file.attrs[name] = value
            self._write_reasons()
        self.reset()
        return self.state.skipped

    def rows(self) -> tuple[NDArray[np.int64], int]:
        """The row of each image that was encoded, and how many rows the index has."""
        if self.update is None:
            return np.arange(self.state.encoded), self.state.encoded
        count, rows = len(self.update.states), []
        for entry in self._entries():
            rows.append(count if entry.row is None else entry.row)
            count += entry.row is None
        return np.array(rows, np.int64), count

    def _write_reasons(self) -> None:
        with (self.folder / "skipped").open(encoding="utf-8") as lines:
            write_reasons(self.path, map(str.rstrip, lines))

    def _write_codes(self, file: h5py.File, rows: NDArray[np.int64], count: int) -> None:
        kept = np.zeros((0, self.kept.row_bytes), np.uint8)
        if self.state.encoded:  # nothing cannot be mapped
            shape = self.state.encoded, self.kept.row_bytes
            kept = np.memmap(self.folder / "codes", np.uint8, "r", shape=shape)
        codes = self.kept.finish(file, kept, (entry.labels for entry in self._entries()))
        states = np.full(count, PRESENT, np.uint8)
        if self.update is not None:
            merged = np.zeros((count, codes.shape[1]), np.uint8)
            old = self.update.index.codes
            assert old is not None
            merged[: len(old)] = old
            merged[rows] = codes
            codes, states = merged, self.update.merged(rows, count)
        file["codes"], file["states"] = codes, states

    def _write_text(self, file: h5py.File, count: int) -> None:
        stored = {name: file.create_dataset(name, (count,), TEXT) for name in TEXTS}
        entries = self._merged()
        for start in range(0, count, ROWS):
            part = list(itertools.islice(entries, ROWS))
            some = slice(start, start + len(part))
            stored["names"][some] = [entry.name for entry in part]
            stored["labels"][some] = [json.dumps(entry.labels) for entry in part]
            stored["stamps"][some] = [entry.stamp for entry in part]

    def _merged(self) -> Iterator[Entry]:
        """The entries of all rows."""
        if self.update is None:
            yield from self._entries()
            return
        changed = {entry.row: entry for entry in self._entries() if entry.row is not None}
        for row, entry in enumerate(self.update.entries()):
            yield changed.get(row, entry)
        yield from (entry for entry in self._entries() if entry.row is None)

    def _entries(self) -> Iterator[Entry]:
        """The entry of each image that was encoded."""
        path = self.folder / "entries"
        with path.open(encoding="utf-8") as lines:
            for line in range(self.state.encoded):
                try:
                    name, labels, stamp, row = json.loads(next(lines))
                    if not all(isinstance(text, str) for text in (name, *labels, stamp)):
                        raise ValueError("not text")
                    if row is not None and not 0 <= row < self._old_rows:
                        raise ValueError(f"row {row}")
                except (ValueError, TypeError, StopIteration, RecursionError) as error:
                    raise UserError(
                        f"{path} is damaged in line {line + 1:,} ({error}); delete {self.folder} "
                        "to start again"
                    ) from error
                yield Entry(name, tuple(labels), stamp, row)


def write_reasons(path: pathlib.Path, reasons: Iterable[str]) -> None:
    """Write why images were skipped beside their index, ``<name>.skipped.txt``; nothing if none."""
    path = files.resolved(path)
    file = path.with_name(f"{path.name}.skipped.txt")
    with atomic_files.write_atomically(file) as partial, partial.open("w", encoding="utf-8") as out:
        out.writelines(f"{reason}\n" for reason in reasons)
    if not file.stat().st_size:
        file.unlink()


def remove(path: pathlib.Path, names: Sequence[str]) -> int:
    """Mark images of an index as removed: no search finds them.

    Returns the number of images that are left.

    Raises
    ------
    UserError
        If the index has no such image, none is left, or it cannot be updated; then none is removed.
    """
    with index_claim.claimed_index(path) as index:
        update = Update(index, path)
        left = update.remove(names)
        if index.states is not None and np.array_equal(update.states, index.states):
            return left
        with (
            h5py.File(path) as old,
            atomic_files.write_hdf5_atomically(path, path.stat().st_size) as file,
        ):
            for part in old:
                if part != "states":
                    old.copy(part, file)
            file["states"] = update.states
            for name, value in old.attrs.items():
                file.attrs[name] = value
        return left

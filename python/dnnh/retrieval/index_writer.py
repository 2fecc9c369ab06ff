"""Encoding images into an index, with what is needed to resume after an interruption."""

import contextlib
import fcntl
import hashlib
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, packed_codes
from dnnh.data import sources
from dnnh.errors import UserError, printable
from dnnh.files import StrPath
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval.image_groups import Group, Outputs

ROWS = 100_000  # that are copied at a time
TEXT = h5py.string_dtype()
STRING_BYTES = 80  # that HDF5 adds to the texts of an image, two

# What an index is made from, in the folder beside it: codes, names and labels (a JSON list a
# line), and why images were skipped (a sentence a line).
FILES = ("codes", "entries", "skipped")


@dataclass
class State:
    """How far an index is complete: the content of state.json, replaced atomically.

    Attributes
    ----------
    about : dict
        The net and the source; others cannot go on here.
    seen : int
        Images of the source that are done, encoded or skipped.
    digest : str
        Of the names, labels and stamps of these images.
    encoded, skipped : int
    codes_bytes, entries_bytes, skipped_bytes : int
        How much of each of FILES is complete.
    """

    about: dict[str, Any]
    seen: int = 0
    digest: str = ""
    encoded: int = 0
    skipped: int = 0
    codes_bytes: int = 0
    entries_bytes: int = 0
    skipped_bytes: int = 0

    def complete_bytes(self, name: str) -> int:
        """How much of one of FILES is complete."""
        return getattr(self, f"{name}_bytes")


def _next_digest(digest: str, item: sources.Item) -> str:
    """The digest of the images up to this one, from that of the images before it."""
    text = json.dumps([digest, item.name, item.labels, item.stamp()])
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

    def write(
        self, file: h5py.File, rows: NDArray[np.uint8], labels: Iterable[tuple[str, ...]]
    ) -> None:
        """Write ``codes``, and all else that encodes queries, into an index."""
        ...


class PackedCodes:
    """Codes as the net gives them."""

    def __init__(self, bits: int) -> None:
        self.row_bytes = packed_codes.code_bytes(bits)

    def rows(self, group: Group, outputs: Outputs) -> NDArray[np.uint8]:
        return group.encode(outputs)

    def write(
        self, file: h5py.File, rows: NDArray[np.uint8], labels: Iterable[tuple[str, ...]]
    ) -> None:
        file["codes"] = rows


class IndexWriter:
    """Encodes images into an index, group by group; resumes where it was interrupted.

    What is done so far lies in a folder beside the index, ``<name>.partial``: codes, names and
    labels as they come, and up to where all of them are complete. One process at a time writes
    there.

    Parameters
    ----------
    path : path of the index
    net : NetInfo
        The net that encodes; with another one than before it cannot resume.
    source : str
        Path of the images; likewise.
    kept : Kept, optional
        What is kept of each image until the index is written: by default its packed code.

    Raises
    ------
    UserError
        If another process writes there, or the files there are damaged or belong to another net or source.
    """

    def __init__(self, path: StrPath, net: NetInfo, source: str, kept: Kept | None = None) -> None:
        self.path, self.net, self.source = pathlib.Path(path), net, source
        self.kept = kept or PackedCodes(net.bits)
        check_is_text(source)
        self.folder = self.path.with_name(f"{self.path.name}.partial")
        with self._naming():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim = (self.folder / "claim").open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another process is writing to {self.folder}; wait for it, or name another "
                "--output"
            ) from error
        self.state = self._read_state()
        self._files = {}
        for name in FILES:
            with self._naming():
                # Unbuffered: a buffer that a full disk does not take is written again at exit.
                file = (self.folder / name).open("ab", buffering=0)
                # Behind what is complete there may be a part of a group.
                file.truncate(self.state.complete_bytes(name))
            self._files[name] = file

    def _naming(self) -> contextlib.AbstractContextManager[None]:
        """What is done stays, where writing fails."""
        remedy = "make room on the disk, and run the same command again to resume"
        return atomic_files.naming(self.folder, self.folder, remedy)

    @property
    def _state_path(self) -> pathlib.Path:
        return self.folder / "state.json"

    def _read_state(self) -> State:
        """The state in the folder, checked; a new one if there is none."""
        path = self._state_path
        start = State({**asdict(self.net), "source": self.source})
        if not path.exists():
            return start
        try:
            content = files.read_json(path)
            types = {name: type(value) for name, value in asdict(start).items()}
            if {name: type(value) for name, value in content.items()} != types:
                raise ValueError("it has other entries")
            state = State(**content)
            for name in FILES:
                complete = state.complete_bytes(name)
                size = (self.folder / name).stat().st_size
                if not 0 <= complete <= size:
                    raise ValueError(f"'{name}' has {size} bytes, not {complete}")
            self._check_counts(state)
        except (UserError, OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}); delete {self.folder} to start again"
            ) from error
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
        if state.codes_bytes != encoded * self.kept.row_bytes:
            raise ValueError(f"{encoded} codes have {state.codes_bytes} bytes")

    @property
    def seen(self) -> int:
        """Images of the source that are done: encoded or skipped."""
        return self.state.seen

    def advance(self, images: Iterator[sources.Item]) -> None:
        """Go past the images that are done; they must be the same as before.

        Raises
        ------
        UserError
            If they are not: images or labels were added, changed or taken away.
        """
        digest = ""
        for image in itertools.islice(images, self.seen):
            digest = _next_digest(digest, image)
        if digest != self.state.digest:
            raise UserError(
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
        for item, reason in zip(group.items, group.reasons):
            if reason is None:
                entries.append(json.dumps([item.name, item.labels]) + "\n")
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
        with atomic_files.write_atomically(self._state_path) as partial:
            partial.write_text(json.dumps(asdict(self.state)), encoding="utf-8")

    def _append(self, name: str, data: bytes) -> None:
        file = self._files[name]
        with self._naming():
            while data:
                data = data[file.write(data) :]
        setattr(self.state, f"{name}_bytes", file.tell())

    def finish(self) -> int:
        """Write the index, and delete what it was made from.

        Returns the number of images that were skipped; the reasons are then beside the index,
        in ``<name>.skipped.txt``.

        Raises
        ------
        UserError
            If nothing could be encoded.
        """
        for file in self._files.values():
            file.close()
        if not self.state.encoded:
            first_reason = (self.folder / "skipped").read_text(encoding="utf-8").partition("\n")[0]
            shutil.rmtree(self.folder)
            raise UserError(
                f"{self.source} has no image that can be read"
                + (f"; the first: {first_reason}" if first_reason else "")
            )
        text_bytes = self.state.entries_bytes + STRING_BYTES * self.state.encoded
        size = self.state.codes_bytes + text_bytes
        with atomic_files.write_hdf5_atomically(self.path, size) as file:
            self._write_codes(file)
            self._write_text(file)
            for name, value in self.state.about.items():
                file.attrs[name] = value
            file.attrs["skipped"] = self.state.skipped
            self._write_reasons()
        shutil.rmtree(self.folder)
        self._claim.close()
        return self.state.skipped

    def _write_reasons(self) -> None:
        reasons = self.path.with_name(f"{self.path.name}.skipped.txt")
        if self.state.skipped:
            with atomic_files.write_atomically(reasons) as partial:
                shutil.copy(self.folder / "skipped", partial)
        else:
            reasons.unlink(missing_ok=True)

    def _write_codes(self, file: h5py.File) -> None:
        shape = self.state.encoded, self.kept.row_bytes
        rows = np.memmap(self.folder / "codes", np.uint8, "r", shape=shape)
        self.kept.write(file, rows, (labels for _, labels in self._entries()))

    def _write_text(self, file: h5py.File) -> None:
        count = self.state.encoded
        names = file.create_dataset("names", (count,), TEXT)
        labels = file.create_dataset("labels", (count,), TEXT)
        entries = self._entries()
        for start in range(0, count, ROWS):
            part = list(itertools.islice(entries, ROWS))
            names[start : start + len(part)] = [name for name, _ in part]
            labels[start : start + len(part)] = [json.dumps(of_image) for _, of_image in part]

    def _entries(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Name and labels of each image."""
        path = self.folder / "entries"
        with path.open(encoding="utf-8") as lines:
            for row in range(self.state.encoded):
                try:
                    name, labels = json.loads(next(lines))
                    if not all(isinstance(text, str) for text in (name, *labels)):
                        raise ValueError("not text")
                except (ValueError, TypeError, StopIteration, RecursionError) as error:
                    raise UserError(
                        f"{path} is damaged in line {row + 1:,} ({error}); delete {self.folder} "
                        "to start again"
                    ) from error
                yield name, tuple(labels)

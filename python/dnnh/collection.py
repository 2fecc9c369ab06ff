"""Collections: the codes of any number of images, with their names and labels.

An HDF5 file with ``codes`` (uint8, (n, ceil(q / 8)), packed as dnnh.ranking says), ``names``
(text, (n,)) and ``labels`` (text, (n,): a JSON list each), and the attributes ``bits``,
``dataset`` and ``variant`` (of the net), ``weights`` (sha256 of its .caffemodel), ``source``
and ``left_out`` (how many images could not be read).
"""

import dataclasses
import fcntl
import itertools
import json
import pathlib
import shutil

import h5py
import numpy as np

from dnnh import codes as codes_files
from dnnh import parquet, paths, ranking, search, sources
from dnnh.errors import UserError

GROUP = 100                # images that are coded, and then never lost, at once
ROWS = 100_000             # that are copied at a time
TEXT = h5py.string_dtype()
STRINGS = 80               # bytes that HDF5 adds to the texts of an image, two
# What a collection is made from, and where the state has how much of each is whole.
FILES = {"codes": "codes", "entries": "entries", "left_out": "left_out_bytes"}
ATTRIBUTES = ("bits", "left_out", *parquet.TEXTS)


@dataclasses.dataclass
class Collection:
    """A collection in memory, but for names and labels, which stay in the file.

    Attributes
    ----------
    codes : uint8 array of shape (n, ceil(q / 8))
    bits : int
    dataset, variant, weights, source : str
    left_out : int
    names, labels : functions of a row, a slice or an array of rows
    """

    codes: np.ndarray
    bits: int
    dataset: str
    variant: str
    weights: str
    source: str
    left_out: int
    names: object
    labels: object


def load(path):
    """Read a collection: HDF5, or a folder of Parquet files as dnnh.parquet says.

    Raises
    ------
    UserError
        If it is not there, or is none.
    """
    if pathlib.Path(path).is_dir():
        return Collection(**parquet.load(path))
    if not pathlib.Path(path).exists():
        raise UserError(f"{path} is not there; make a collection of codes with "
                        "'python tools/encode.py'")
    try:
        file = h5py.File(path, "r")
        missing = [name for name in ("codes", "names", "labels") if name not in file]
        missing += [name for name in ATTRIBUTES if name not in file.attrs]
        if missing:
            raise ValueError("it has no " + ", ".join(missing))
        bits = int(file.attrs["bits"])
        found = Collection(
            codes=file["codes"][:], bits=bits, left_out=int(file.attrs["left_out"]),
            **{name: str(file.attrs[name]) for name in parquet.TEXTS},
            names=lambda rows: _text(file["names"], rows),
            labels=lambda rows: [_labels(text, path)
                                 for text in _text(file["labels"], rows)])
        if not 1 <= bits <= codes_files.MAX_BITS:
            raise ValueError(f"it says {bits} bits")
        search.checked(found.codes, bits)
        for name in ("names", "labels"):
            if file[name].shape != found.codes.shape[:1] or (
                    h5py.check_string_dtype(file[name].dtype) is None):
                raise ValueError(f"{name} is {file[name].dtype} of shape {file[name].shape} "
                                 f"for {len(found.codes)} codes")
        return found
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
            OverflowError, MemoryError, UserError) as error:
        raise UserError(f"{path} is not a collection of codes ({error}); make one with "
                        "'python tools/encode.py'") from error


def _text(stored, rows):
    """Text of a row, a slice of rows or an array of rows, in its order: a list."""
    if not isinstance(rows, slice):
        # HDF5 gives rows once each, and rising.
        rows, places = np.unique(rows, return_inverse=True)
        values = stored[rows][places.ravel()]
    else:
        values = stored[rows]
    return [value.decode("utf-8", "replace") for value in values.tolist()]


def _labels(text, path):
    try:
        labels = json.loads(text)
        if not isinstance(labels, list) or not all(isinstance(label, str)
                                                   for label in labels):
            raise ValueError("no list of text")
        return tuple(labels)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} has the labels {text[:40]!r}, which are none ({error}); make "
                        "it again with 'python tools/encode.py'") from error


def coded(group, recipe, outputs):
    """Code a group of images.

    Parameters
    ----------
    group : list of dnnh.sources.Item
    recipe : dnnh.recipes.Recipe of the net, which knows how large images are
    outputs : function of images, uint8 (k, height, width, channels), to values (k, q)

    Returns
    -------
    codes : uint8 array of shape (k, ceil(q / 8)), of those that can be read
    refused : list with None for each of these, and a sentence for each of the others
    """
    images, refused = [], []
    for item in group:
        try:
            images.append(sources.fitted(item.read(), recipe))
            refused.append(None)
        except UserError as error:
            refused.append(" ".join(str(error).split()))
    codes = (ranking.pack(outputs(np.stack(images)) > 0.5) if images
             else np.zeros((0, 0), np.uint8))
    return codes, refused


class Writer:
    """Codes images into a collection, group by group; goes on where it was stopped.

    What is done so far lies in a folder beside the collection, ``<name>.partial``: codes,
    names and labels as they come, and how far all of them are known to be whole. One
    process at a time writes there.

    Parameters
    ----------
    path : path of the collection
    about : dict
        bits, dataset, variant, weights and source; another one than before cannot go on.
    """

    def __init__(self, path, about):
        self.path, self.about = pathlib.Path(path), about
        self.folder = self.path.with_name(f"{self.path.name}.partial")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim = (self.folder / "claim").open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process is writing to {self.folder}; wait for it, or "
                            "name another --out") from error
        self.state = {"about": about, "seen": 0, "last": "", "coded": 0, "left_out": 0,
                      "codes": 0, "entries": 0, "left_out_bytes": 0}
        before = self.folder / "state.json"
        if before.exists():
            try:
                state = json.loads(before.read_text())
                if {name: type(value) for name, value in state.items()} != {
                        name: type(value) for name, value in self.state.items()}:
                    raise ValueError("it has other entries")
                for name, size in FILES.items():
                    there = (self.folder / name).stat().st_size
                    if not 0 <= state[size] <= there:
                        raise ValueError(f"'{name}' has {there} bytes, not {state[size]}")
            except (OSError, ValueError, AttributeError) as error:
                raise UserError(f"{before} cannot be read ({error}); delete {self.folder} "
                                "to begin anew") from error
            if state["about"] != about:
                raise UserError(f"{self.folder} is of another net or other images "
                                f"({state['about']}); delete it to begin anew, or name "
                                "another --out")
            self.state = state
        # Behind what is known to be whole there may be a piece of a group.
        self._files = {}
        for name, size in FILES.items():
            file = (self.folder / name).open("ab")
            file.truncate(self.state[size])
            self._files[name] = file

    @property
    def seen(self):
        """Images of the source that are dealt with: coded or left out."""
        return self.state["seen"]

    def skip(self, images):
        """Go past those in an iterator of items; the last one must be the same as before.

        Raises
        ------
        UserError
            If it is not: images were added or taken away.
        """
        last = None
        for last in itertools.islice(images, self.seen):
            pass
        if self.seen and (last is None or last.name != self.state["last"]):
            raise UserError(f"{self.about['source']} has other images than when "
                            f"{self.folder} was begun: image {self.seen:,} was "
                            f"'{self.state['last']}'; delete that folder to begin anew")

    def add(self, group, recipe, outputs):
        """Code a group of items; those that cannot be read are listed and left out.

        Parameters
        ----------
        group : list of dnnh.sources.Item, GROUP of them but for the last
        recipe : dnnh.recipes.Recipe of the net, which knows how large images are
        outputs : function of images, uint8 (k, height, width, channels), to values (k, q)
        """
        codes, refused = coded(group, recipe, outputs)
        entries = [json.dumps([item.name, item.labels]) + "\n"
                   for item, why in zip(group, refused) if why is None]
        left_out = [f"{why}\n" for why in refused if why is not None]
        for name, data in (("codes", codes.tobytes()), ("entries", "".join(entries).encode()),
                           ("left_out", "".join(left_out).encode())):
            self._files[name].write(data)
            self._files[name].flush()
        self.state["seen"] += len(group)
        self.state["last"] = group[-1].name
        self.state["coded"] += len(codes)
        self.state["left_out"] += len(left_out)
        for name, size in FILES.items():
            self.state[size] = self._files[name].tell()
        with paths.written_whole(self.folder / "state.json") as partial:
            partial.write_text(json.dumps(self.state))

    def finish(self):
        """Write the collection, and delete what it was made from.

        Returns the number of images left out; their sentences are then beside the
        collection, in ``<name>.left_out.txt``.

        Raises
        ------
        UserError
            If nothing could be coded.
        """
        for file in self._files.values():
            file.close()
        count, width = self.state["coded"], -(-self.about["bits"] // 8)
        if not count:
            first = (self.folder / "left_out").read_text().partition("\n")[0]
            shutil.rmtree(self.folder)
            raise UserError(f"{self.about['source']} has no image that can be read"
                            + (f"; the first: {first}" if first else ""))
        size = self.state["codes"] + self.state["entries"] + STRINGS * count
        with paths.hdf5_written_whole(self.path, size) as file:
            packed = np.memmap(self.folder / "codes", np.uint8, "r", shape=(count, width))
            file["codes"] = packed
            del packed
            names = file.create_dataset("names", (count,), TEXT)
            labels = file.create_dataset("labels", (count,), TEXT)
            with (self.folder / "entries").open(encoding="utf-8") as entries:
                for start in range(0, count, ROWS):
                    part = [json.loads(next(entries))
                            for _ in range(min(ROWS, count - start))]
                    rows = slice(start, start + len(part))
                    names[rows] = [name for name, _ in part]
                    labels[rows] = [json.dumps(of_one) for _, of_one in part]
            for name in ("bits", *parquet.TEXTS):
                file.attrs[name] = self.about[name]
            file.attrs["left_out"] = self.state["left_out"]
        listed = self.path.with_name(f"{self.path.name}.left_out.txt")
        listed.unlink(missing_ok=True)
        if self.state["left_out"]:
            shutil.copy(self.folder / "left_out", listed)
        shutil.rmtree(self.folder)
        self._claim.close()
        return self.state["left_out"]

"""Mutations of a file, by its kind; all of them follow from a random generator.

Bytes of any file: flipped, set, cut, doubled, swapped, large numbers among them, spliced with
another file. Behind a checksum (tar, PNG, gzip) the checksum is made right again half of the
time. In text: tokens. In JSON, HDF5, Parquet, LMDB and Caffe's messages: their values, so that
what stands behind the library's own parser is reached, too.
"""

import bz2
import copy
import gzip
import io
import json
import lzma
import pathlib
import random
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import lmdb
import numpy as np

from dnnh.nets import pycaffe

MOST_BYTES = 2_000_000  # of a mutated file

NUMBERS = (0, 1, -1, 2**7, 2**15 - 1, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)

Mutation = Callable[[bytes, random.Random, list[bytes]], bytes]


def mutate(name: str, data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A mutated file.

    Parameters
    ----------
    name : str
        Of the file: its end says of what kind it is.
    data : bytes of the valid file
    rng : random.Random
    others : list of bytes
        Other valid files of its kind.
    """
    kinds = next((kinds for end, kinds in KINDS.items() if name.endswith(end)), [_bytes])
    state = rng.getstate()
    try:
        mutated = rng.choice([*kinds, _bytes])(data, rng, others)
    except Exception:  # the library that writes it refuses what it should write
        rng.setstate(state)
        mutated = _bytes(data, rng, others)
    return mutated[:MOST_BYTES]


# --- bytes -----------------------------------------------------------------------------------


def _bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    packed = _packed(data)
    if packed and rng.random() < 0.7:  # what is inside, not the compressed bytes
        unpack, pack = packed
        return pack(_bytes(unpack(data), rng, others))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(BYTE_MUTATIONS)(data, rng, others)
    return _repaired(data) if rng.random() < 0.5 else data


def _packed(data: bytes) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]] | None:
    for start, unpack, pack in (
        (b"\x1f\x8b", gzip.decompress, lambda data: gzip.compress(data, mtime=0)),
        (b"BZh", bz2.decompress, bz2.compress),
        (b"\xfd7zXZ\x00", lzma.decompress, lzma.compress),
    ):
        if data.startswith(start):
            try:
                unpack(data)
            except Exception:  # a file that only begins so
                return None
            return unpack, pack
    return None


def _repaired(data: bytes) -> bytes:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _repaired_png(data)
    return _repaired_tar(data) if data[257:262] == b"ustar" else data


def _repaired_png(data: bytes) -> bytes:
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        parts.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + data[at:]


def _repaired_tar(data: bytes) -> bytes:
    repaired = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            repaired[at + 148 : at + 156] = b" " * 8
            repaired[at + 148 : at + 156] = b"%06o\0 " % sum(repaired[at : at + 512])
    return bytes(repaired)


def _place(data: bytes, rng: random.Random) -> int:
    """A position, mostly not in the zeros that fill pages."""
    at = rng.randrange(len(data) + 1)
    for _ in range(4):
        if at < len(data) and data[at]:
            break
        at = rng.randrange(len(data) + 1)
    return at


def _block(data: bytes, rng: random.Random) -> slice:
    at = _place(data, rng)
    return slice(at, at + rng.choice((1, 2, 4, 8, 16, 64, 512, 4096)))


def _flip(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = _place(data, rng)
        if at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    block = _block(data, rng)
    value = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    return data[: block.start] + bytes([value]) * len(data[block]) + data[block.stop :]


def _truncate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _delete(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    block = _block(data, rng)
    return data[: block.start] + data[block.stop :]


def _double(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    block, at = _block(data, rng), _place(data, rng)
    return data[:at] + data[block] * rng.choice((1, 1, 2, 100)) + data[at:]


def _swap(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    size = rng.choice((1, 4, 8, 64, 512))
    changed = bytearray(data)
    first, second = _place(data, rng), _place(data, rng)
    changed[first : first + size], changed[second : second + size] = (
        changed[second : second + size],
        changed[first : first + size],
    )
    return bytes(changed)


def _number(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A large number, or one near the old one, in its place or before it."""
    size = rng.choice((1, 2, 4, 8))
    at = _place(data, rng)
    order = rng.choice(("little", "big"))
    if rng.random() < 0.3:
        number = int.from_bytes(data[at : at + size], order) + rng.choice((-8, -1, 1, 2, 16))
    else:
        number = rng.choice(NUMBERS)
    written = (number % (1 << 8 * size)).to_bytes(size, order)
    return data[:at] + written + data[at + rng.choice((0, size, size, size)) :]


def _splice(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    other = rng.choice(others or [data])
    if rng.random() < 0.5:
        return data[: _place(data, rng)] + other[_place(other, rng) :]
    block = _block(other, rng)
    return data[: block.start] + other[block] + data[block.stop :]


def _noise(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    block = _block(data, rng)
    return data[: block.start] + rng.randbytes(len(data[block])) + data[block.stop :]


BYTE_MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip,
    _set,
    _truncate,
    _delete,
    _double,
    _swap,
    _number,
    _number,
    _number,
    _splice,
    _noise,
)


# --- text ------------------------------------------------------------------------------------

WORDS = (
    b"",
    b"9" * 5000,
    b"9" * 30,
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"-inf",
    b"2147483648",
    b"18446744073709551616",
    b"\0",
    b"\x1b[31m",
    b"\r",
    b"\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xd9\xa3",  # an Arabic digit
    b'"',
    b"'",
    b"\\",
    b"\\x",
    b"{",
    b"}",
    b"[" * 3000,
    b"{" * 3000,
    b"a {" * 2000,
    b"a" * 300_000,
    b"a" * 1_200_000,
    b"../../../x",
    b"%s%n",
    b",",
    b"\t",
    b":",
    b"#",
)


def _text(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    tokens = re.findall(rb"\w+|\s+|[^\w\s]", data)
    others_tokens = re.findall(rb"\w+|[^\w\s]", rng.choice(others or [data])) or [b""]
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not tokens or sum(map(len, tokens)) > MOST_BYTES // 50:
            break
        at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        numbers = [i for i, token in enumerate(tokens) if token.isdigit()]
        way = rng.randrange(7)
        if way == 0 and numbers:
            tokens[rng.choice(numbers)] = rng.choice(WORDS)
        elif way == 1:
            tokens[at] = rng.choice(WORDS)
        elif way == 2:
            tokens.insert(at, rng.choice(WORDS))
        elif way == 3:
            del tokens[at : at + rng.choice((1, 1, 5))]
        elif way == 4:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif way == 5:
            tokens[at:at] = tokens[other : other + rng.choice((2, 20))] * rng.choice((1, 1, 50))
        else:
            tokens[at] = rng.choice(others_tokens)
    return b"".join(tokens)


# --- JSON ------------------------------------------------------------------------------------

JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**64,
    10**400,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a\nb",
    "a\0b",
    "\ud800",
    "\x1b[31m",
    "a" * 100_000,
    "1" * 5000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    list(range(1000)),
)


def _json(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    content = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        waiting = [content]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict | list):
                keys = list(value) if isinstance(value, dict) else range(len(value))
                places += [(value, key) for key in keys]
                waiting += [value[key] for key in keys]
        if not places or rng.random() < 0.05:
            content = copy.deepcopy(rng.choice(JSON_VALUES))
            continue
        holder, key = rng.choice(places)
        way = rng.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice(("", "x", "1" * 50, "\n", "\ud800"))] = holder.pop(key)
        elif way == 2:
            other_holder, other_key = rng.choice(places)
            if other_key in other_holder if isinstance(other_holder, dict) else True:
                try:
                    holder[key] = json.loads(json.dumps(other_holder[other_key]))
                except (IndexError, KeyError):
                    pass
        else:
            holder[key] = copy.deepcopy(rng.choice(JSON_VALUES))
    return json.dumps(content).encode()


# --- HDF5 ------------------------------------------------------------------------------------


def _hdf5_values() -> list[Any]:
    compound = np.zeros(3, [("a", "i4"), ("b", "S3")])
    return [
        np.int64(0),
        np.int64(-1),
        np.int64(2**62),
        np.uint64(2**64 - 1),
        np.float64("nan"),
        np.float64("inf"),
        np.float64(1e300),
        np.bool_(True),
        np.complex64(1j),
        "",
        "text",
        "a\nb",
        "1" * 5000,
        b"\xff\xfe",
        np.bytes_(b"abc"),
        h5py.Empty("f4"),
        h5py.Empty(h5py.string_dtype()),
        np.zeros(0, np.uint8),
        np.zeros((0, 3), np.int64),
        np.zeros((3, 0), np.uint8),
        np.zeros((2, 2, 2), np.float32),
        np.full(6, 255, np.uint8),
        np.full((6, 2), -1, np.int64),
        np.arange(6, dtype=">i4"),
        np.zeros((1,) * 32, np.uint8),
        np.array([b"a", b"bc"]),
        np.array(["a", "b"], h5py.string_dtype()),
        compound,
        compound[0],
        np.zeros(3, "V5"),
        np.zeros(4, np.float16),
    ]


def _hdf5_declare(file: Any, name: str, rng: random.Random) -> None:
    """A data set whose values were never written, or are compressed, in some size and type."""
    shape = rng.choice(((6,), (6, 2), (0,), (10**9,), (2**40,), (6, 8, 8, 1), (10**6, 3), ()))
    kind = rng.choice(
        ("u1", "i8", "f4", h5py.string_dtype(), h5py.vlen_dtype("u1"), h5py.ref_dtype)
    )
    chunks = rng.random() < 0.5 and shape and 0 not in shape
    options: dict[str, Any] = {}
    if chunks:
        options["chunks"] = True
        options["compression"] = rng.choice((None, "gzip", "lzf"))
        options["shuffle"] = rng.random() < 0.5
        options["fletcher32"] = rng.random() < 0.5
        options["maxshape"] = (None,) * len(shape)
    file.create_dataset(name, shape, kind, **options)


def _hdf5(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        for _ in range(rng.choice((1, 1, 2))):
            names: list[str] = []
            file.visit(names.append)
            values = _hdf5_values()
            if file.attrs and rng.random() < 0.4:
                attribute = rng.choice(sorted(file.attrs))
                del file.attrs[attribute]
                if rng.random() < 0.9:
                    file.attrs[attribute] = rng.choice(values)
                continue
            if not names:
                break
            name = rng.choice(names)
            way = rng.randrange(6)
            if way == 0 and isinstance(file[name], h5py.Dataset):
                _hdf5_change(file[name], rng)
                continue
            if way == 1:
                other = rng.choice(names)
                if other in file and not other.startswith(name):
                    copied = file[other][()] if isinstance(file[other], h5py.Dataset) else 0
                    del file[name]
                    file[name] = copied
                continue
            del file[name]
            if way == 2:
                file.create_group(name)["x"] = 1
            elif way == 3:
                _hdf5_declare(file, name, rng)
            elif way < 6:
                file[name] = rng.choice(values)
    return stream.getvalue()


def _hdf5_change(dataset: Any, rng: random.Random) -> None:
    """Set one value of a data set."""
    if not dataset.shape or 0 in dataset.shape:
        return
    place = tuple(rng.randrange(side) for side in dataset.shape)
    if dataset.dtype.kind in "iu":
        limits = np.iinfo(dataset.dtype)
        dataset[place] = rng.choice((0, limits.min, limits.max, 1, 7))
    elif dataset.dtype.kind == "f":
        dataset[place] = rng.choice((np.nan, np.inf, 1e38, -1))
    elif h5py.check_string_dtype(dataset.dtype):
        dataset[place] = rng.choice((b"", b"\xff", b"[" * 5000, b"a\nb", b"[1]", b"null", b"{}"))
    elif h5py.check_vlen_dtype(dataset.dtype):
        dataset[place] = np.frombuffer(rng.randbytes(rng.choice((0, 1, 50))), np.uint8)


# --- Parquet ---------------------------------------------------------------------------------


def _parquet(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    rows = len(table)
    for _ in range(rng.choice((1, 1, 2))):
        column = rng.randrange(table.num_columns)
        values = rng.choice(
            (
                pyarrow.array([None] * rows, pyarrow.string()),
                pyarrow.array([None] * rows, pyarrow.int64()),
                pyarrow.nulls(rows),
                pyarrow.array([-1] * rows),
                pyarrow.array([2**63 - 1] * rows),
                pyarrow.array([0.5] * rows),
                pyarrow.array([float("nan")] * rows),
                pyarrow.array(["a\nb"] * rows),
                pyarrow.array([b"\xff"] * rows),
                pyarrow.array([[None]] * rows, pyarrow.list_(pyarrow.string())),
                pyarrow.array([None] * rows, pyarrow.list_(pyarrow.string())),
                pyarrow.array([["a"]] * rows, pyarrow.large_list(pyarrow.string())),
                pyarrow.array([["a"]] * rows, pyarrow.list_(pyarrow.string(), 1)),
                pyarrow.array(["a"] * rows).dictionary_encode(),
                pyarrow.array(["a"] * rows, pyarrow.large_string()),
                pyarrow.array([{"a": 1}] * rows),
                pyarrow.array([True] * rows),
            )
        )
        name = table.column_names[column]
        way = rng.randrange(5)
        if way == 0:
            table = table.remove_column(column)
        elif way == 1:
            table = table.append_column(name, values)  # the name twice
        else:
            table = table.set_column(column, name, values)
        if not table.num_columns:
            break
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return stream.getvalue()


# --- Caffe's messages, in LMDBs, as binaries and as text ---------------------------------------


def _change_message(message: Any, rng: random.Random) -> None:
    """Change, clear or double a field of a message, at any depth."""
    places, waiting = [], [message]
    while waiting:
        part = waiting.pop()
        for field, value in part.ListFields():
            places.append((part, field))
            if field.message_type is not None:
                waiting += list(value) if field.is_repeated else [value]
    if not places or rng.random() < 0.1:
        places.append((message, rng.choice(message.DESCRIPTOR.fields)))
    part, field = rng.choice(places)
    if rng.random() < 0.15:
        part.ClearField(field.name)
        return
    if rng.random() < 0.15:  # another field of the same message
        field = rng.choice(part.DESCRIPTOR.fields)
    if field.message_type is not None:
        if field.is_repeated:
            values = getattr(part, field.name)
            values.add().CopyFrom(values[rng.randrange(len(values))]) if values else values.add()
        else:
            getattr(part, field.name).SetInParent()
        return
    value = _field_value(field, rng)
    if field.is_repeated:
        values = getattr(part, field.name)
        if values and rng.random() < 0.6:
            values[rng.randrange(len(values))] = value
        else:
            values.extend([value] * rng.choice((1, 1, 1000)))
    else:
        setattr(part, field.name, value)


def _field_value(field: Any, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    if kind == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == field.CPPTYPE_STRING:
        texts = ["", "x", "a" * 10_000, "a/b", "a\nb", "TRAIN"]
        text = rng.choice(texts)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30, 0.5))
    bits = 64 if kind in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    numbers = [0, 1, 2, 3, 17, 2**16, 2 ** (bits - 1) - 1]
    if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        return rng.choice([*numbers, 2**bits - 1])
    return rng.choice([*numbers, -1, -(2 ** (bits - 1))])


def _message(kind: str) -> Mutation:
    """The mutation of a binary message."""

    def mutation(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
        message = getattr(pycaffe.messages(), kind).FromString(data)
        for _ in range(rng.choice((1, 1, 2))):
            _change_message(message, rng)
        return message.SerializeToString()

    return mutation


def _text_message(kind: str) -> Mutation:
    """The mutation of a message as text."""

    def mutation(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
        from google.protobuf import text_format

        message = text_format.Parse(data, getattr(pycaffe.messages(), kind)())
        for _ in range(rng.choice((1, 1, 2))):
            _change_message(message, rng)
        return text_format.MessageToString(message).encode()

    return mutation


def _records(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """An LMDB whose pages are right, with a key or a Datum in it that is not."""
    with tempfile.TemporaryDirectory() as name:
        (pathlib.Path(name) / "data.mdb").write_bytes(data)
        with (
            lmdb.open(name, readonly=True, lock=False) as database,
            database.begin() as transaction,
        ):
            records = list(transaction.cursor())
    for _ in range(rng.choice((1, 1, 2))):
        row = rng.randrange(len(records))
        key, value = records[row]
        way = rng.randrange(5)
        if way == 0:
            key = rng.choice((b"\xff\xfe", b"\0", b"a" * 500, b"a\nb", b"00000000_x.jpg", b"0x00"))
        elif way == 1:
            value = _bytes(value, rng, [value for _, value in records])
        elif way == 2:
            datum = pycaffe.messages().Datum.FromString(value)
            datum.data = _bytes(datum.data, rng, [datum.data])
            value = datum.SerializeToString()
        else:
            value = _message("Datum")(value, rng, [])
        records[row] = key, value
    with tempfile.TemporaryDirectory() as name:
        with (
            lmdb.open(name, map_size=1 << 24, sync=False, lock=False) as database,
            database.begin(write=True) as transaction,
        ):
            for key, value in records:
                transaction.put(key, value)
        return (pathlib.Path(name) / "data.mdb").read_bytes()


# By the end of a file's name; each list is tried as often as the mutation of bytes alone.
KINDS: dict[str, list[Mutation]] = {
    ".json": [_json, _json, _text],
    ".h5": [_hdf5],
    ".parquet": [_parquet],
    "data.mdb": [_records],
    ".csv": [_text, _text],
    ".txt": [_text, _text],
    ".dat": [_text],
    ".log": [_text, _text],
    "entries": [_text],
    ".npy": [_text],
    "solver.prototxt": [_text, _text_message("SolverParameter")],
    ".prototxt": [_text, _text_message("NetParameter")],
    ".caffemodel": [_message("NetParameter")],
    ".solverstate": [_message("SolverState")],
}

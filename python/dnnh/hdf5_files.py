"""HDF5 files that are read within limits.

HDF5 does not validate a file. It takes the memory that a data set declares, follows links to other
files, and where the place of a text is damaged it runs forever, takes gigabytes or ends the
process. So the text is read in another process first (in files of more than
limits.TEXT_FILE_BYTES, attributes alone), and what is declared is compared with the file's size.
"""

import contextlib
import faulthandler
import os
import resource
import threading
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import files, limits, python_process
from dnnh.errors import UserError
from dnnh.files import StrPath

# What h5py raises on files that are damaged or were made to be hostile.
HDF5_ERRORS = (
    OSError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)

DAMAGED = 3  # exit status of the process that reads text


@contextlib.contextmanager
def read_hdf5(path: StrPath, problem: str, remedy: str) -> Iterator[Any]:
    """Open an HDF5 file to read and check it; errors inside the block become one sentence.

    Yields an h5py.File; untyped, as h5py cannot tell what its members and attributes are. Its
    data sets are in the file itself, and may take no more memory than the file's size allows.

    Parameters
    ----------
    path : path of the file
    problem : str
        What it is not, e.g. "is not a split file".
    remedy : str
        What to do, e.g. "delete it to draw the split again".

    Raises
    ------
    UserError
        ``<path> <problem> (<reason>); <remedy>``, in place of what h5py or the block's own
        checks (ValueError, ...) raise. A UserError of the block passes unchanged.
    """
    try:
        files.open_regular_file(path).close()
        _check_in_another_process(path)
        with h5py.File(path, "r") as file:
            _check_objects(file)
            yield file
    except UserError:
        raise
    except HDF5_ERRORS as error:
        raise UserError(f"{path} {problem} ({error}); {remedy}") from error


def whole_number(name: str, value: Any) -> int:
    """A whole number of an HDF5 file, for example an attribute.

    Raises
    ------
    ValueError
        If it is something else: text, a fraction, several numbers.
    """
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not float(number).is_integer():
        raise ValueError(f"{name} is {number.tolist()!r:.40}, not a whole number")
    return int(number)


def numbers(dataset: Any) -> NDArray[Any]:
    """All values of a data set that are numbers.

    Others are refused before they are read: all of them may be one value of the file, which takes
    memory for each.

    Raises
    ------
    ValueError
        If they are text, or of variable length.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.hasobject:
        raise ValueError(f"{dataset.name} has no numbers")
    return np.asarray(dataset[()])


def _check_in_another_process(path: StrPath) -> None:
    """Raise ValueError if reading the text of a file fails, or ends the process that reads it."""
    if threading.active_count() == 1:
        process = os.fork()
        if process == 0:
            try:
                _read_text(path)
            finally:  # whatever happens, the child must not go on as the caller
                os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    else:  # a fork could wait forever for what another thread holds
        program = "from dnnh import hdf5_files; hdf5_files._read_text(sys.argv[1])"
        status = python_process.run(program, path).returncode
        if status == 1:  # Python's own: it could not begin
            status = 0
    if status:
        raise ValueError(f"its text is damaged; reading it ends with {status}")


def _read_text(path: StrPath) -> None:
    """Read all attributes and, in files that are not large, all text; end the process.

    The exit status is DAMAGED where that fails, else 0.
    """
    faulthandler.disable()
    with open("/proc/self/statm", encoding="utf-8") as file:
        address_space = int(file.read().split()[0]) * resource.getpagesize()
    for kind, limit in (
        (resource.RLIMIT_CPU, limits.TEXT_SECONDS),
        (resource.RLIMIT_AS, address_space + limits.TEXT_MEMORY),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, hard))
    status = DAMAGED
    try:
        is_large = os.stat(path).st_size > limits.TEXT_FILE_BYTES
        file = h5py.File(path, "r")
    except HDF5_ERRORS as error:  # the reader itself says what is wrong
        takes_memory = isinstance(error, MemoryError) or "memory allocation" in str(error)
        os._exit(DAMAGED if takes_memory else 0)
    try:
        _read_members(file, is_large)
        status = 0
    finally:
        os._exit(status)


def _read_members(file: Any, is_large: bool) -> None:
    def read(member: Any) -> None:
        for name in member.attrs:
            with contextlib.suppress(TypeError, ValueError, KeyError):  # of a kind unknown to h5py
                member.attrs[name]
        if not is_large and isinstance(member, h5py.Dataset):
            is_text = h5py.check_string_dtype(member.dtype) is not None
            if is_text or h5py.check_vlen_dtype(member.dtype) is not None:
                member[()]

    read(file)
    file.visititems(lambda name, member: read(member))


def _check_objects(file: Any) -> None:
    """Raise ValueError if the file has links, or data sets that are not in it."""
    groups, count = [file], 0
    while groups:
        group = groups.pop()
        for name in group:
            count += 1
            if count > limits.HDF5_OBJECTS:
                raise ValueError(f"it has more than {limits.HDF5_OBJECTS:,} groups and data sets")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):  # to a member, which has its own turn
                continue
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"its member {name!r:.60} is a link to another file")
            member = group[name]
            if isinstance(member, h5py.Group):
                groups.append(member)
            elif isinstance(member, h5py.Dataset):
                _check_stored(member)


def _check_stored(dataset: h5py.Dataset) -> None:
    """Raise ValueError if a data set declares more values than the file can hold."""
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or creation.get_external_count():
        raise ValueError(f"its data set {dataset.name!r:.60} is kept in another file")
    stored, declared = dataset.id.get_storage_size(), dataset.nbytes
    is_compressed = creation.get_nfilters() > 0
    # What was not written has the fill value, and no bytes.
    most = limits.may_expand_to(stored) if is_compressed else max(stored, limits.FILL_BYTES)
    if declared > most:
        raise ValueError(
            f"its data set {dataset.name!r:.60} has {stored:,} bytes and says that it has "
            f"{declared:,}"
        )
    if dataset.chunks is not None and dataset.dtype.itemsize:
        chunk = dataset.dtype.itemsize
        for side in dataset.chunks:
            chunk *= side
        if chunk > declared + limits.FILL_BYTES:
            raise ValueError(f"its data set {dataset.name!r:.60} has chunks of {chunk:,} bytes")

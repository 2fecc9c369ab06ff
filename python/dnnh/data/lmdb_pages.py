"""LMDBs that are checked before they are read: LMDB itself trusts its file.

The check is the layers' own, layers/files/lmdb_pages.cpp.
"""

import ctypes
import os
import pathlib

import lmdb

from dnnh.data.datums import NO_CAFFE
from dnnh.errors import UserError

LONGEST_TEXT = 1000  # bytes


def open_checked(folder: pathlib.Path) -> lmdb.Environment:
    """Open an LMDB to read it. Loads pycaffe.

    Parameters
    ----------
    folder : path of the folder with data.mdb

    Raises
    ------
    UserError
        If it is damaged, truncated or no LMDB; reading it could end the process. Or if there is
        no Caffe.
    lmdb.Error
        If LMDB cannot open it.
    """
    try:
        import caffe
    except ImportError as error:
        raise UserError(NO_CAFFE) from error
    library = ctypes.CDLL(caffe._caffe.__file__)
    library.dnnh_lmdb_damage.argtypes = ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t
    library.dnnh_lmdb_damage.restype = ctypes.c_size_t
    text = ctypes.create_string_buffer(LONGEST_TEXT)
    if library.dnnh_lmdb_damage(os.fsencode(folder), text, LONGEST_TEXT):
        raise UserError(f"{folder / 'data.mdb'} {text.value.decode()}; copy it or write it again")
    return lmdb.open(str(folder), readonly=True, lock=False, create=False)

"""Binary codes, packed: the one format of codes in arrays and files.

Codes of q bits are uint8 of shape (n, ceil(q / 8)): bit i of a code is in byte i // 8 at
position i % 8, least significant first. Unused bits of the last byte are 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnnh.errors import UserError

MAX_BITS = 255  # Hamming distances are kept in a byte


def code_bytes(bits: int) -> int:
    """Bytes of a code of so many bits."""
    return -(-bits // 8)


def check_bits(bits: int) -> None:
    """Raise UserError where no code can be so long."""
    if not 1 <= bits <= MAX_BITS:
        raise UserError(f"{bits} bits: codes have 1 to {MAX_BITS} bits")


def check(codes: ArrayLike, bits: int, name: str = "codes") -> NDArray[np.uint8]:
    """Packed codes, if that is what they are.

    Parameters
    ----------
    codes : array to check
    bits : int
    name : str
        What messages call them.

    Returns
    -------
    uint8 array of shape (n, ceil(bits / 8))

    Raises
    ------
    UserError
        If the type, the shape or the unused bits do not fit codes of this length.
    """
    array, width = np.asarray(codes), code_bytes(bits)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise UserError(
            f"{name} is {array.dtype} of shape {array.shape}; "
            f"codes of {bits} bits are uint8 of shape (n, {width})"
        )
    unused = 8 * width - bits
    if unused and (array[:, -1] >> (8 - unused)).any():
        raise UserError(
            f"{name} has ones beyond bit {bits}: unused bits must be 0; "
            "the codes are of another length, or packed in another bit order"
        )
    return array


def pack(bits: ArrayLike) -> NDArray[np.uint8]:
    """Pack codes.

    Parameters
    ----------
    bits : array of shape (n, q), of 0 and 1 or of bool

    Returns
    -------
    uint8 array of shape (n, ceil(q / 8))
    """
    return np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="little")


def unpack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """The inverse of :func:`pack`: uint8 array of 0 and 1, shape (n, bits)."""
    return np.unpackbits(codes, axis=1, count=bits, bitorder="little")


def pad(codes: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Packed codes with zeros behind them: uint8 of shape (n, width), in C order.

    Returns the codes themselves if they have as many bytes.
    """
    if codes.shape[1] == width:
        return np.ascontiguousarray(codes)
    wider = np.zeros((len(codes), width), np.uint8)
    wider[:, : codes.shape[1]] = codes
    return wider


def words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Packed codes as uint64 of shape (n, ceil(q / 64)), zeros behind them."""
    return pad(codes, -(-codes.shape[1] // 8) * 8).view(np.uint64)

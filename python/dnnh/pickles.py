"""Loading pickles of others: a pickle calls whatever it names.

Only names that a reader admits are found, and they stand for functions of ours. What needs far more
memory than the pickle has bytes is refused before it is loaded.
"""

import io
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, ClassVar

from dnnh import limits


class Unpickler(pickle.Unpickler):
    """Loads one pickle of a file, which stays behind its end.

    Attributes
    ----------
    admitted : mapping of (module, name) to what stands in for it
    purpose : str
        What the file is for, in the message on other names.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]]
    purpose: ClassVar[str]

    def __init__(self, file: io.BytesIO, encoding: str = "ASCII") -> None:
        _check_opcodes(file)
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which {self.purpose} does not need"
            ) from None


def _check_opcodes(file: io.BytesIO) -> None:
    """Refuse what takes far more memory to load than the pickle has bytes."""
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file), 1):
        if count > limits.PICKLE_OPCODES:
            raise pickle.UnpicklingError(f"it has more than {limits.PICKLE_OPCODES:,} opcodes")
        # The unpickler makes room for all places of its memo up to the one that is named, and
        # whoever writes pickles takes one place after the other.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > count:
            raise pickle.UnpicklingError(f"it names place {argument:,} of its memo")
    file.seek(start)

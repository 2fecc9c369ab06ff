"""Identifies the net that encoded an index."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetInfo:
    """Which net encodes images.

    Attributes
    ----------
    bits : int
        q, the length of the codes.
    dataset, method, schedule : str
        As in dnnh.nets.specs.NetSpec: they say which deploy prototxt encodes queries.
    weights : str
        SHA-256 of the .caffemodel, in hexadecimal.
    """

    bits: int
    dataset: str
    method: str
    schedule: str
    weights: str

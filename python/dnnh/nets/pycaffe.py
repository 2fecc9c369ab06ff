"""Caffe's Python module and its protobuf messages, loaded when first needed.

Caffe logs hundreds of lines while it builds a net. Its logger reads its level once, from
the environment, when the module is first loaded.
"""

import functools
import os
from types import ModuleType

from dnnh.errors import UserError


@functools.cache
def load() -> ModuleType:
    """The module ``caffe``, which then logs nothing below warnings.

    Programs started later do not inherit that level.

    Raises
    ------
    UserError
        If it cannot be imported.
    """
    level = os.environ.get("GLOG_minloglevel")
    os.environ["GLOG_minloglevel"] = level or "2"
    try:
        import caffe
    except ImportError as error:
        raise UserError(
            f"pycaffe cannot be imported ({error}); build it with 'make', "
            "and run this with the environment's Python, .venv/bin/python"
        ) from error
    finally:
        if level is None:
            del os.environ["GLOG_minloglevel"]
    return caffe


def messages() -> ModuleType:
    """The module ``caffe_pb2`` with Caffe's messages, ours among them."""
    load()
    from caffe.proto import caffe_pb2

    return caffe_pb2

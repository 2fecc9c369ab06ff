"""Caffe's Python module and its protobuf messages, loaded when first needed.

Caffe logs hundreds of lines while it builds a net. Its logger reads its level once, from
the environment, when the module is first loaded.
"""

import ctypes
import functools
import os
from types import ModuleType

from dnnh.errors import UserError

OMP_PAUSE_HARD = 2  # omp.h


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
    os.register_at_fork(before=_end_threads)
    return caffe


def use(gpu: int | None) -> None:
    """Let the calling thread make and run nets on a GPU, or on the CPU.

    Parameters
    ----------
    gpu : int, or None for the CPU
        The first is 0.

    Raises
    ------
    UserError
        If this build of Caffe has no CUDA, or this machine no such GPU that can be used.
    """
    caffe = load()
    if gpu is None:
        caffe.set_mode_cpu()
        return
    problem = caffe._caffe.gpu_problem(gpu)
    if problem:
        raise UserError(f"--gpu {gpu}: {problem}")
    caffe.set_device(gpu)
    caffe.set_mode_gpu()


def _end_threads() -> None:
    """End the threads that Caffe computes with, which start again when they are needed.

    A forked process has none of them, but would wait for them for ever.
    """
    gomp = ctypes.CDLL("libgomp.so.1")  # the one that is loaded
    gomp.omp_pause_resource_all(OMP_PAUSE_HARD)


def messages() -> ModuleType:
    """The module ``caffe_pb2`` with Caffe's messages, ours among them."""
    load()
    from caffe.proto import caffe_pb2

    return caffe_pb2

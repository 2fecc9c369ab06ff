"""What all benchmarks share: the machine's name, turns, and the files they write."""

import importlib.util
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import time

import numpy as np

from dnnh import atomic_files, paths
from dnnh.errors import UserError
from dnnh.nets import prototxt, specs, weights

FOLDER = paths.ROOT / "results" / "benchmarks"
# By default PyTorch gives large tensors back to the system after each pass, and pays for
# every page again in the next; told this, glibc keeps them. Ours keeps its own anyway.
KEPT = {
    "MALLOC_MMAP_THRESHOLD_": "8000000000",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}


def machine():
    """What the figures depend on, in one line."""
    model, flags = platform.machine(), set()
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
    vectors = [
        name
        for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("SSE", "sse2"))
        if flag in flags
    ][:1]
    vectors += ["bfloat16"] if "avx512_bf16" in flags else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{model} ({', '.join(vectors)}), {os.cpu_count()} cores, {memory / 2**30:.0f} GiB"


def in_child(script, words, settings, threads):
    """What ``script --child words`` prints as JSON, in a process of its own.

    It has its own settings of our programs, PyTorch and their libraries, and none of the caller's.

    Raises
    ------
    UserError
        If it fails, with the end of what it said.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DNNH_", "TORCH_", "MALLOC_", "DNNL_", "ONEDNN_", "KMP_", "OMP_"))
    }
    done = subprocess.run(
        [sys.executable, script, "--child", *map(str, words)],
        env={
            **kept,
            **settings,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(
            f"{script} --child {' '.join(map(str, words))} failed with "
            f"{settings}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def macs(net):
    """MACs per image of each layer of a net of pycaffe's that has some."""
    counts = []
    for name, blobs in net.params.items():
        kind = net.layer_dict[name].type
        if kind in ("Convolution", "FusedConvolution"):
            counts.append(blobs[0].count * math.prod(net.blobs[net.top_names[name][0]].shape[2:]))
        elif kind in ("InnerProduct", "DivideAndEncode"):
            counts.append(blobs[0].count)
    return counts


def peak(precision, threads):
    """MACs per second of matrix products, by NumPy's or (bfloat16) PyTorch's library; None without."""
    if precision == "bfloat16" and not importlib.util.find_spec("torch"):
        return None
    return in_child(__file__, [precision], {}, threads)["macs"]


def share_of_peak(count, seconds, most):
    """As a cell of a table: how much of the peak so many MACs in this time are."""
    return "" if most is None else f"{count / seconds / most:.0%}"


def child(precision):
    """Print the MACs per second of a matrix product, the best of some."""
    size = 2048
    if precision == "bfloat16":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        a = torch.ones(size, size, dtype=torch.bfloat16)
    else:
        a = np.ones((size, size), np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        _ = a @ a
        times.append(time.perf_counter() - start)
    print(json.dumps({"macs": size**3 / min(times)}))


def released(method, bits=48):
    """The deploy net of CIFAR-10 and its released weights, as Encoder takes them."""
    spec = specs.net_spec("cifar10", method, bits, "short" if method == "dnnh" else None)
    return prototxt.deploy_text(spec), weights.find_weights(spec, weights.release_path(spec)).path


def table(columns, rows):
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def publish(name, text, figures):
    """Print the text; write it as Markdown, and the figures behind it as JSON."""
    text = f"{text}\n\nMachine: {machine()}."
    print(f"\n{text}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(FOLDER / f"{name}.md", f"{text}\n")
    content = json.dumps({"machine": machine(), **figures}, indent=1)
    atomic_files.write_text(FOLDER / f"{name}.json", f"{content}\n")
    print(f"\nWritten to {FOLDER.relative_to(paths.ROOT)}/{name}.md and .json")


if __name__ == "__main__":
    child(sys.argv[2])

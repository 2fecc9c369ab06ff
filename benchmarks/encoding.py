"""Images a second from pixels to packed codes: Caffe's own layers, ours.

  python benchmarks/encoding.py
  python benchmarks/encoding.py --images 2000 --rounds 1

Encodes CIFAR-10's first 10,000 images with the released 48-bit net, as tools/evaluate.py
does. Each program runs in a process of its own; they take turns, and the median counts.
"""

import argparse
import json
import os
import statistics
import sys

import numpy as np
from tqdm import tqdm

from dnnh import errors, paths
from dnnh.errors import UserError
from dnnh.nets import encoder, prototxt, specs, weights

import harness

CONTENDERS = {
    "Caffe's own layers": {"DNNH_ONEDNN": "0"},
    "ours": {},
    "ours, bfloat16": {"DNNH_BFLOAT16": "1"},
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if min(arguments.images, arguments.rounds, arguments.threads) < 1:
        raise UserError("--images, --rounds and --threads are 1 or more")
    names = [
        name for name in CONTENDERS if "bfloat16" not in name or "bfloat16" in harness.machine()
    ]
    turns = {name: [] for name in names}
    for _ in tqdm(range(arguments.rounds), desc="encoding", unit="round"):
        for name in names:
            turns[name].append(
                harness.in_child(__file__, [arguments.images], CONTENDERS[name], arguments.threads)
            )
    rates = {name: statistics.median(turn["rate"] for turn in turns[name]) for name in names}
    differing = {
        name: _bits_that_differ(turns[names[0]][0]["codes"], turns[name][0]["codes"])
        for name in names
    }
    rows = [
        [
            name,
            f"{rates[name]:,.0f}",
            f"{rates[name] / rates[names[0]]:.2f}",
            f"{arguments.images / rates[name]:.1f}",
            f"{differing[name]:.4%}",
        ]
        for name in names
    ]
    harness.publish(
        "encoding",
        f"{arguments.images:,} images of 32x32, 48 bits, {arguments.threads} "
        "threads; the last column against Caffe's own layers\n\n"
        + harness.table(
            ["program", "images a second", "ratio", "seconds", "bits that differ"], rows
        ),
        {"images_per_second": rates, "bits_that_differ": differing},
    )


def _bits_that_differ(a, b):
    a, b = (np.frombuffer(bytes.fromhex(codes), np.uint8) for codes in (a, b))
    return np.bitwise_count(a ^ b).sum() / (8 * len(a))


def child(count):
    """Print the rate and the codes; the first batches, with their set-up, not timed."""
    import time

    from dnnh.data import datasets

    spec = specs.net_spec(schedule="short")
    model = weights.find_weights(spec, paths.MODELS / f"{spec.training_name}.caffemodel")
    net = encoder.Encoder(prototxt.deploy_text(spec), model.path)
    images = datasets.load("cifar10").images[: int(count)]
    net.encode(images[: 2 * encoder.BATCH])
    start = time.perf_counter()
    codes = net.encode(images)
    seconds = time.perf_counter() - start
    print(json.dumps({"rate": len(images) / seconds, "codes": codes.tobytes().hex()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        errors.run(main)

"""Seconds of a training step, and of its forward pass: Caffe's own layers, ours, PyTorch.

  python benchmarks/steps.py
  python benchmarks/steps.py --nets cifar10_bn --triplets 21 --threads 1

Forward and backward of whole nets, 64 triplets (192 images) a step unless said
otherwise. Each program runs in a process of its own; they take turns, round after
round, and the median of all rounds counts. PyTorch takes part if it is installed, with
the same layers, in plain and in channels_last layout; no weights are updated.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from tqdm import tqdm

from dnnh import errors, nets
from dnnh.errors import UserError

NETS = {"cifar10": ("cifar10", ""), "cifar10_bn": ("cifar10", "bn"),
        "cifar10_lai": ("cifar10", "lai"), "nuswide": ("nuswide", "")}
CONTENDERS = ("Caffe's own layers", "ours", "PyTorch", "PyTorch, channels_last")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS),
                        default=["cifar10", "cifar10_bn"])
    parser.add_argument("--triplets", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="a program, a round")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here too")
    arguments = parser.parse_args()
    if min(arguments.triplets, arguments.threads, arguments.rounds, arguments.steps) < 1:
        raise UserError("--triplets, --threads, --rounds and --steps are 1 or more")

    contenders = CONTENDERS if _has_torch() else CONTENDERS[:2]
    figures = {}
    for net in arguments.nets:
        times = {name: [] for name in contenders}
        for _ in tqdm(range(arguments.rounds), desc=net, unit="round"):
            for name in contenders:
                times[name] += measure(name, net, arguments)
        figures[net] = {
            name: {"forward": statistics.median(forward for forward, _ in steps),
                   "step": statistics.median(step for _, step in steps)}
            for name, steps in times.items()}
    print(f"\n{3 * arguments.triplets} images a step, {arguments.threads} threads; "
          "seconds, and how many times ours\n")
    print("| net | program | forward | | step | |\n|---|---|---|---|---|---|")
    for net, rows in figures.items():
        for name, row in rows.items():
            print(f"| `{net}` | {name} | {row['forward']:.3f} | "
                  f"{row['forward'] / rows['ours']['forward']:.2f} | {row['step']:.3f} | "
                  f"{row['step'] / rows['ours']['step']:.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _has_torch():
    try:
        import torch  # noqa: F401
    except ImportError:
        print("PyTorch is not installed and takes no part")
        return False
    return True


def measure(contender, net, arguments):
    """(seconds forward, seconds of the step) of each step of one process."""
    environment = {**os.environ, "DNNH_ONEDNN": str(int(contender == "ours")),
                   "OMP_NUM_THREADS": str(arguments.threads),
                   "OPENBLAS_NUM_THREADS": str(arguments.threads)}
    program = "torch" if contender.startswith("PyTorch") else "caffe"
    command = [sys.executable, __file__, "--child", program, net,
               str(arguments.triplets), str(arguments.steps),
               str(int(contender.endswith("channels_last")))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"{contender} failed on {net}; its message is above")
    return json.loads(done.stdout.splitlines()[-1])


# --- one program, in a process of its own ----------------------------------------

def child(program, net, triplets, steps, channels_last):
    """Print the times of some steps, after two that do not count."""
    spec = nets.net_spec(*NETS[net])
    step = (caffe_step if program == "caffe" else torch_step)(
        spec, int(triplets), channels_last == "1")
    print(json.dumps([step() for _ in range(int(steps) + 2)][2:]))


def caffe_step(spec, triplets, _):
    """Caffe's net, its images being one random batch."""
    import time
    os.environ["GLOG_minloglevel"] = "2"
    import caffe
    import numpy as np
    recipe = spec.recipe
    text = nets.train_test(spec)
    text = text[text.index('layer {\n  name: "pixels"'):]
    shape = (3 * triplets, recipe.channels, recipe.size, recipe.size)
    text = nets.layer("images", "Input", [], ["images"],
                      "input_param { shape { " + " ".join(f"dim: {n}" for n in shape)
                      + " } }") + "\n" + text
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        net = caffe.Net(file.name, caffe.TRAIN)
    net.blobs["images"].data[...] = np.random.default_rng(0).integers(0, 256, shape)

    def step():
        start = time.perf_counter()
        net.forward()
        middle = time.perf_counter()
        net.backward()
        end = time.perf_counter()
        net.clear_param_diffs()
        return middle - start, end - start
    return step


class TorchTower:
    """Stacks PyTorch's modules where nets.Tower stacks prototxt layers."""

    def __init__(self, channels, normalize):
        self.channels, self.normalize, self.modules = channels, normalize, []

    def convolution(self, name, outputs, kernel, pad=0, stride=1):
        from torch import nn
        self.modules.append(nn.Conv2d(self.channels, outputs, kernel, stride, pad))
        if self.normalize:
            self.modules.append(nn.BatchNorm2d(outputs))
        self.modules.append(nn.ReLU(inplace=True))
        self.channels = outputs

    def pool(self, name, method, kernel, stride=1):
        from torch import nn
        pool = nn.MaxPool2d if method == "MAX" else nn.AvgPool2d
        self.modules.append(pool(kernel, stride, ceil_mode=True))

    def dropout(self, name, ratio):
        from torch import nn
        self.modules.append(nn.Dropout(ratio))


def torch_step(spec, triplets, channels_last):
    """The same tower, divide-and-encode and loss in PyTorch."""
    import time

    import torch
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    recipe, bits = spec.recipe, spec.bits
    tower = TorchTower(recipe.channels, recipe.normalize)
    recipe.tower(tower, nets.FEATURES_PER_BIT * bits)
    net = torch.nn.Sequential(*tower.modules)
    weights = torch.randn(bits, nets.FEATURES_PER_BIT, requires_grad=True)
    normalize = torch.nn.BatchNorm1d(bits, affine=False) if recipe.normalize else None
    images = torch.randint(
        0, 256, (3 * triplets, recipe.channels, recipe.size, recipe.size)).float()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)

    def step():
        start = time.perf_counter()
        pixels = (images - recipe.pixel_mean) * recipe.pixel_scale
        features = net(pixels).reshape(-1, bits, nets.FEATURES_PER_BIT)
        encoded = (features * weights).sum(-1)
        if normalize:
            encoded = normalize(encoded) * 0.5
        # Epsilon is 0.5 at first: the piece-wise threshold is a clamp to [0, 1].
        codes = torch.sigmoid(encoded).clamp(0, 1)
        query, similar, dissimilar = codes.chunk(3)
        loss = torch.relu((query - similar).pow(2).sum(1)
                          - (query - dissimilar).pow(2).sum(1) + 1).mean()
        middle = time.perf_counter()
        loss.backward()
        end = time.perf_counter()
        net.zero_grad()
        weights.grad = None
        return middle - start, end - start
    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        errors.run(main)

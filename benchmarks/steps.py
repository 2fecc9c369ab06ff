"""Seconds per training step: Caffe's own layers, ours, PyTorch.

  python benchmarks/steps.py
  python benchmarks/steps.py --nets dnnh --triplets 21 --threads 1

Whole nets, forward and backward, 64 triplets (192 images; 16 triplets for the net of
256x256 images) a step unless an option says otherwise. Each program runs in a process of its own;
runs are interleaved, and the median over all rounds counts. PyTorch takes part if it is installed, with the same
layers, in its default and its channels_last memory format, compiled, and with glibc told to keep
memory from pass to pass; no weights are updated. Where the processor has instructions for
bfloat16, both run in that as well. The second table has the layers of our nets, one by one.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import tempfile

from tqdm import tqdm

from dnnh import cli, errors
from dnnh.errors import UserError
from dnnh.nets import configs, net_config, prototxt, pycaffe, specs
from dnnh.nets.towers import layer

import harness

NETS = {
    "dnnh_minimal": ("cifar10", "dnnh_minimal"),
    "dnnh": ("cifar10", "dnnh"),
    "dnnh_plus": ("cifar10", "dnnh_plus"),
    "dnnh_lai": ("cifar10", "dnnh_lai"),
    "nuswide": ("nuswide", "dnnh"),
}


class OfOneLength(specs.NetSpec):
    """A net of several lengths with one of them and triplets like the others, so that all programs
    compute the same loss."""

    @functools.cached_property
    def config(self):
        return dataclasses.replace(
            configs.net_config(self.dataset, self.method),
            batch=net_config.Triplets(64),
            loss=net_config.TripletLoss(),
            joint_lengths=(),
        )


def spec_of(net):
    """The NetSpec of one of NETS."""
    spec = specs.net_spec(*NETS[net])
    return OfOneLength(**dataclasses.asdict(spec)) if spec.config.joint_lengths else spec


TRIPLETS = {"nuswide": 16}  # in a step; 64 in the others

STOCK, OURS = "Caffe's own layers", "ours"
# What runs, and its settings, by name; all in float32, then all in bfloat16.
CONTENDERS = {
    "float32": {
        STOCK: ("caffe", {"DNNH_ONEDNN": "0"}),
        OURS: ("caffe", {}),
        "PyTorch": ("torch", {}),
        "PyTorch, channels_last": ("torch", {"TORCH_LAYOUT": "channels_last"}),
        "PyTorch, channels_last, compiled": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", "TORCH_COMPILED": "1"},
        ),
        "PyTorch, channels_last, memory kept": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", **harness.KEPT},
        ),
        "PyTorch, channels_last, compiled, memory kept": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", "TORCH_COMPILED": "1", **harness.KEPT},
        ),
    },
    "bfloat16": {
        OURS: ("caffe", {"DNNH_BFLOAT16": "1"}),
        "PyTorch, channels_last": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", "TORCH_BFLOAT16": "1"},
        ),
        "PyTorch, channels_last, compiled": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", "TORCH_COMPILED": "1", "TORCH_BFLOAT16": "1"},
        ),
        "PyTorch, channels_last, memory kept": (
            "torch",
            {"TORCH_LAYOUT": "channels_last", "TORCH_BFLOAT16": "1", **harness.KEPT},
        ),
        "PyTorch, channels_last, compiled, memory kept": (
            "torch",
            {
                "TORCH_LAYOUT": "channels_last",
                "TORCH_COMPILED": "1",
                "TORCH_BFLOAT16": "1",
                **harness.KEPT,
            },
        ),
    },
}


def main():
    parser = cli.parser(__doc__)
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS), default=list(NETS))
    parser.add_argument("--triplets", type=int, help="in a step (default: 64; nuswide 16)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="a program, a round")
    parser.add_argument("--name", default="steps", help="name of the files that are written")
    arguments = parser.parse_args()
    triplets = 1 if arguments.triplets is None else arguments.triplets
    if min(triplets, arguments.threads, arguments.rounds, arguments.steps) < 1:
        raise UserError("--triplets, --threads, --rounds and --steps are 1 or more")
    contenders = {
        precision: {
            name: how for name, how in programs.items() if how[0] == "caffe" or _has_torch()
        }
        for precision, programs in CONTENDERS.items()
        if precision == "float32" or "bfloat16" in harness.machine()
    }
    measured = {net: race(net, contenders, arguments) for net in arguments.nets}
    peaks = {each: harness.peak(each, arguments.threads) for each in contenders}
    harness.publish(
        arguments.name,
        "\n\n".join(
            text
            for net in arguments.nets
            for text in (
                _net_text(net, measured[net], peaks, arguments),
                _layers_text(net, measured[net]),
            )
        ),
        {"threads": arguments.threads, "nets": measured},
    )


def _has_torch():
    return importlib.util.find_spec("torch") is not None


def race(net, contenders, arguments):
    """Medians over all rounds, by precision and program."""
    turns = {
        (precision, name): [] for precision, programs in contenders.items() for name in programs
    }
    with tqdm(total=arguments.rounds * len(turns), desc=net, unit="turn") as progress:
        for _ in range(arguments.rounds):
            for precision, name in turns:
                progress.set_postfix_str(f"{name}, {precision}")
                program, settings = contenders[precision][name]
                turns[precision, name].append(measure(program, settings, net, arguments))
                progress.update()
    return {
        precision: {name: _median(turns[precision, name]) for name in programs}
        for precision, programs in contenders.items()
    }


def _median(turns):
    def over_all(kind):
        return statistics.median(value for turn in turns for value in turn[kind])

    figures_of = {kind: over_all(kind) for kind in ("forward", "step")}
    figures_of["peak_mib"] = max(turn["peak_mib"] for turn in turns)
    if "layers" in turns[0]:
        figures_of["layers"] = {
            layer: [
                statistics.median(turn["layers"][layer][way] for turn in turns) for way in (0, 1)
            ]
            for layer in turns[0]["layers"]
        }
    return figures_of


def _triplets(net, arguments):
    return arguments.triplets or TRIPLETS.get(net, 64)


def _net_text(net, measured, peaks, arguments):
    images = 3 * _triplets(net, arguments)
    first, *others = harness.macs(CaffeNet(spec_of(net), 1).net)
    # Backward has a product for the weights and, but for the first layer, one for its images.
    macs = images * (2 * first + 3 * sum(others))
    rows = []
    for precision, programs in measured.items():
        ours = programs[OURS]
        rows += [
            [
                precision,
                name,
                f"{row['step']:.3f}",
                f"{row['step'] / ours['step']:.2f}",
                harness.share_of_peak(macs, row["step"], peaks[precision]),
                f"{row['peak_mib']:,.0f}",
            ]
            for name, row in programs.items()
        ]
    return (
        f"`{net}`: {images} images, {arguments.threads} "
        "threads; seconds, how many times ours, share of the peak of a product of two matrices, and "
        "the most memory of the process in MiB\n\n"
        + harness.table(["arithmetic", "program", "step", "", "of the peak", "memory"], rows)
    )


def _layers_text(net, measured):
    kinds = {"Caffe's own": measured["float32"][STOCK], "ours": measured["float32"][OURS]}
    if "bfloat16" in measured:
        kinds["ours, bfloat16"] = measured["bfloat16"][OURS]
    rows = []
    for name in kinds["ours"]["layers"]:
        cells = [1000 * kind["layers"][name][way] for way in (0, 1) for kind in kinds.values()]
        if max(cells) >= 0.5:
            rows.append([f"`{name}`"] + [f"{cell:.1f}" for cell in cells])
    return (
        f"Layers of `{net}` that take half a millisecond or more; milliseconds "
        "forward, then backward\n\n" + harness.table(["layer", *kinds, *kinds], rows)
    )


def measure(program, settings, net, arguments):
    """The figures of one process; see child."""
    words = [program, net, _triplets(net, arguments), arguments.steps]
    return harness.in_child(__file__, words, settings, arguments.threads)


# --- one program, in a process of its own ----------------------------------------


def child(program, net, triplets, steps):
    """Print the times of some steps, after two of each that do not count."""
    import resource

    spec = spec_of(net)
    if program == "caffe":
        runner = CaffeNet(spec, int(triplets))
    else:
        import torch_net

        runner = torch_net.TorchNet(
            torch_net.describe(spec),
            int(triplets),
            channels_last=os.environ.get("TORCH_LAYOUT") == "channels_last",
            compiled="TORCH_COMPILED" in os.environ,
            bfloat16="TORCH_BFLOAT16" in os.environ,
        )
    steps = int(steps)
    times = [runner.step() for _ in range(steps + 2)][2:]
    result: dict[str, object] = {
        "forward": [forward for forward, _ in times],
        "step": [step for _, step in times],
    }
    if isinstance(runner, CaffeNet):
        result["layers"] = runner.layers(steps)
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def seconds(action):
    import time

    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class CaffeNet:
    """Caffe's net, its images being one random batch."""

    def __init__(self, spec, triplets):
        images = spec.config.input
        self.shape = (3 * triplets, images.channels, images.size, images.size)
        message = prototxt.train_net(spec)
        inputs = [self._input("images", self.shape)]
        among_images = isinstance(spec.config.batch, net_config.TripletsAmongImages)
        if among_images:  # the positions of each triplet's images in the batch
            inputs.append(self._input("positions", (3 * triplets,)))
        layers = [*inputs, *message.layer[1:]]  # in place of the data layer
        del message.layer[:]
        message.layer.extend(layers)
        self.net = self._net(message)
        if among_images:
            self.net.blobs["positions"].data[...] = range(3 * triplets)

    @staticmethod
    def _input(name, shape):
        return layer(name, "Input", [], [name], input_param={"shape": [{"dim": shape}]})

    def _net(self, message):
        import numpy as np

        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
            prototxt.write(pathlib.Path(file.name), message)
            net = pycaffe.load().Net(file.name, pycaffe.load().TRAIN)
        net.blobs["images"].reshape(*self.shape)
        net.reshape()
        net.blobs["images"].data[...] = np.random.default_rng(0).integers(0, 256, self.shape)
        return net

    def step(self):
        forward = seconds(self.net.forward)
        backward = seconds(self.net.backward)
        self.net.clear_param_diffs()
        return forward, forward + backward

    def layers(self, steps):
        """Seconds [forward, backward] of each layer, medians."""
        count = len(self.net._layer_names)
        times = [[[], []] for _ in range(count)]
        for _ in range(steps):
            for i in range(count):
                times[i][0].append(seconds(lambda i=i: self.net._forward(i, i)))
            for i in reversed(range(count)):
                times[i][1].append(seconds(lambda i=i: self.net._backward(i, i)))
            self.net.clear_param_diffs()
        return {
            name: [statistics.median(way) for way in ways]
            for name, ways in zip(self.net._layer_names, times)
        }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        errors.run(main)

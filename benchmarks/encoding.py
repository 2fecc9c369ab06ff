"""Images a second from pixels to packed codes: Caffe's own layers, ours, onnxruntime, PyTorch.

  python benchmarks/encoding.py
  python benchmarks/encoding.py --nets dnnh_plus --images 500 --rounds 1 --threads 1

The first of CIFAR-10's images, with the released 48-bit nets and, where tools/get_model.py has
written it, EfficientNet-Lite0 (features, images enlarged to 129x129). onnxruntime and PyTorch take
part if they are installed, each with the same net as an ONNX model, in which batch normalization is
folded. PyTorch keeps its memory and has channels last; compiled, its weights are constants. Each
program runs in a process of its own; they take turns, and the median counts. The peak is that of a
product of two matrices; Winograd's algorithm multiplies less, and may exceed it.
"""

import importlib.util
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
from tqdm import tqdm

from dnnh import cli, errors, packed_codes
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, encoder, onnx_export, pretrained, prototxt

import harness

STOCK = "Caffe's own layers"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# What runs, in which precision, and its settings.
CONTENDERS = {
    STOCK: ("caffe", FLOAT32, {"DNNH_ONEDNN": "0"}),
    "ours": ("caffe", FLOAT32, {}),
    "onnxruntime": ("onnxruntime", FLOAT32, {}),
    "PyTorch": ("torch", FLOAT32, harness.KEPT),
    "PyTorch, compiled": ("torch", FLOAT32, {"TORCH_COMPILED": "1", **harness.KEPT}),
    "ours, bfloat16": ("caffe", BFLOAT16, {"DNNH_BFLOAT16": "1"}),
    "PyTorch, bfloat16": ("torch", BFLOAT16, {"TORCH_BFLOAT16": "1", **harness.KEPT}),
    "PyTorch, compiled, bfloat16": (
        "torch",
        BFLOAT16,
        {"TORCH_BFLOAT16": "1", "TORCH_COMPILED": "1", **harness.KEPT},
    ),
}
OURS = {FLOAT32: "ours", BFLOAT16: "ours, bfloat16"}
PRETRAINED, SIZE = "efficientnet_lite0", 129
NETS = ("dnnh", "dnnh_plus", PRETRAINED)


def main():
    parser = cli.parser(__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default="encoding", help="name of the files that are written")
    arguments = parser.parse_args()
    if min(arguments.images, arguments.rounds, arguments.threads) < 1:
        raise UserError("--images, --rounds and --threads are 1 or more")
    nets = arguments.nets or [
        net for net in NETS if net != PRETRAINED or pretrained.path_of(net).is_file()
    ]
    contenders = {
        name: (program, settings)
        for name, (program, precision, settings) in CONTENDERS.items()
        if (precision == FLOAT32 or "bfloat16" in harness.machine())
        and (program == "caffe" or importlib.util.find_spec(program))
    }
    measured, texts = {}, []
    for net in nets:
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / f"{net}.onnx"
            model.write_bytes(onnx_export.export(*_deploy_and_weights(net), {}))
            measured[net] = race(net, model, contenders, arguments)
        precisions = {CONTENDERS[name][1] for name in contenders}
        peaks = {each: harness.peak(each, arguments.threads) for each in precisions}
        texts.append(_text(net, measured[net], peaks, arguments))
        # After each net: a later one may fail.
        harness.publish(
            arguments.name,
            "\n\n".join(texts),
            {
                net: {name: [turn["rate"] for turn in of] for name, of in turns.items()}
                for net, turns in measured.items()
            },
        )


def race(net, model, contenders, arguments):
    """The turns of all contenders, by name."""
    turns = {name: [] for name in contenders}
    for _ in tqdm(range(arguments.rounds), desc=net, unit="round"):
        for name, (program, settings) in contenders.items():
            words = [program, net, model, arguments.images]
            turns[name].append(harness.in_child(__file__, words, settings, arguments.threads))
    return turns


def _text(net, turns, peaks, arguments):
    macs = sum(harness.macs(caffe_encoder.build(caffe_encoder.parse(_deploy_and_weights(net)[0]))))
    rates = {name: statistics.median(turn["rate"] for turn in of) for name, of in turns.items()}
    rows = []
    for name, rate in rates.items():
        precision = CONTENDERS[name][1]
        ours = rates[OURS[precision]]
        codes = turns[name][0]["codes"]
        differing = _bits_that_differ(turns[STOCK][0]["codes"], codes) if codes else None
        rows.append(
            [
                name,
                f"{rate:,.0f}",
                f"{ours / rate:.2f}",
                harness.share_of_peak(macs * rate, 1, peaks[precision]),
                "" if differing is None else f"{differing:.4%}",
            ]
        )
    columns = [
        "program",
        "images a second",
        "ours is so many times as fast",
        "of the peak",
        "bits that differ",
    ]
    return (
        f"`{net}`: {arguments.images:,} images in batches of {encoder.BATCH}, "
        f"{arguments.threads} threads; {macs / 1e6:,.0f} million MACs per image; bits against {STOCK}\n\n"
        + harness.table(columns, rows)
    )


def _bits_that_differ(a, b):
    a, b = (np.frombuffer(bytes.fromhex(codes), np.uint8) for codes in (a, b))
    return np.bitwise_count(a ^ b).sum() / (8 * len(a))


def _deploy_and_weights(net):
    if net == PRETRAINED:
        return prototxt.as_text(pretrained.feature_net(net, SIZE, 32)), pretrained.path_of(net)
    return harness.released(net)


def _caffe(net, model):
    return caffe_encoder.CaffeEncoder(*_deploy_and_weights(net)).outputs


def _onnxruntime(net, model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(model, options)
    return lambda images: session.run(None, {onnx_export.INPUT: images})[0]


def _torch(net, model):
    import torch

    from onnx_in_torch import OnnxModule

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    run = OnnxModule(model).eval()
    if "TORCH_COMPILED" in os.environ:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        run = torch.compile(run)
    is_bfloat16 = "TORCH_BFLOAT16" in os.environ

    def outputs(images):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            return run(torch.from_numpy(images))[0].float().numpy()

    return outputs


def child(program, net, model, count):
    """Print the rate and the codes; the first batches, with their set-up, not timed."""
    from dnnh.data import datasets

    outputs = {"caffe": _caffe, "onnxruntime": _onnxruntime, "torch": _torch}[program](net, model)
    images = datasets.load("cifar10").images[: int(count)]
    batches = [images[i : i + encoder.BATCH] for i in range(0, len(images), encoder.BATCH)]
    for _ in range(2):
        outputs(batches[0])
    start = time.perf_counter()
    found = [outputs(batch) for batch in batches]
    seconds = time.perf_counter() - start
    # Features are no codes.
    codes = packed_codes.pack(np.concatenate(found) > 0.5) if net != PRETRAINED else np.empty(0)
    print(json.dumps({"rate": len(images) / seconds, "codes": codes.tobytes().hex()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        errors.run(main)

"""Write a trained net as an ONNX model, which encodes images without Caffe.

  pip install -e '.[onnx]'
  python tools/export.py --method dnnh_plus --bits 48 --output dnnh_plus_48.onnx
  python tools/export.py --method dnnh_plus --bits 48 --output dnnh_plus_48.onnx --compare 1000
  python tools/export.py --net efficientnet_lite0 --output efficientnet_lite0.onnx

Input: images, uint8 of shape (n, height, width, channels), or with --layout nchw float32 of shape
(n, channels, height, width). Outputs: codes, the relaxed codes,
float32 of shape (n, bits); bits, the packed ones, uint8 of shape (n, ceil(bits / 8)), the least
significant bit first; and unrounded, the relaxed codes before the piece-wise threshold. A network
that gives features (--net) has one output, features, float32 of shape (n, d). The model's metadata
says which net it is, and has the SHA-256 of the weights. `tools/encode.py --model` takes it.
"""

import argparse
import importlib.util
import pathlib
import sys

import numpy as np
from tqdm import tqdm

from dnnh import atomic_files, cli, errors, packed_codes
from dnnh.data import datasets, sources
from dnnh.errors import UserError
from dnnh.nets import encoder, onnx_encoder, onnx_export, pretrained, prototxt, runtimes, weights
from dnnh.nets.caffe_encoder import CaffeEncoder
from dnnh.nets.onnx_encoder import OnnxModel
from dnnh.nets.specs import NetSpec

BATCH = 100
CLOSE = 1e-5  # what rounding may change


def main() -> None:
    arguments = parse_arguments()
    for package in ("onnx", "onnxruntime")[: 1 if arguments.compare is None else 2]:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the package {package} is not installed; pip install -e '.[onnx]'")
    if arguments.net:
        export_features(arguments)
    else:
        export_codes(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    parser.add_argument(
        "--tower",
        choices=("query", "database"),
        help="sub-network to export, of a net with two (default: database)",
    )
    cli.add_pretrained_options(parser, "export this pretrained network, which gives features")
    parser.add_argument(
        "--output",
        type=cli.path,
        help="the .onnx file to write (default: snapshots/NAME.onnx, where encode.py --runtime "
        "onnx finds it)",
    )
    parser.add_argument(
        "--layout",
        choices=onnx_encoder.LAYOUTS,
        default=onnx_encoder.LAYOUTS[0],
        help="input layout: nhwc, uint8 images as they are stored (default), or nchw, float32 from "
        "0 to 255",
    )
    parser.add_argument(
        "--compare",
        type=int,
        metavar="N",
        help="encode the data set's first N images by onnxruntime and by Caffe, layer by layer, and "
        "count the bits that differ",
    )
    arguments = parser.parse_args()
    if arguments.compare is not None and arguments.compare < 1:
        raise UserError(f"--compare {arguments.compare}: it is 1 or more")
    if arguments.size is not None and not arguments.net:
        raise UserError("--size goes with --net")
    if arguments.net:
        codes_only = ("dataset", "method", "bits", "schedule", "model", "tower", "compare")
        cli.refuse(arguments, codes_only, "is for nets that give codes; leave it out with --net")
    return arguments


def export_features(arguments: argparse.Namespace) -> None:
    name, size = arguments.net, cli.pretrained_size(arguments)
    deploy = prototxt.as_text(pretrained.feature_net(name, size))
    metadata = {
        "dataset": pretrained.DATASET,
        "method": name,
        "schedule": pretrained.schedule_of(size),
        "tower": "",
        "stored_size": size,
    }
    output = arguments.output or runtimes.exported_path(f"{name}_{size}")
    write(output, deploy, pretrained.find(name), metadata, arguments.layout)


def export_codes(arguments: argparse.Namespace) -> None:
    spec = cli.net_spec(arguments)
    towers = spec.config.towers
    if arguments.tower and len(towers) == 1:
        raise UserError(f"--tower is for two sub-networks; {spec.method} has one")
    tower = f"{arguments.tower}_" if arguments.tower else towers[-1]
    side = tower.removesuffix("_")
    model = weights.find_weights(spec, arguments.model)
    print(f"model: {model.description}")
    trained = model.net(spec)
    metadata = {
        "dataset": spec.dataset,
        "method": spec.method,
        "schedule": trained.schedule,
        "tower": side,
        "stored_size": spec.config.input.stored_size,
    }
    deploy = prototxt.deploy_text(trained, tower)
    output = arguments.output or runtimes.exported_path(spec.name, side)
    write(output, deploy, model.path, metadata, arguments.layout)
    if arguments.compare is not None:
        net = CaffeEncoder(deploy, model.path, fuse=False)
        compare(spec, onnx_encoder.read(output), net, arguments.compare)


def write(
    output: pathlib.Path,
    deploy: str,
    model: pathlib.Path,
    metadata: dict[str, object],
    layout: str,
) -> None:
    """Export a net, and write it."""
    atomic_files.refuse_overwriting([output], [model])
    exported = onnx_export.export(
        deploy, model, {**metadata, "weights": sources.as_text(model.name)}, layout
    )
    atomic_files.write_bytes(output, exported)
    print(f"{output}: {len(exported):,} bytes")


def compare(spec: NetSpec, exported: OnnxModel, net: CaffeEncoder, count: int) -> None:
    """Print how many bits differ; exit with an error if any does that is not close to 0.5."""
    import onnxruntime

    images = datasets.load(spec.dataset).images[:count]
    session = onnxruntime.InferenceSession(exported.content)
    wanted_outputs = [onnx_encoder.CODES, onnx_encoder.BITS]
    differing = far = jumps = 0
    for start in tqdm(range(0, len(images), BATCH), desc="comparing", unit="batch"):
        batch = encoder.centre(images[start : start + BATCH], *net.image_shape)
        wanted = net.outputs(batch)
        codes, packed = map(np.asarray, session.run(wanted_outputs, exported.feed(batch)))
        bits = packed_codes.unpack(packed, net.bits)
        differs = bits != (wanted > 0.5)
        differing += int(differs.sum())
        far += int((differs & (np.abs(wanted - 0.5) > CLOSE)).sum())
        jumps += int((np.abs(codes - wanted) > CLOSE).sum())
    print(
        f"{len(images):,} images: {differing} of {len(images) * net.bits:,} bits differ from "
        f"Caffe's, {far} of them where Caffe's value is more than {CLOSE} from 0.5. Of the relaxed "
        f"codes, {jumps} differ by more than {CLOSE}; where the piece-wise threshold jumps, that is "
        "rounding, too"
    )
    if far:
        sys.exit(1)


if __name__ == "__main__":
    errors.run(main)

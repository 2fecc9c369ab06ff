"""Write a trained net as an ONNX model, which encodes images without Caffe.

  pip install -e '.[onnx]'
  python tools/export.py --method dnnh_plus --bits 48 --output dnnh_plus_48.onnx
  python tools/export.py --method dnnh_plus --bits 48 --output dnnh_plus_48.onnx --compare 1000

Input: images, uint8 of shape (n, height, width, channels). Outputs: codes, the relaxed codes,
float32 of shape (n, bits); and bits, the packed ones, uint8 of shape (n, ceil(bits / 8)), the least
significant bit first. The model's metadata has the method, the data set, the number of bits and the
SHA-256 of the weights.
"""

import importlib.util
import pathlib
import sys

import numpy as np
from tqdm import tqdm

from dnnh import atomic_files, cli, errors, packed_codes
from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.nets import encoder, onnx_export, prototxt, weights
from dnnh.nets.specs import NetSpec

BATCH = 100
CLOSE = 1e-5  # what rounding may change


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    parser.add_argument(
        "--tower",
        choices=("query", "database"),
        help="of a net with two sub-networks (default: database)",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, required=True, help="the .onnx file to write"
    )
    parser.add_argument(
        "--compare",
        type=int,
        metavar="N",
        help="encode the data set's first N images by onnxruntime and by Caffe, layer by layer, and "
        "count the bits that differ",
    )
    arguments = parser.parse_args()
    spec = cli.net_spec(arguments)
    if arguments.compare is not None and arguments.compare < 1:
        raise UserError(f"--compare {arguments.compare}: it is 1 or more")
    for package in ("onnx", "onnxruntime")[: 1 if arguments.compare is None else 2]:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the package {package} is not installed; pip install -e '.[onnx]'")
    tower = f"{arguments.tower}_" if arguments.tower else spec.config.towers[-1]
    deploy = prototxt.deploy_text(spec, tower)
    model = weights.find_weights(spec, arguments.model)
    print(f"model: {model.description}")
    atomic_files.refuse_overwriting([arguments.output], [model.path])
    metadata = {"method": spec.method, "dataset": spec.dataset, "weights": model.path.name}
    exported = onnx_export.export(deploy, model.path, metadata)
    with atomic_files.write_atomically(arguments.output) as partial:
        partial.write_bytes(exported)
    print(f"{arguments.output}: {len(exported):,} bytes")
    if arguments.compare is not None:
        net = encoder.Encoder(deploy, model.path, fuse=False)
        compare(spec, exported, net, arguments.compare)


def compare(spec: NetSpec, exported: bytes, net: encoder.Encoder, count: int) -> None:
    """Print how many bits differ; exit with an error if any does that is not close to 0.5."""
    import onnxruntime

    images = datasets.load(spec.dataset).images[:count]
    session = onnxruntime.InferenceSession(exported)
    differing = far = jumps = 0
    for start in tqdm(range(0, len(images), BATCH), desc="comparing", unit="batch"):
        batch = encoder.centre(images[start : start + BATCH], *net.image_shape)
        wanted = net.outputs(batch)
        codes, packed = map(np.asarray, session.run(None, {onnx_export.INPUT: batch}))
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

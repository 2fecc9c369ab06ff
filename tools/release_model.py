"""Write trained weights as the released model of a net, in half precision.

  python tools/release_model.py --method dnnh --schedule short --bits 48
  python tools/release_model.py --method dnnh_plus --model snapshots/averaged.caffemodel

The model is an HDF5 file, which Caffe reads, and half the size of a snapshot. The training images
are encoded with both, and the bits that differ are counted. The result to publish is that of the
released model: evaluate it with the command that is printed.
"""

import numpy as np

from dnnh import atomic_files, cli, errors, files
from dnnh.data import datasets, splits
from dnnh.nets import model_files, prototxt, specs, weights
from dnnh.nets.caffe_encoder import CaffeEncoder


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    parser.add_argument("--output", type=cli.path, help="(default: in models/)")
    arguments = parser.parse_args()
    cli.fill_in_defaults(arguments)
    spec = specs.net_spec(arguments.dataset, arguments.method, arguments.bits, arguments.schedule)
    snapshot = weights.find_weights(spec, arguments.model).path
    path = arguments.output or weights.release_path(spec)
    atomic_files.refuse_overwriting([path], [snapshot])
    dataset = datasets.load(spec.dataset)
    images = dataset.images[splits.load_split(dataset).training]
    with atomic_files.write_atomically(path) as partial:
        model_files.write_halved(partial, model_files.read(snapshot))
        for tower in spec.config.towers:
            deploy = prototxt.deploy_text(spec, tower)
            whole = CaffeEncoder(deploy, snapshot).encode(images, snapshot.name)
            halved = CaffeEncoder(deploy, partial).encode(images, path.name)
            count = np.bitwise_count(whole ^ halved).sum()
            of_tower = f" {tower.strip('_')}" if tower else ""
            print(f"{count:,} of {spec.bits * len(images):,}{of_tower} bits differ")
    print(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {files.sha256(path)}")
    print("evaluate with:")
    print(f"  {weights.evaluate_command(spec, path)}")


if __name__ == "__main__":
    errors.run(main)

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
from dnnh.errors import UserError
from dnnh.nets import model_files, prototxt, weights
from dnnh.nets.caffe_encoder import CaffeEncoder


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    parser.add_argument("--output", type=cli.path, help="(default: in models/)")
    arguments = parser.parse_args()
    spec = cli.net_spec(arguments)
    # Another training run's weights must not be released as this one's.
    snapshot = arguments.model or weights.last_snapshots(spec, 1)[0]
    run = weights.run_of(spec, snapshot)
    if run is not None:
        if run.schedule != spec.schedule:
            raise UserError(
                f"{snapshot} is of the schedule {run.schedule}; name that with --schedule"
            )
        if (run.split, run.train_seed) != (spec.split, spec.train_seed):
            raise UserError(
                f"{snapshot} has --split {run.split} and training seed {run.train_seed}; released "
                f"weights have --split {spec.split} and training seed {spec.train_seed}"
            )
    print(f"snapshot: {snapshot}")
    path = arguments.output or weights.release_path(spec)
    atomic_files.refuse_overwriting([path], [snapshot])
    dataset = datasets.load(spec.dataset)
    images = dataset.images[splits.load_split(dataset).training]
    deploys = {tower: prototxt.deploy_text(spec, tower) for tower in spec.config.towers}
    whole = {tower: CaffeEncoder(deploy, snapshot) for tower, deploy in deploys.items()}
    with atomic_files.write_hdf5_atomically(path) as file:
        model_files.write_halved(file, model_files.read(snapshot))
    for tower, deploy in deploys.items():
        codes = whole[tower].encode(images, snapshot.name)
        halved = CaffeEncoder(deploy, path).encode(images, path.name)
        count = np.bitwise_count(codes ^ halved).sum()
        of_tower = f" {tower.strip('_')}" if tower else ""
        print(f"{count:,} of {spec.bits * len(images):,}{of_tower} bits differ")
    print(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {files.sha256(path)}")
    print("evaluate with:")
    print(f"  {weights.evaluate_command(spec, path)}")


if __name__ == "__main__":
    errors.run(main)

"""Average the weights of a training run's last snapshots, and recompute batch-norm statistics.

  python tools/average_weights.py --method dnnh --schedule short --bits 48 --last 5
  python tools/average_weights.py --method dnnh_plus --last 1          statistics alone
  python tools/average_weights.py --method dnnh_plus --models a.caffemodel b.caffemodel

The statistics are those of all labelled training images without data augmentation. The command
that evaluates the new model is printed.
"""

from dnnh import atomic_files, cli, errors, paths
from dnnh.data import datasets, splits
from dnnh.nets import averaging, weights


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_split_option(parser)
    cli.add_train_seed_option(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", type=int, metavar="N", help="the last N snapshots (default: 5)")
    which.add_argument(
        "--models", type=cli.path, nargs="+", help="these snapshots, the last one last"
    )
    parser.add_argument("--output", type=cli.path, help="(default: in snapshots/)")
    arguments = parser.parse_args()
    cli.fill_in(arguments, last=5)
    spec = cli.net_spec(arguments)
    snapshots = arguments.models or weights.last_snapshots(spec, arguments.last)
    for snapshot in snapshots:
        weights.check_split(spec, snapshot)
    path = arguments.output or paths.ROOT / f"{spec.snapshot_prefix}_averaged.caffemodel"
    atomic_files.refuse_overwriting([path], snapshots)
    dataset = datasets.load(spec.dataset)
    split = splits.load_split(dataset)
    _, rows = split.trained_on(spec.split)
    model = averaging.averaged(spec, snapshots, dataset.images[rows])
    atomic_files.write_bytes(path, model)
    names = ", ".join(snapshot.name for snapshot in snapshots)
    print(f"averaged {names}")
    print("evaluate with:")
    print(f"  {weights.evaluate_command(spec, path)}")


if __name__ == "__main__":
    errors.run(main)

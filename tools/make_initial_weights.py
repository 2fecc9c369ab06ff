"""Write initial weights with which both sub-networks of a net start alike.

  python tools/make_initial_weights.py --method dnnh_two_towers --schedule short --bits 48
  python tools/make_initial_weights.py --method dnnh_two_towers --schedule short --train-seed 2

Without them, each sub-network starts from random weights of its own. The command that trains
from them is printed.
"""

from dnnh import atomic_files, cli, errors, paths
from dnnh.nets import initial_weights, specs


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    parser.add_argument("--train-seed", type=int, help="of the weights (default: 1)")
    arguments = parser.parse_args()
    cli.fill_in(arguments, train_seed=specs.DEFAULT_TRAIN_SEED)
    cli.fill_in_defaults(arguments)
    spec = specs.net_spec(
        arguments.dataset,
        arguments.method,
        arguments.bits,
        arguments.schedule,
        train_seed=arguments.train_seed,
    )
    path = initial_weights.path_of(spec)
    atomic_files.write_bytes(path, initial_weights.shared(spec))
    solver, weights = (file.relative_to(paths.ROOT) for file in (spec.files["solver"], path))
    print(f"train with:\n  caffe train -solver {solver} -weights {weights}")


if __name__ == "__main__":
    errors.run(main)

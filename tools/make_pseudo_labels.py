"""Label the unlabelled images of the database with a trained net, for `dnnh_semi` to train on.

  python tools/make_pseudo_labels.py                       by dnnh_plus, 48 bits
  python tools/make_pseudo_labels.py --method dnnh_semi    a second round
  python tools/make_pseudo_labels.py --split validation

The unlabelled images are those of the database that the protocol does not train on. Each gets the
class whose training images have the nearest mean code. The most confident are written with the
training images, to where `dnnh_semi` looks for them. No query is among them.
"""

import numpy as np

from dnnh import cli, errors, files, paths
from dnnh.data import datasets, image_database, pseudo_labels, splits
from dnnh.errors import UserError
from dnnh.evaluation import results
from dnnh.nets import prototxt, specs, weights
from dnnh.nets.caffe_encoder import CaffeEncoder

SHARE = 0.5


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser)
    cli.add_model_option(parser)
    cli.add_gpu_option(parser)
    cli.add_split_option(parser)
    parser.add_argument(
        "--share", type=float, help=f"share of the unlabelled images to keep (default: {SHARE})"
    )
    parser.add_argument(
        "--output",
        type=cli.path,
        help="the database to write (default: where dnnh_semi looks for it)",
    )
    arguments = parser.parse_args()
    cli.fill_in(arguments, method="dnnh_plus", share=SHARE)
    spec = cli.net_spec(arguments)
    if not 0 < arguments.share <= 1:
        raise UserError(f"--share {arguments.share}: it is above 0 and at most 1")
    dataset = datasets.load(spec.dataset)
    if dataset.labels.ndim > 1:
        raise UserError(f"images of {dataset.name} have several labels; this is for one of each")
    num_classes = len(dataset.classes)
    if num_classes < 2:
        raise UserError(f"all images of {dataset.name} are of one class; there is nothing to label")
    if len(spec.config.towers) > 1:
        raise UserError(f"{spec.method} has two sub-networks; name a net with one")
    split = splits.load_split(dataset)
    part, labelled = split.trained_on(spec.split)
    unlabelled = np.setdiff1d(split.database, split.training)

    model = weights.find_weights(spec, arguments.model)
    print(f"model: {model.description}")
    weights.check_split(spec, model.path)
    validation = spec.split == "validation"
    if problem := results.seen_in_training(model.path, dataset, split, validation):
        raise UserError(f"{problem}: train the net on these images, and name it with --model")
    net = CaffeEncoder(prototxt.deploy_text(model.net(spec)), model.path, arguments.gpu)
    classes, confidence = pseudo_labels.nearest_classes(
        net.relaxed_codes(dataset.images, "encoding unlabelled images", unlabelled),
        net.relaxed_codes(dataset.images, "encoding training images", labelled),
        dataset.labels[labelled],
        num_classes,
    )
    kept = pseudo_labels.most_confident(classes, confidence, num_classes, arguments.share)
    if not len(kept):
        raise UserError(
            f"--share {arguments.share} of {len(unlabelled):,} images is less than one of each of "
            f"{num_classes} classes; give a larger one"
        )
    rows = np.concatenate([labelled, unlabelled[kept]])
    labels = np.concatenate([dataset.labels[labelled], classes[kept]])
    output = arguments.output or paths.ROOT / specs.image_database_path(
        dataset.name, part, pseudo_labels=True
    )
    image_database.write_images(
        output,
        dataset.images,
        labels,
        {
            "labels": "of the protocol's training images, and pseudo-labels",
            **split.about(dataset, part),
            "labelled": len(labelled),
            "pseudo_labelled": len(kept),
            "model": model.path.name,
            "model_sha256": files.sha256(model.path),
        },
        rows=rows,
    )
    right = dataset.labels[unlabelled] == classes
    print(
        f"{output}: {len(labelled):,} labelled images and {len(kept):,} of {len(unlabelled):,} "
        f"unlabelled ones. Of these, {right[kept].mean():.3f} have the right class, of all "
        f"{right.mean():.3f} (for information: nothing depends on it)"
    )


if __name__ == "__main__":
    errors.run(main)

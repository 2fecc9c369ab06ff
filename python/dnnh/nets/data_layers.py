"""The data layers of a net in training: which images and triplets are in a batch."""

from typing import Any

from dnnh.nets import net_config
from dnnh.nets.net_config import (
    ImagesPerClass,
    ImagesWithTargetCodes,
    Triplets,
    TripletsAmongImages,
)
from dnnh.nets.specs import NetSpec, image_database_path
from dnnh.nets.towers import MEMBERS, Message, layer

# The layer's own blob counts batches; no solver may move it.
_NOT_TRAINED = [{"lr_mult": 0, "decay_mult": 0}]


def data_layers(spec: NetSpec, phase: str, part: str) -> list[Message]:
    """The layers that read `images` in one phase, and whatever goes with them."""
    batch = spec.config.batch
    target_bits = spec.bits if spec.config.learns_target_codes else None
    pseudo_labels = spec.config.pseudo_labels and phase == "TRAIN"
    source = image_database_path(spec.dataset, part, spec.sampling, target_bits, pseudo_labels)
    if spec.sampling == "materialized":
        assert isinstance(batch, Triplets)
        data_param = {"source": source, "batch_size": batch.triplets, "backend": "LMDB"}
        return [
            layer(
                "triplets",
                "Data",
                [],
                ["triplets"],
                include=[{"phase": phase}],
                transform_param=_transform_param(spec, phase),
                data_param=data_param,
            )
        ]
    tops, content = _content_of(batch)
    triplet_data_param = {"source": source, **content}
    if spec.sampling == "listed":
        triplet_data_param["triplet_file"] = f"{source}/triplets.h5"
    else:
        triplet_data_param["seed"] = spec.train_seed
    if phase == "TRAIN":
        triplet_data_param |= _augmentation_of(spec)
    return [
        layer(
            "triplet_images",
            "TripletData",
            [],
            ["images", *tops],
            include=[{"phase": phase}],
            param=_NOT_TRAINED,
            transform_param=_transform_param(spec, phase),
            triplet_data_param=triplet_data_param,
        )
    ]


def _transform_param(spec: NetSpec, phase: str) -> dict[str, Any]:
    images, augmentation = spec.config.input, spec.config.augmentation
    transform: dict[str, Any] = {"mirror": augmentation.mirror and phase == "TRAIN"}
    if images.stored_size + 2 * augmentation.pad > images.size:
        transform["crop_size"] = images.size
    return transform


def _content_of(batch: net_config.Batch) -> tuple[list[str], dict[str, Any]]:
    """The tops of TripletData beside the images, and its fields for the content of a batch."""
    match batch:
        case Triplets(triplets):
            return [], {"batch_size": triplets}
        case TripletsAmongImages(images, triplets):
            return ["positions"], {"images": images, "batch_size": triplets}
        case ImagesPerClass(classes, images_per_class):
            return ["labels"], {"classes": classes, "images_per_class": images_per_class}
        case ImagesWithTargetCodes(images):
            return ["approximate_codes"], {"images": images}


def _augmentation_of(spec: NetSpec) -> dict[str, Any]:
    """TripletData's fields for data augmentation; what is off is not mentioned."""
    augmentation = spec.config.augmentation
    fields: dict[str, Any] = {
        "pad": augmentation.pad,
        "random_affine": augmentation.random_affine,
        "color_jitter": augmentation.color_jitter,
        "trivial_augment": augmentation.trivial_augment,
        "cutout": augmentation.cutout,
    }
    if augmentation.off_for:
        iterations = spec.schedule_config.solver.max_iter
        # Never more than half of a short training.
        fields["augment_until"] = max(iterations - augmentation.off_for, iterations // 2)
    return {name: value for name, value in fields.items() if value}


def join_materialized(channels: int) -> list[Message]:
    """The layers that join the images of materialized triplets on the batch axis."""
    members = [f"{member}_images" for member in MEMBERS]
    slice_param = {"axis": 1, "slice_point": [channels, 2 * channels]}
    return [
        layer("triplet_planes", "Slice", ["triplets"], members, slice_param=slice_param),
        layer("images", "Concat", members, ["images"], concat_param={"axis": 0}),
    ]

"""The losses of a net in training, and what is logged of its codes."""

from dnnh.nets.net_config import (
    ImagesPerClass,
    ImagesWithTargetCodes,
    Triplets,
    TripletsAmongImages,
)
from dnnh.nets.specs import DEFAULT_BITS, NetSpec
from dnnh.nets.towers import (
    MEMBERS,
    NEGATIVE,
    POSITIVE,
    QUERY,
    WEIGHTS_AND_BIASES,
    Message,
    layer,
)


def losses(spec: NetSpec) -> list[Message]:
    """The losses of a batch, by what is in it."""
    match spec.config.batch:
        case Triplets():
            return [*_slice_codes(spec), _triplet_loss(spec)]
        case TripletsAmongImages():
            return [*_gather_codes(spec), _triplet_loss(spec)]
        case ImagesPerClass(classes):
            layers = []
            for head, bits in spec.lengths.items():
                layers += _batch_losses(spec, head, bits, classes)
            return layers
        case ImagesWithTargetCodes():
            return [_target_code_loss()]


def _slice_codes(spec: NetSpec) -> list[Message]:
    """Triplets joined on the batch axis: their codes are sliced apart."""
    if len(spec.config.towers) == 1:
        name, bottom, tops = "triplet_codes", "codes", list(MEMBERS)
    else:  # the first tower has encoded the queries alone
        name, bottom, tops = "pair_codes", "database_codes", [POSITIVE, NEGATIVE]
    return [layer(name, "Slice", [bottom], tops, slice_param={"axis": 0})]


def _gather_codes(spec: NetSpec) -> list[Message]:
    """Triplets among the images of a batch: their codes are gathered by their positions."""
    query_tower, database_tower = spec.config.towers[0], spec.config.towers[-1]
    positions = [f"{member}_positions" for member in MEMBERS]
    layers = [
        layer("triplet_positions", "Slice", ["positions"], positions, slice_param={"axis": 0})
    ]
    for member, tower in (
        (QUERY, query_tower),
        (POSITIVE, database_tower),
        (NEGATIVE, database_tower),
    ):
        bottoms = [f"{tower}codes", f"{member}_positions"]
        layers.append(layer(member, "BatchReindex", bottoms, [member]))
    return layers


def _triplet_loss(spec: NetSpec) -> Message:
    """The triplet ranking loss, eq. 2."""
    sliced_off = isinstance(spec.config.batch, Triplets) and len(spec.config.towers) == 2
    query = "query_codes" if sliced_off else QUERY
    return layer(
        "loss",
        "TripletRankingLoss",
        [query, POSITIVE, NEGATIVE],
        ["loss", "active"],
        triplet_ranking_loss_param={"margin": spec.config.loss.margin},
    )


def _batch_losses(spec: NetSpec, head: str, bits: int, num_classes: int) -> list[Message]:
    """The losses of one length over all triplets of a batch of labelled images."""
    loss = spec.config.loss
    codes, classes = f"{head}codes", f"{head}classes"
    batch_triplet_loss_param = {
        "margin": loss.margin * bits / DEFAULT_BITS,
        "average_active": True,
    }
    layers = [
        layer(
            f"{head}loss",
            "BatchTripletLoss",
            [codes, "labels"],
            [f"{head}loss", f"{head}active"],
            batch_triplet_loss_param=batch_triplet_loss_param,
        )
    ]
    if loss.classification_weight:
        inner_product_param = {"num_output": num_classes, "weight_filler": {"type": "xavier"}}
        layers += [
            layer(
                classes,
                "InnerProduct",
                [codes],
                [classes],
                param=WEIGHTS_AND_BIASES,
                inner_product_param=inner_product_param,
            ),
            layer(
                f"{head}class_loss",
                "SoftmaxWithLoss",
                [classes, "labels"],
                [f"{head}class_loss"],
                loss_weight=[loss.classification_weight],
            ),
        ]
    return layers


def _target_code_loss() -> Message:
    """Cross entropy with codes made beforehand, summed over the bits of an image.

    The papers on CNNH do not state theirs.
    """
    return layer(
        "loss",
        "SigmoidCrossEntropyLoss",
        ["outputs", "approximate_codes"],
        ["loss"],
        loss_param={"normalization": "BATCH_SIZE"},
    )


def monitor(prefix: str) -> Message:
    tops = ["bit_mean_min", "bit_mean_max", "distinct_codes", "clipped"]
    return layer(
        f"{prefix}monitor",
        "CodeMonitor",
        [f"{prefix}codes"],
        [prefix + top for top in tops],
        include=[{"phase": "TRAIN"}],
    )

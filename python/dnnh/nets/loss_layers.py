"""The losses of a net in training, and what is logged of its codes."""

from dnnh.nets import pycaffe
from dnnh.nets.net_config import (
    ImagesPerClass,
    ImagesWithTargetCodes,
    RankingListLoss,
    SlopeSigmoidHead,
    TripletLoss,
    Triplets,
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
    loss = spec.config.loss
    match spec.config.batch:
        case ImagesWithTargetCodes():
            return [_target_code_loss()]
        case ImagesPerClass():
            layers = []
            for head, bits in spec.lengths.items():
                if isinstance(loss, RankingListLoss):
                    layers.append(_ranking_list_loss(loss, head, bits))
                else:
                    layers += _batch_losses(spec, loss, head, bits)
            return layers
        case batch:
            assert isinstance(loss, TripletLoss)
            gather = _slice_codes if isinstance(batch, Triplets) else _gather_codes
            return [*gather(spec), _triplet_loss(spec, loss)]


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


def _triplet_loss(spec: NetSpec, loss: TripletLoss) -> Message:
    """The triplet ranking loss, eq. 2."""
    sliced_off = isinstance(spec.config.batch, Triplets) and len(spec.config.towers) == 2
    query = "query_codes" if sliced_off else QUERY
    return layer(
        "loss",
        "TripletRankingLoss",
        [query, POSITIVE, NEGATIVE],
        ["loss", "active"],
        triplet_ranking_loss_param={"margin": loss.margin},
    )


def _batch_losses(spec: NetSpec, loss: TripletLoss, head: str, bits: int) -> list[Message]:
    """The losses of one length over all triplets of a batch of labelled images."""
    codes = f"{head}codes"
    # Not "classes": ImageNet's weights have a layer of that name, which does not fit.
    classes = f"{head}classes" if head else "class_scores"
    batch_triplet_loss_param = {
        "margin": loss.margin * bits / DEFAULT_BITS,
        "average_active": True,
    }
    if loss.adjacency:
        batch_triplet_loss_param["adjacency"] = loss.adjacency
    layers = []
    if isinstance(spec.config.head, SlopeSigmoidHead):
        weighted = f"{head}weighted_codes"
        layers.append(_bit_weights(head, codes, weighted))
        codes = weighted
    layers += [
        layer(
            f"{head}loss",
            "BatchTripletLoss",
            [codes, "labels"],
            [f"{head}loss", f"{head}active"],
            batch_triplet_loss_param=batch_triplet_loss_param,
            **({"loss_weight": [loss.weight]} if loss.weight != 1 else {}),
        )
    ]
    if loss.classification_weight:
        inner_product_param = {
            "num_output": spec.config.classes,
            "weight_filler": {"type": "xavier"},
        }
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
                loss_weight=[loss.classification_weight * (1 - loss.label_smoothing)],
            ),
        ]
        if loss.label_smoothing:
            weight = loss.classification_weight * loss.label_smoothing
            layers += _uniform_class_loss(head, classes, weight)
    return layers


def _uniform_class_loss(head: str, classes: str, weight: float) -> list[Message]:
    """Cross entropy with all classes alike, the second term of label smoothing (Szegedy et al.,
    CVPR 2016)."""
    shares, logarithms, loss = (
        f"{head}{name}" for name in ("shares", "log_shares", "uniform_loss")
    )
    return [
        layer(shares, "Softmax", [classes], [shares]),
        # A share may be rounded to 0.
        layer(logarithms, "Log", [shares], [logarithms], log_param={"shift": 1e-10}),
        layer(
            loss,
            "Reduction",
            [logarithms],
            [loss],
            loss_weight=[weight],
            reduction_param={"operation": pycaffe.messages().ReductionParameter.MEAN, "coeff": -1},
        ),
    ]


def _bit_weights(head: str, codes: str, weighted: str) -> Message:
    """The element-wise layer of DRSCH: a weight w for each bit. The squared distance of weighted
    codes is the Hamming distance in which bit k counts w_k squared."""
    return layer(
        f"{head}bit_weights",
        "Scale",
        [codes],
        [weighted],
        param=[{"lr_mult": 1, "decay_mult": 1}],
        scale_param={"filler": {"type": "constant", "value": 1}},
    )


def _ranking_list_loss(loss: RankingListLoss, head: str, bits: int) -> Message:
    return layer(
        f"{head}loss",
        "RankingListLoss",
        [f"{head}codes", "labels"],
        [f"{head}loss"],
        ranking_list_loss_param={
            "margin": loss.margin * bits / DEFAULT_BITS,
            "balance": loss.balance,
        },
    )


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

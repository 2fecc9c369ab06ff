"""How each net is trained: what the paper leaves open, and the sizes.

What the paper states (Lai et al., CVPR 2015, section 4.1): SGD with momentum 0.9 and weight
decay 0.0005, mini-batches of 64 images, margin 1, and a threshold whose epsilon starts at 0.5
and decays by a fifth every 20,000 iterations. The other hyperparameters are ours.
"""

from dataclasses import replace

from dnnh.data import datasets, splits
from dnnh.data.dataset import Dataset, Images
from dnnh.errors import UserError
from dnnh.nets import towers
from dnnh.nets.net_config import (
    TWO_TOWERS,
    Augmentation,
    EncodingHead,
    ImagesPerClass,
    ImagesWithTargetCodes,
    InputConfig,
    NetConfig,
    RankingListLoss,
    Schedule,
    SigmoidHead,
    SlopeSigmoidHead,
    Solver,
    TripletLoss,
    Triplets,
    TripletsAmongImages,
    linear_decay,
)
from dnnh.nets.net_info import NetInfo

# Long enough for epsilon to decay three times, at 20,000, 40,000 and 60,000; and an 80-minute
# training of the same net, in which it decays four times, to 0.2.
_PAPER = Schedule(linear_decay(0.03, 70_000))
_SHORT = Schedule(linear_decay(0.03, 9_000), epsilon_stepsize=1_800)
_BATCH_CLASSES = 10  # of a batch whose loss is over all of its triplets, at most
_PAPER_AND_SHORT = {"paper": _PAPER, "short": _SHORT}

_MINIMAL = NetConfig(
    input=InputConfig(channels=3, size=32, stored_size=32, pixel_mean=120, pixel_scale=0.015625),
    architecture=towers.nin,
    batch=Triplets(21),
    augmentation=Augmentation(mirror=True, pad=4),
    schedules={"paper": Schedule(Solver(0.001, 70_000, lr_policy="fixed"))},
)
# 64 images a batch, as the paper states; how many triplets they form it does not.
_DNNH = replace(
    _MINIMAL,
    batch=TripletsAmongImages(images=64, triplets=6_400),
    augmentation=Augmentation(mirror=True, pad=4, color_jitter=0.2, cutout=8),
    head=EncodingHead(beta=1.4, bit_bias=0.5),
    batch_norm=True,
    schedules=_PAPER_AND_SHORT,
)
_PLUS = replace(
    _MINIMAL,
    architecture=towers.plain,
    batch=ImagesPerClass(classes=10, images_per_class=12),
    augmentation=Augmentation(
        mirror=True, pad=4, random_affine=0.15, color_jitter=0.25, cutout=12, off_for=500
    ),
    head=EncodingHead(beta=1),
    loss=TripletLoss(margin=3, classification_weight=1),
    batch_norm=True,
    joint_lengths=(12, 24, 32, 48),
    schedules={"12000": Schedule(linear_decay(0.05, 12_000), epsilon_stepsize=4_000)},
)
# Labels of the 5,000 images, and the rest of the database without its labels.
_SEMI = replace(_PLUS, pseudo_labels=True)
# From ImageNet's weights (dnnh.nets.pretrained). The triplet ranking loss, at its whole weight,
# makes the tower forget much of what it knows (docs/experiments/pretrained.md).
_PRETRAINED = replace(
    _PLUS,
    input=replace(_PLUS.input, **towers.EFFICIENTNET_PIXELS, resize=129),
    architecture=towers.pretrained,
    batch=ImagesPerClass(classes=10, images_per_class=6),
    augmentation=Augmentation(mirror=True, pad=4, trivial_augment=0.5, cutout=12, off_for=100),
    head=replace(_PLUS.head, fully_connected=True),
    loss=replace(_PLUS.loss, weight=0.1, label_smoothing=0.1),
    schedules={"1500": Schedule(linear_decay(0.05, 1_500, snapshot=300), epsilon_stepsize=500)},
)
# What the paper calls CNNH* has a tower "comparable" to its own, so ours has our tower.
_CNNH_STAR = replace(
    _DNNH,
    batch=ImagesWithTargetCodes(images=64),
    head=SigmoidHead(),
    schedules={"3000": Schedule(linear_decay(0.05, 3_000))},  # 38 epochs; ours
)
# The two other deep methods that the BDNN paper compares with. Their towers are small, as the
# authors' are; batch, schedule and what their code has otherwise for large images are ours.
_DSRH = replace(
    _CNNH_STAR,
    architecture=towers.xia_two_layers,
    batch=ImagesPerClass(classes=10, images_per_class=10),
    loss=RankingListLoss(margin=3.75, balance=1),
    schedules={"9000": Schedule(linear_decay(0.05, 9_000))},
)
_DRSCH = replace(
    _DSRH,
    architecture=towers.xia,
    head=SlopeSigmoidHead(slope=1, gamma=1.1, steps=30),
    loss=TripletLoss(margin=6, adjacency=0.1),
)
# Small enough for a demonstration of half a minute.
_DIGITS_MINIMAL = NetConfig(
    input=InputConfig(channels=1, size=8, stored_size=8, pixel_mean=80, pixel_scale=0.01),
    architecture=towers.digits,
    batch=Triplets(64),
    augmentation=Augmentation(mirror=False),
    schedules={
        "500": Schedule(
            Solver(
                0.01,
                500,
                lr_policy="multistep",
                gamma=0.1,
                stepvalue=(400,),
                display=20,
                snapshot=250,
            )
        )
    },
)
# In these 1,000 iterations epsilon decays four times.
_DIGITS = replace(
    _DIGITS_MINIMAL,
    batch=TripletsAmongImages(images=64, triplets=1_600),
    augmentation=Augmentation(mirror=False, pad=1, random_affine=0.2, off_for=100),
    head=EncodingHead(beta=1.4, bit_bias=0.5),
    batch_norm=True,
    schedules={"1000": Schedule(linear_decay(0.1, 1_000, display=20), epsilon_stepsize=200)},
)
# House numbers and digits are not the same when mirrored.
_SVHN = replace(_DNNH, augmentation=replace(_DNNH.augmentation, mirror=False))
_MNIST = replace(
    _SVHN,
    input=replace(_DNNH.input, channels=1, size=28, stored_size=28, pixel_mean=33),
    architecture=towers.mnist,
    augmentation=replace(_SVHN.augmentation, pad=2, color_jitter=0),
)
_NUSWIDE = replace(
    _DNNH,
    input=replace(_DNNH.input, size=224, stored_size=256),
    architecture=towers.table1,
    augmentation=replace(_DNNH.augmentation, pad=0, cutout=0),
    schedules={"paper": Schedule(linear_decay(0.03, 70_000, display=20)), "short": _SHORT},
)


def _with_ablations(config: NetConfig) -> dict[str, NetConfig]:
    """The paper's net of a data set and its ablations: tables 3 and 4."""
    return {
        "dnnh": config,
        "dnnh_fc": replace(config, head=replace(config.head, fully_connected=True)),
        "dnnh_two_towers": replace(config, towers=TWO_TOWERS),
    }


# By data set, then by method.
CONFIGS: dict[str, dict[str, NetConfig]] = {
    "cifar10": {
        **_with_ablations(_DNNH),
        "dnnh_minimal": _MINIMAL,
        "dnnh_lai": replace(_MINIMAL, architecture=towers.lai),
        "dnnh_plus": _PLUS,
        "dnnh_semi": _SEMI,
        "dnnh_pretrained": _PRETRAINED,
        "cnnh": replace(_CNNH_STAR, architecture=towers.xia),
        "cnnh_star": _CNNH_STAR,
        "drsch": _DRSCH,
        "dsrh": _DSRH,
    },
    "digits": {"dnnh": _DIGITS, "dnnh_minimal": _DIGITS_MINIMAL},
    "mnist": _with_ablations(_MNIST),
    "nuswide": _with_ablations(_NUSWIDE),
    "svhn": _with_ablations(_SVHN),
}

# A user's own data set takes the methods below with the configuration of one of these, by the
# side of its images; and dnnh_pretrained where each image has one label.
OWN_DATASETS = {32: "cifar10", 256: "nuswide"}
OWN_METHODS = ("dnnh", "dnnh_fc", "dnnh_two_towers")


def _own_methods(dataset: str) -> dict[str, NetConfig]:
    """The nets of a user's own data set, by their methods."""
    side = datasets.image_side(dataset)  # raises where there is no such data set
    if side not in OWN_DATASETS:
        return {}
    methods = {name: CONFIGS[OWN_DATASETS[side]][name] for name in OWN_METHODS}
    own = datasets.load(dataset)
    if own.labels.ndim == 1:
        methods["dnnh_pretrained"] = _own_pretrained(own, side)
    return methods


def _own_pretrained(own: Dataset[Images], side: int) -> NetConfig:
    """As for CIFAR-10, whose images of 32x32 are enlarged; those of 256x256 become smaller."""
    config, classes = _PRETRAINED, len(own.classes)
    in_batch = min(classes, _BATCH_CLASSES)
    _, training = splits.per_class(own)
    # Of the validation split, too, which trains on fewer.
    images = min(config.batch.images // in_batch, training - training // splits.VALIDATION_SHARE)
    config = replace(config, batch=ImagesPerClass(in_batch, images), classes=classes)
    if side == 256:
        config = replace(
            config,
            input=replace(config.input, size=224, stored_size=side),
            augmentation=replace(config.augmentation, pad=0, cutout=84),
        )
    return config


def net_config(dataset: str, method: str) -> NetConfig:
    """The configuration of a data set's net.

    Raises
    ------
    UserError
        If there is no such data set, or it has no such net.
    """
    methods = CONFIGS.get(dataset)
    if methods is None:
        methods = _own_methods(dataset)
    if method not in methods:
        raise UserError(
            f"data set '{dataset}' has no net of the method '{method}'; its methods: "
            + (", ".join(sorted(methods)) or "none")
        )
    return methods[method]


def holds_out_a_batch(dataset: str, config: NetConfig) -> bool:
    """Whether the validation split holds out as many images as a batch has."""
    if dataset in CONFIGS:
        return True
    own = datasets.load(dataset)
    of_class = splits.per_class(own)[1] // splits.VALIDATION_SHARE
    if isinstance(config.batch, ImagesPerClass):
        return of_class >= config.batch.images_per_class
    return of_class * len(own.classes) >= config.batch.images


def materialized_pad(dataset: str) -> int:
    """How far images of materialized triplets are padded, for the crops of nets that read them."""
    configs = CONFIGS.get(dataset, {}).values()
    pads = [config.augmentation.pad for config in configs if isinstance(config.batch, Triplets)]
    return pads[0] if pads else net_config(dataset, "dnnh").augmentation.pad


def has_two_towers(net: NetInfo) -> bool:
    """Whether a net encodes queries by another sub-network than the database."""
    try:
        return len(net_config(net.dataset, net.method).towers) > 1
    except UserError:  # a net of features, or of another machine
        return False


def schedule_of(config: NetConfig, schedule: str, method: str) -> Schedule:
    """A schedule by its name, or stretched to a number of iterations.

    ``schedule`` is one of ``config.schedules`` or a number as text. A number stretches
    ``config.short_schedule``.

    Raises
    ------
    UserError
        If it is neither, or cannot be stretched.
    """
    if schedule in config.schedules:
        return config.schedules[schedule]
    if not (schedule.isascii() and schedule.isdigit()):
        raise UserError(
            f"unknown schedule '{schedule}' of {method}: give "
            + ", ".join(f"'{name}'" for name in config.schedules)
            + " or a number of iterations"
        )
    return config.schedules[config.short_schedule].stretched(int(schedule), method)

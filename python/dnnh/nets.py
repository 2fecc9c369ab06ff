"""Nets and solvers, as prototxt text.

A net is a tower (images to 50 q features), the divide-and-encode module
(features to q values in [0, 1]) and, in training, the triplet ranking loss. The
three images of a triplet are joined on the batch axis, pass through one tower,
and their codes are sliced apart behind it.

Sources: Lai, Pan, Liu, Yan, CVPR 2015 (here "the paper"), table 1 and section
3.3; Lin, Chen, Yan, "Network in Network", ICLR 2014, for the tower `nin`.
"""

import dataclasses
import textwrap

from dnnh import paths
from dnnh.errors import UserError

BITS = (8, 64)                 # shortest and longest code
FEATURES_PER_BIT = 50          # the paper, section 3.3
DEFAULT_BITS = 48

# Where the triplets of a batch come from: drawn from the labels while training;
# a list of image numbers, followed over and over; or whole triplets in a
# database, for Caffe's own Data layer.
LAYOUTS = ("fresh", "indexed", "dense")


@dataclasses.dataclass(frozen=True)
class NetSpec:
    """One net: everything that its prototxt files are made from.

    ``layout`` is one of LAYOUTS: where the triplets come from in training.
    ``validation`` nets train on four fifths of the training images, so that the rest
    can be ranked to choose things by. Both share the others' deploy files.
    """

    dataset: str
    variant: str               # "" for the paper's
    bits: int
    validation: bool = False
    layout: str = "fresh"

    @property
    def name(self):
        """``<dataset>[_<variant>][_<layout>][_validation][_<bits>bit]``.

        Fresh triplets and 48 bits go unsaid.
        """
        parts = [self.dataset, self.variant,
                 "" if self.layout == "fresh" else self.layout,
                 "validation" if self.validation else "",
                 "" if self.bits == DEFAULT_BITS else f"{self.bits}bit"]
        return "_".join(part for part in parts if part)

    @property
    def files(self):
        """Paths of the prototxt files, by kind."""
        coding = dataclasses.replace(self, validation=False, layout="fresh")
        return {kind: paths.PROTOTXT / f"{spec.name}_{kind}.prototxt"
                for kind, spec in (("train_test", self), ("solver", self),
                                   ("deploy", coding))}

    @property
    def snapshot_prefix(self):
        """Where Caffe puts this net's snapshots, relative to the repository."""
        return f"snapshots/{self.name}"

    @property
    def recipe(self):
        return RECIPES[self.dataset, self.variant]


def database_of(dataset, part, layout="fresh"):
    """What a net reads in training, relative to the repository.

    ``part`` is "train" (all training images), "validation_train" or
    "validation_test".
    """
    kind = "triplets" if layout == "dense" else "images"
    return f"data/{dataset}_{part}_{kind}_lmdb"


# --- layers as text -----------------------------------------------------------

def block(kind, *lines):
    """``kind { lines }``, lines indented; None among the lines is left out."""
    body = "\n".join(line for line in lines if line is not None)
    return f"{kind} {{\n{textwrap.indent(body, '  ')}\n}}"


def layer(name, kind, bottoms, tops, *lines):
    return block(
        "layer",
        f'name: "{name}"', f'type: "{kind}"',
        *(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops),
        *lines)


# The running mean and variance look back over some 50 iterations.
BATCH_NORM = "batch_norm_param { moving_average_fraction: 0.98 }"
WEIGHT_RATES = ("param { lr_mult: 1 decay_mult: 1 }",
                "param { lr_mult: 2 decay_mult: 0 }")


class Tower:
    """Stacks layers, each on the one before.

    ``normalize`` puts a batch normalisation between each convolution and its ReLU
    (Ioffe and Szegedy, ICML 2015).
    """

    def __init__(self, bottom, normalize=False):
        self.top = bottom
        self.layers = []
        self.normalize = normalize

    def _add(self, name, kind, *lines, in_place=False):
        top = self.top if in_place else name
        self.layers.append(layer(name, kind, [self.top], [top], *lines))
        self.top = top

    def convolution(self, name, outputs, kernel, pad=0, stride=1):
        """A convolution and its ReLU, which the paper's table 1 leaves out."""
        self._add(name, "Convolution", *WEIGHT_RATES, block(
            "convolution_param",
            f"num_output: {outputs}", f"kernel_size: {kernel}",
            f"pad: {pad}" if pad else None,
            f"stride: {stride}" if stride > 1 else None,
            'weight_filler { type: "msra" }',
            'bias_filler { type: "constant" }'))
        if self.normalize:
            self._add(f"bn_{name}", "BatchNorm", BATCH_NORM, in_place=True)
            self._add(f"scale_{name}", "Scale", "param { decay_mult: 0 }",
                      "param { decay_mult: 0 }", "scale_param { bias_term: true }",
                      in_place=True)
        self._add(f"relu_{name}", "ReLU", in_place=True)

    def pool(self, name, method, kernel, stride=1):
        self._add(name, "Pooling", block(
            "pooling_param", f"pool: {method}", f"kernel_size: {kernel}",
            f"stride: {stride}"))

    def dropout(self, name, ratio):
        self._add(name, "Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}",
                  in_place=True)


# --- towers ---------------------------------------------------------------------

def tower_nin(tower, features):
    """Network in Network's CIFAR-10 net with 50 q outputs, for 32x32 images."""
    tower.convolution("conv1", 192, 5, pad=2)
    tower.convolution("cccp1", 160, 1)
    tower.convolution("cccp2", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 192, 5, pad=2)
    tower.convolution("cccp3", 192, 1)
    tower.convolution("cccp4", 192, 1)
    tower.pool("pool2", "AVE", 3, 2)                       # 8x8
    tower.dropout("drop2", 0.2)
    tower.convolution("conv3", 192, 3, pad=1)
    tower.convolution("cccp5", 192, 1)
    tower.convolution("cccp6", features, 1)
    tower.pool("features", "AVE", 8)                       # 1x1


def tower_lai(tower, features):
    """The layout a public reimplementation attributes to the authors' code."""
    tower.convolution("conv1", 96, 5, pad=2)
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)                       # 8x8
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "AVE", 3, 2)                       # 4x4
    tower.dropout("drop3", 0.2)
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.convolution("cccp4", features, 1)
    tower.pool("features", "AVE", 4)                       # 1x1


def tower_table1(tower, features):
    """Table 1 of the paper, for 224x224 crops of 256x256 images."""
    tower.convolution("conv1", 96, 11, stride=4)           # 54x54
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 27x27
    # The table's "5x5/2" keeps 27x27: it is read as pad 2, stride 1.
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)                       # 13x13
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "MAX", 3, 2)                       # 6x6
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.convolution("cccp4", features, 1)
    tower.pool("features", "AVE", 6)                       # 1x1


def tower_digits(tower, features):
    """A small net in the manner of `nin`, for 8x8 digits."""
    tower.convolution("conv1", 32, 3, pad=1)
    tower.convolution("cccp1", 32, 1)
    tower.pool("pool1", "MAX", 2, 2)                       # 4x4
    tower.convolution("conv2", 64, 3, pad=1)
    tower.convolution("cccp2", features, 1)
    tower.pool("features", "AVE", 4)                       # 1x1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the paper leaves open, and the sizes, for one data set's nets."""

    tower: object              # one of the functions above
    channels: int
    size: int                  # side of the images that the tower sees
    stored: int                # side of the images in the data set
    pad: int                   # added to those on each side (mirrored)
    triplets: int              # in a batch
    pixel_mean: int            # subtracted from the pixels, ...
    pixel_scale: float         # ... which are then multiplied
    mirror: bool
    solver: str
    normalize: bool = False    # convolutions and bits, over the batch
    beta: float = 0.5          # of the sigmoid, eq. 5, where bits are normalized
    # Above 0: a batch has so many images of each of 10 classes in place of
    # triplets, and the loss is over all triplets that they form.
    images_per_class: int = 0
    margin: float = 1          # of the loss; inside batches for 48 bits, growing with them
    stepsize: int = 20000      # of the piece-wise threshold, in iterations
    jitter: float = 0          # of contrast and colour in training
    erase: int = 0             # side of a square painted over in training

    @property
    def batch(self):
        """Images in a batch."""
        return 10 * self.images_per_class or 3 * self.triplets


PAPER_SOLVER = """\
momentum: 0.9
weight_decay: 0.0005
"""

# Long enough for epsilon to fall three times, at 20,000, 40,000 and 60,000.
SOLVER_CIFAR10 = """\
base_lr: 0.001
lr_policy: "fixed"
max_iter: 70000
display: 100
snapshot: 1000
"""

SOLVER_CIFAR10_BN = """\
base_lr: 0.02
lr_policy: "multistep"
gamma: 0.2
stepvalue: 4000
stepvalue: 6000
max_iter: 6600
display: 20
snapshot: 200
"""

SOLVER_CIFAR10_PLUS = """\
base_lr: 0.05
lr_policy: "poly"
power: 1
max_iter: 6000
display: 20
snapshot: 500
"""

SOLVER_DIGITS = """\
base_lr: 0.01
lr_policy: "multistep"
gamma: 0.1
stepvalue: 400
max_iter: 500
display: 20
snapshot: 250
"""

SOLVER_TABLE1 = """\
base_lr: 0.001
lr_policy: "fixed"
max_iter: 60000
display: 20
snapshot: 2000
"""

_CIFAR10 = Recipe(tower_nin, channels=3, size=32, stored=32, pad=4, triplets=21,
                  pixel_mean=120, pixel_scale=0.015625, mirror=True,
                  solver=SOLVER_CIFAR10)

RECIPES = {
    ("cifar10", ""): _CIFAR10,
    ("cifar10", "bn"): dataclasses.replace(
        _CIFAR10, normalize=True, solver=SOLVER_CIFAR10_BN),
    ("cifar10", "plus"): dataclasses.replace(
        _CIFAR10, normalize=True, beta=1, images_per_class=12, margin=3, stepsize=2000,
        jitter=0.2, erase=8, solver=SOLVER_CIFAR10_PLUS),
    ("cifar10", "lai"): dataclasses.replace(_CIFAR10, tower=tower_lai),
    ("digits", ""): Recipe(tower_digits, channels=1, size=8, stored=8, pad=0,
                           triplets=64, pixel_mean=80, pixel_scale=0.01, mirror=False,
                           solver=SOLVER_DIGITS),
    ("nuswide", ""): Recipe(tower_table1, channels=3, size=224, stored=256, pad=0,
                            triplets=21, pixel_mean=120, pixel_scale=0.015625, mirror=True,
                            solver=SOLVER_TABLE1),
}

# The nets whose files are committed; the rest is made on demand.
COMMITTED = tuple(
    [NetSpec("cifar10", variant, bits)
     for variant in ("", "bn", "plus", "lai") for bits in (12, 24, 32, 48)]
    + [NetSpec("cifar10", variant, bits, validation=True)
       for variant in ("", "bn", "plus") for bits in (12, 48)]
    + [NetSpec("digits", "", bits) for bits in (12, 48)]
    + [NetSpec("nuswide", "", 48)])


def net_spec(dataset, variant="", bits=DEFAULT_BITS, validation=False, layout="fresh"):
    """A checked NetSpec.

    Raises
    ------
    UserError
        If there is no such net, or the length is out of range.
    """
    if (dataset, variant) not in RECIPES:
        raise UserError(f"there is no net '{dataset}{'_' * bool(variant)}{variant}'; "
                        "there are " + ", ".join(sorted(
                            f"{d}{'_' * bool(v)}{v}" for d, v in RECIPES)))
    if not BITS[0] <= bits <= BITS[1]:
        raise UserError(f"{bits} bits: codes have {BITS[0]} to {BITS[1]} bits")
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout '{layout}'; known ones: " + ", ".join(LAYOUTS))
    if layout != "fresh" and RECIPES[dataset, variant].images_per_class:
        raise UserError(f"'{dataset}_{variant}' forms its triplets inside the batch: there "
                        f"is no list of them to follow, and no layout '{layout}'")
    return NetSpec(dataset, variant, bits, validation, layout)


# --- files ----------------------------------------------------------------------

def _pixels(recipe):
    """Bytes to centred, scaled values: inside the net, so that training and
    deployment cannot differ."""
    shift = -recipe.pixel_mean * recipe.pixel_scale
    return layer("pixels", "Power", ["images"], ["pixels"],
                 f"power_param {{ scale: {recipe.pixel_scale} shift: {shift} }}")


def _tower_and_codes(spec, recipe):
    """The layers that train, test and deploy share: pixels to codes."""
    tower = Tower("pixels", recipe.normalize)
    recipe.tower(tower, FEATURES_PER_BIT * spec.bits)
    layers = [
        _pixels(recipe), *tower.layers,
        layer("encode", "DivideAndEncode", ["features"], ["encode"], *WEIGHT_RATES,
              block("divide_and_encode_param",
                    f"num_output: {spec.bits}",
                    "bias_term: true",
                    'weight_filler { type: "xavier" }',
                    'bias_filler { type: "constant" }'))]
    if recipe.normalize:
        # Each bit's values get mean 0 and variance 1 over the batch; scaled by the
        # beta of eq. 5. Once trained, this is a constant factor and bias of a bit.
        layers += [
            layer("normalize", "BatchNorm", ["encode"], ["normalize"],
                  BATCH_NORM),
            layer("beta", "Power", ["normalize"], ["beta"],
                  f"power_param {{ scale: {recipe.beta:g} }}")]
    return layers + [
        layer("sigmoid", "Sigmoid", ["beta" if recipe.normalize else "encode"],
              ["sigmoid"]),
        layer("codes", "PiecewiseThreshold", ["sigmoid"], ["codes"],
              f"piecewise_threshold_param {{ epsilon: 0.5 gamma: 0.8 "
              f"stepsize: {recipe.stepsize} }}"),
    ]


def _triplet_images(spec, recipe, phase, part):
    """The layers that bring `images`: queries, similar and dissimilar ones."""
    transform = [f"mirror: {'true' if recipe.mirror and phase == 'TRAIN' else 'false'}"]
    if recipe.stored + 2 * recipe.pad > recipe.size:
        transform.append(f"crop_size: {recipe.size}")
    include = f"include {{ phase: {phase} }}"
    database = database_of(spec.dataset, part, spec.layout)
    if spec.layout == "dense":
        return [layer("triplets", "Data", [], ["triplets"], include,
                      block("transform_param", *transform),
                      block("data_param", f'source: "{database}"',
                            f"batch_size: {recipe.triplets}", "backend: LMDB"))]
    size = ([f"classes: 10 images_per_class: {recipe.images_per_class}"]
            if recipe.images_per_class else [
                f'triplets: "{database}/triplets.h5"' if spec.layout == "indexed" else None,
                f"batch_size: {recipe.triplets}"])
    only_in_training = [f"pad: {recipe.pad}" if recipe.pad else None,
                        f"jitter: {recipe.jitter}" if recipe.jitter else None,
                        f"erase: {recipe.erase}" if recipe.erase else None]
    return [layer(
        "triplet_images", "TripletData", [],
        ["images", "labels"] if recipe.images_per_class else ["images"], include,
        "param { lr_mult: 0 decay_mult: 0 }",
        block("transform_param", *transform),
        block("triplet_data_param", f'source: "{database}"', *size,
              *(only_in_training if phase == "TRAIN" else []),
              "seed: 1" if spec.layout == "fresh" else None))]


def _joined(recipe):
    """The layers that join a dense triplet's images on the batch axis."""
    channels = recipe.channels
    members = ["query_images", "similar_images", "dissimilar_images"]
    return [
        layer("triplet_planes", "Slice", ["triplets"], members,
              block("slice_param", "axis: 1", f"slice_point: {channels}",
                    f"slice_point: {2 * channels}")),
        layer("images", "Concat", members, ["images"], "concat_param { axis: 0 }")]


def _loss(spec, recipe):
    if recipe.images_per_class:
        margin = recipe.margin * spec.bits / DEFAULT_BITS
        return [layer("loss", "BatchTripletLoss", ["codes", "labels"],
                      ["loss", "active"], block(
                          "batch_triplet_loss_param", f"margin: {margin:g}",
                          "average_active: true"))]
    return [
        layer("triplet_codes", "Slice", ["codes"], ["query", "similar", "dissimilar"],
              "slice_param { axis: 0 }"),
        layer("loss", "TripletRankingLoss", ["query", "similar", "dissimilar"],
              ["loss", "active"],
              f"triplet_ranking_loss_param {{ margin: {recipe.margin:g} }}")]


def train_test(spec):
    """The net that `caffe train` trains."""
    recipe = spec.recipe
    batch = (f"{recipe.images_per_class} images of each class, {recipe.batch} in all"
             if recipe.images_per_class else
             f"{recipe.triplets} triplets, {recipe.batch} images")
    comment = f"""\
# {spec.name}: {spec.bits}-bit codes from {recipe.size}x{recipe.size} images.
# Made by tools/make_prototxt.py; edit python/dnnh/nets.py, not this file.
# A batch has {batch}.
"""
    if not spec.validation:
        comment += """\
# There is no TEST phase: all training images are trained on, and no query may
# be looked at. The validation net has one, on held-out training images.
"""
    part = "validation_train" if spec.validation else "train"
    layers = _triplet_images(spec, recipe, "TRAIN", part)
    if spec.validation:
        layers += _triplet_images(spec, recipe, "TEST", "validation_test")
    if spec.layout == "dense":
        layers += _joined(recipe)
    layers += [
        *_tower_and_codes(spec, recipe),
        *_loss(spec, recipe),
        layer("monitor", "CodeMonitor", ["codes"],
              ["bit_mean_min", "bit_mean_max", "distinct_codes", "clipped"],
              "include { phase: TRAIN }"),
    ]
    return "\n".join([comment + f'name: "{spec.name}"', *layers, ""])


def deploy(spec):
    """The net that codes images."""
    spec = dataclasses.replace(spec, validation=False, layout="fresh")
    recipe = spec.recipe
    comment = f"""\
# {spec.name}: codes {recipe.size}x{recipe.size} images, bytes 0..255{
    ", RGB" if recipe.channels == 3 else ""}.
# Bit i of an image is 1 where `codes` i is above 0.5.
# Made by tools/make_prototxt.py; edit python/dnnh/nets.py, not this file.
"""
    images = layer("images", "Input", [], ["images"],
                   f"input_param {{ shape {{ dim: 100 dim: {recipe.channels}"
                   f" dim: {recipe.size} dim: {recipe.size} }} }}")
    return "\n".join([comment + f'name: "{spec.name}"', images,
                      *_tower_and_codes(spec, recipe), ""])


def solver(spec):
    """How the net is trained."""
    recipe = spec.recipe
    net = spec.files["train_test"].relative_to(paths.ROOT)
    lines = f"""\
# Trains {spec.name}: caffe train -solver {spec.files["solver"].relative_to(paths.ROOT)}
# Made by tools/make_prototxt.py; edit python/dnnh/nets.py, not this file.
# Without solver_mode Caffe runs on the CPU; -gpu 0 takes the GPU.
net: "{net}"
# Momentum and weight decay: the paper, section 4.1. The rest is ours.
""" + PAPER_SOLVER + recipe.solver + f"""\
# The loss in the log is the mean of so many iterations; one is noise.
average_loss: 20
snapshot_prefix: "{spec.snapshot_prefix}"
random_seed: 1
"""
    if spec.validation:
        lines += f"""\
# 50 batches of held-out images at a time.
test_iter: 50
test_interval: 500
"""
    return lines


MAKERS = {"train_test": train_test, "solver": solver, "deploy": deploy}


def files_of(spec):
    """The text of a net's files, by path."""
    return {path: MAKERS[kind](spec) for kind, path in spec.files.items()}

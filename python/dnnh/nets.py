"""Nets and solvers, as prototxt text.

A net is a tower (images to 50 q features), the divide-and-encode module
(features to q values in [0, 1]) and, in training, the triplet ranking loss. The
three images of a triplet are joined on the batch axis, pass through one tower,
and their codes are sliced apart behind it. What departs from that (a fully
connected layer, two towers, several lengths on one, triplets formed by the loss)
does so because a recipe says so.

Source: Lai, Pan, Liu, Yan, CVPR 2015 (here "the paper").
"""

import dataclasses
import functools

from dnnh import paths
from dnnh.errors import UserError
from dnnh.recipes import ONE, RECIPES, TWO, recipe_of
from dnnh.towers import BATCH_NORM, WEIGHT_RATES, Tower, block, layer

BITS = (8, 64)                 # shortest and longest code
FEATURES_PER_BIT = 50          # the paper, section 3.3
DEFAULT_BITS = 48

# Where the triplets of a batch come from: drawn from the labels while training;
# a list of image numbers, followed over and over; or whole triplets in a
# database, for Caffe's own Data layer.
LAYOUTS = ("fresh", "indexed", "dense")
MAX_ITERATIONS = 10_000_000


@dataclasses.dataclass(frozen=True)
class NetSpec:
    """One net: everything that its prototxt files are made from.

    ``layout`` is one of LAYOUTS: where the triplets come from in training.
    ``validation`` nets train on four fifths of the training images, so that the rest
    can be ranked to choose things by. ``seed`` decides weights at the start, triplets
    and what is done to images; ``iterations`` how long is trained, with the recipe's
    schedules stretched. All of these share the others' deploy files.
    """

    dataset: str
    variant: str               # "" for the paper's
    bits: int
    validation: bool = False
    layout: str = "fresh"
    seed: int = 1
    iterations: int = 0        # in place of the recipe's, if above 0

    @property
    def name(self):
        """``<dataset>[_<variant>][_<layout>][_validation][_seed<seed>][_<n>iterations][_<bits>bit]``.

        Fresh triplets, seed 1, the recipe's iterations and 48 bits go unsaid.
        """
        parts = [self.dataset, self.variant,
                 "" if self.layout == "fresh" else self.layout,
                 "validation" if self.validation else "",
                 "" if self.seed == 1 else f"seed{self.seed}",
                 f"{self.iterations}iterations" if self.iterations else "",
                 "" if self.bits == DEFAULT_BITS else f"{self.bits}bit"]
        return "_".join(part for part in parts if part)

    @property
    def files(self):
        """Paths of the prototxt files, by kind."""
        kinds = {"train_test": self.trained, "solver": self.trained,
                 **{f"{subnetwork}deploy": self.coding
                    for subnetwork in self.recipe.subnetworks}}
        return {kind: paths.PROTOTXT / f"{spec.name}_{kind}.prototxt"
                for kind, spec in kinds.items()}

    @property
    def snapshot_prefix(self):
        """Where Caffe puts this net's snapshots, relative to the repository."""
        return f"snapshots/{self.trained.name}"

    @property
    def coding(self):
        """The net that this one's weights code images with."""
        return NetSpec(self.dataset, self.variant, self.bits)

    @property
    def recipe(self):
        recipe = recipe_of(self.dataset, self.variant)
        return recipe.lasting(self.iterations) if self.iterations else recipe

    @property
    def lengths(self):
        """The lengths that are trained together, by the prefix of their layers' names.

        One tower for all of them, with a head for each.
        """
        if self.bits in self.recipe.lengths:
            return {f"{bits}bit_": bits for bits in self.recipe.lengths}
        return {"": self.bits}

    @property
    def trained(self):
        """The net whose training trains this one."""
        return dataclasses.replace(self, bits=max(self.lengths.values()))


def database_of(dataset, part, layout="fresh", coded=None):
    """What a net reads in training, relative to the repository.

    ``part`` is "train" (all training images), "validation_train" or
    "validation_test"; ``coded`` the length of the codes that stand for labels, if they do.
    """
    kind = f"{coded}bit_codes" if coded else "triplets" if layout == "dense" else "images"
    return f"data/{dataset}_{part}_{kind}_lmdb"


# The nets whose files are committed; the rest is made on demand.
COMMITTED = tuple(
    [NetSpec("cifar10", variant, bits)
     for variant in ("", "short", "plus", "lai", "cnnh", "xia") for bits in (12, 24, 32, 48)]
    + [NetSpec("cifar10", variant, bits)
       for variant in ("fc", "two", "bare") for bits in (12, 48)]
    + [NetSpec("cifar10", variant, bits, validation=True)
       for variant in ("", "short") for bits in (12, 48)]
    + [NetSpec("cifar10", "plus", 48, validation=True)]
    + [NetSpec("digits", "", bits) for bits in (12, 48)]
    + [NetSpec(dataset, variant, 48) for dataset in ("mnist", "nuswide", "svhn")
       for variant in ("", "short")])


def net_spec(dataset, variant="", bits=DEFAULT_BITS, validation=False, layout="fresh",
             seed=1, iterations=0):
    """A checked NetSpec.

    Raises
    ------
    UserError
        If there is no such net, or the length, the seed or the number of iterations is
        out of range.
    """
    if not BITS[0] <= bits <= BITS[1]:
        raise UserError(f"{bits} bits: codes have {BITS[0]} to {BITS[1]} bits")
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout '{layout}'; known ones: " + ", ".join(LAYOUTS))
    recipe = recipe_of(dataset, variant)
    if layout != "fresh" and (recipe.images or recipe.images_per_class):
        raise UserError(f"'{dataset}{'_' * bool(variant)}{variant}' forms its triplets of "
                        "the images of a batch: there is no list of them to follow, and no "
                        f"layout '{layout}'")
    # Caffe takes negative seeds for "choose one", and has 32 bits for them.
    if not 0 <= seed < 2**31:
        raise UserError(f"seed {seed}: seeds are 0 to {2**31 - 1}")
    if not 0 <= iterations <= MAX_ITERATIONS:
        raise UserError(f"{iterations} iterations: 1 to {MAX_ITERATIONS:,} can be trained")
    if iterations:
        recipe.lasting(iterations)             # says so where that cannot be
    return NetSpec(dataset, variant, bits, validation, layout, seed, iterations)


# --- files ----------------------------------------------------------------------

def _pixels(recipe, top="pixels"):
    """Bytes to centred, scaled values: inside the net, so that training and
    deployment cannot differ."""
    shift = -recipe.pixel_mean * recipe.pixel_scale
    return layer("pixels", "Power", ["images"], [top],
                 f"power_param {{ scale: {recipe.pixel_scale} shift: {shift} }}")


def _tower_and_codes(spec, subnetwork, lengths):
    """The layers that train, test and deploy share: pixels to codes.

    ``lengths`` has the number of bits by prefix, as spec.lengths. With two
    sub-networks the names of each one's layers and blobs begin with its own.
    """
    recipe = spec.recipe
    tower = Tower(f"{subnetwork}pixels",
                  {head: bits if recipe.two_stage else FEATURES_PER_BIT * bits
                   for head, bits in lengths.items()},
                  recipe.normalize, subnetwork, rectify=not recipe.two_stage)
    recipe.tower(tower)
    layers = tower.layers
    for head, bits in lengths.items():
        layers += _codes(recipe, subnetwork + head, bits, tower.features_of[head])
    return layers


def _codes(recipe, prefix, bits, features):
    """Features to codes."""
    if recipe.two_stage:                       # the features are the bits already
        return [layer(f"{prefix}outputs", "Flatten", [features], [f"{prefix}outputs"]),
                layer(f"{prefix}codes", "Sigmoid", [f"{prefix}outputs"],
                      [f"{prefix}codes"])]
    # By slices (figure 2a) or fully connected (figure 2b).
    kind, param = {"divide": ("DivideAndEncode", "divide_and_encode_param"),
                   "full": ("InnerProduct", "inner_product_param")}[recipe.encode]
    layers = [layer(
        f"{prefix}encode", kind, [features], [f"{prefix}encode"], *WEIGHT_RATES,
        block(param, f"num_output: {bits}", "bias_term: true",
              'weight_filler { type: "xavier" }', 'bias_filler { type: "constant" }'))]
    if recipe.normalize:
        # Each bit's values get mean 0 and variance 1 over the batch, are scaled by the
        # beta of eq. 5 and, in long codes, lowered. Once trained, this is a constant
        # factor and bias of a bit.
        shift = recipe.shift(bits)
        layers += [
            layer(f"{prefix}normalize", "BatchNorm", [f"{prefix}encode"],
                  [f"{prefix}normalize"], BATCH_NORM),
            layer(f"{prefix}beta", "Power", [f"{prefix}normalize"], [f"{prefix}beta"],
                  f"power_param {{ scale: {recipe.beta:g}"
                  + f" shift: {shift:g}" * bool(shift) + " }")]
    return layers + [
        layer(f"{prefix}sigmoid", "Sigmoid",
              [f"{prefix}beta" if recipe.normalize else f"{prefix}encode"],
              [f"{prefix}sigmoid"]),
        layer(f"{prefix}codes", "PiecewiseThreshold", [f"{prefix}sigmoid"],
              [f"{prefix}codes"],
              f"piecewise_threshold_param {{ epsilon: 0.5 gamma: 0.8 "
              f"stepsize: {recipe.stepsize} }}")]


def _triplet_images(spec, recipe, phase, part):
    """The layers that bring `images`: queries, similar and dissimilar ones, or what
    the recipe has in place of them."""
    transform = [f"mirror: {'true' if recipe.mirror and phase == 'TRAIN' else 'false'}"]
    if recipe.stored + 2 * recipe.pad > recipe.size:
        transform.append(f"crop_size: {recipe.size}")
    include = f"include {{ phase: {phase} }}"
    database = database_of(spec.dataset, part, spec.layout,
                           spec.bits if recipe.two_stage else None)
    if spec.layout == "dense":
        return [layer("triplets", "Data", [], ["triplets"], include,
                      block("transform_param", *transform),
                      block("data_param", f'source: "{database}"',
                            f"batch_size: {recipe.triplets}", "backend: LMDB"))]
    size = ([f"classes: 10 images_per_class: {recipe.images_per_class}"]
            if recipe.images_per_class else [
                f'triplets: "{database}/triplets.h5"' if spec.layout == "indexed" else None,
                f"batch_size: {recipe.triplets}" if recipe.triplets else None,
                f"images: {recipe.images}" if recipe.images else None])
    only_in_training = [f"pad: {recipe.pad}" if recipe.pad else None,
                        f"warp: {recipe.warp}" if recipe.warp else None,
                        f"jitter: {recipe.jitter}" if recipe.jitter else None,
                        f"erase: {recipe.erase}" if recipe.erase else None,
                        f"distort_until: {recipe.distort_until}"
                        if recipe.distort_until else None]
    return [layer(
        "triplet_images", "TripletData", [],
        ["images", *(["labels"] if recipe.images_per_class else
                     ["approximate_codes"] if recipe.two_stage else
                     ["places"] if recipe.images else [])], include,
        "param { lr_mult: 0 decay_mult: 0 }",
        block("transform_param", *transform),
        block("triplet_data_param", f'source: "{database}"', *size,
              *(only_in_training if phase == "TRAIN" else []),
              f"seed: {spec.seed}" if spec.layout == "fresh" else None))]


def _joined(recipe):
    """The layers that join a dense triplet's images on the batch axis."""
    channels = recipe.channels
    members = ["query_images", "similar_images", "dissimilar_images"]
    return [
        layer("triplet_planes", "Slice", ["triplets"], members,
              block("slice_param", "axis: 1", f"slice_point: {channels}",
                    f"slice_point: {2 * channels}")),
        layer("images", "Concat", members, ["images"], "concat_param { axis: 0 }")]


def _triplet_loss(recipe):
    """The loss of a batch of triplets, and what brings their codes to it."""
    if recipe.images:
        query = "query"
        apart = [layer(
            "triplet_places", "Slice", ["places"],
            ["query_places", "similar_places", "dissimilar_places"],
            "slice_param { axis: 0 }")]
        for member, subnetwork in zip(
                ("query", "similar", "dissimilar"),
                (recipe.subnetworks[0], *2 * recipe.subnetworks[-1:])):
            apart.append(layer(member, "BatchReindex",
                               [f"{subnetwork}codes", f"{member}_places"], [member]))
    elif recipe.subnetworks == ONE:
        query, apart = "query", [layer(
            "triplet_codes", "Slice", ["codes"], ["query", "similar", "dissimilar"],
            "slice_param { axis: 0 }")]
    else:
        query, apart = "query_codes", [layer(
            "pair_codes", "Slice", ["database_codes"], ["similar", "dissimilar"],
            "slice_param { axis: 0 }")]
    return [
        *apart,
        layer("loss", "TripletRankingLoss", [query, "similar", "dissimilar"],
              ["loss", "active"],
              f"triplet_ranking_loss_param {{ margin: {recipe.margin:g} }}")]


def _batch_loss(recipe, head, bits):
    """The losses of one length, over all triplets of a batch of labelled images."""
    codes, classes = f"{head}codes", f"{head}classes"
    layers = [layer(
        f"{head}loss", "BatchTripletLoss", [codes, "labels"],
        [f"{head}loss", f"{head}active"],
        block("batch_triplet_loss_param",
              f"margin: {recipe.margin * bits / DEFAULT_BITS:g}", "average_active: true"))]
    if recipe.classify:
        layers += [
            layer(classes, "InnerProduct", [codes], [classes], *WEIGHT_RATES,
                  block("inner_product_param", "num_output: 10",
                        'weight_filler { type: "xavier" }')),
            layer(f"{head}class_loss", "SoftmaxWithLoss", [classes, "labels"],
                  [f"{head}class_loss"], f"loss_weight: {recipe.classify:g}")]
    return layers


def _code_loss():
    """The loss of bits that are to be those of codes made beforehand.

    Cross entropy, summed over an image's bits; the papers do not say theirs.
    """
    return [layer("loss", "SigmoidCrossEntropyLoss", ["outputs", "approximate_codes"],
                  ["loss"], "loss_param { normalization: BATCH_SIZE }")]


def _monitor(prefix):
    return layer(f"{prefix}monitor", "CodeMonitor", [f"{prefix}codes"],
                 [f"{prefix}{figure}" for figure in (
                     "bit_mean_min", "bit_mean_max", "distinct_codes", "clipped")],
                 "include { phase: TRAIN }")


def train_test(spec):
    """The net that `caffe train` trains."""
    recipe = spec.recipe
    batch = (f"{recipe.images_per_class} images of each class, {recipe.batch} in all"
             if recipe.images_per_class else
             f"{recipe.images} images, to each of which a code was given beforehand"
             if recipe.two_stage else
             f"{recipe.images} images, and {recipe.triplets} triplets drawn among them"
             if recipe.images else
             f"{recipe.triplets} triplets, {recipe.batch} images")
    lengths = ", ".join(map(str, spec.lengths.values()))
    comment = f"""\
# {spec.name}: codes of {lengths} bits from {recipe.size}x{recipe.size} images.
# Made by tools/make_prototxt.py from python/dnnh/{{recipes,towers,nets}}.py: edit those.
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
    layers.append(_pixels(recipe))
    if recipe.subnetworks == TWO:
        parts = ["query_pixels", "database_pixels"]
        layers.append(
            layer("both_pixels", "Split", ["pixels"], parts) if recipe.images else
            layer("triplet_pixels", "Slice", ["pixels"], parts,
                  f"slice_param {{ axis: 0 slice_point: {recipe.triplets} }}"))
    for subnetwork in recipe.subnetworks:
        layers += _tower_and_codes(spec, subnetwork, spec.lengths)
    if recipe.two_stage:
        layers += _code_loss()
    elif recipe.images_per_class:
        for head, bits in spec.lengths.items():
            layers += _batch_loss(recipe, head, bits)
    else:
        layers += _triplet_loss(recipe)
    layers += [_monitor(subnetwork + head)
               for subnetwork in recipe.subnetworks for head in spec.lengths]
    return "\n".join([comment + f'name: "{spec.name}"', *layers, ""])


def deploy(spec, subnetwork=ONE[0]):
    """The net that codes images: ``images`` to its one output, the codes.

    ``subnetwork`` is one of the recipe's: a net has two for section 4.4. UserError if
    it is not.
    """
    spec = spec.coding
    recipe = spec.recipe
    if subnetwork not in recipe.subnetworks:
        raise UserError(f"the sub-networks of '{spec.name}' are "
                        + " and ".join(f"'{name}'" for name in recipe.subnetworks)
                        + f", not '{subnetwork}'; each codes with a deploy net of its own")
    head, = (head for head, bits in spec.lengths.items() if bits == spec.bits)
    prefix = subnetwork + head
    comment = f"""\
# {spec.name}: codes {recipe.size}x{recipe.size} images, bytes 0..255{
    ", RGB" if recipe.channels == 3 else ""}.
# Bit i of an image is 1 where `{prefix}codes` i is above 0.5.
# Made by tools/make_prototxt.py from python/dnnh/{{recipes,towers,nets}}.py: edit those.
"""
    images = layer("images", "Input", [], ["images"],
                   f"input_param {{ shape {{ dim: 100 dim: {recipe.channels}"
                   f" dim: {recipe.size} dim: {recipe.size} }} }}")
    return "\n".join([comment + f'name: "{spec.name}"', images,
                      _pixels(recipe, f"{subnetwork}pixels"),
                      *_tower_and_codes(spec, subnetwork, {head: spec.bits}), ""])


def solver(spec):
    """How the net is trained."""
    recipe = spec.recipe
    net = spec.files["train_test"].relative_to(paths.ROOT)
    lines = f"""\
# Trains {spec.name}: caffe train -solver {spec.files["solver"].relative_to(paths.ROOT)}
# Made by tools/make_prototxt.py from python/dnnh/{{recipes,towers,nets}}.py: edit those.
# Without solver_mode Caffe runs on the CPU; -gpu 0 takes the GPU.
net: "{net}"
# Momentum and weight decay: the paper, section 4.1. The rest is ours.
momentum: 0.9
weight_decay: 0.0005
{recipe.solver}\
# The loss in the log is the mean of so many iterations; one is noise.
average_loss: 20
snapshot_prefix: "{spec.snapshot_prefix}"
random_seed: {spec.seed}
"""
    if spec.validation:
        lines += f"""\
# 50 batches of held-out images at a time.
test_iter: 50
test_interval: 500
"""
    return lines


MAKERS = {"train_test": train_test, "solver": solver,
          **{f"{subnetwork}deploy": functools.partial(deploy, subnetwork=subnetwork)
             for subnetwork in ONE + TWO}}


def files_of(spec):
    """The text of a net's files, by path."""
    return {path: MAKERS[kind](spec) for kind, path in spec.files.items()}

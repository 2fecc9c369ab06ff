"""How each net is trained: what the paper leaves open, and the sizes.

What the paper states, section 4.1: SGD with momentum 0.9 and weight decay 0.0005,
mini-batches of 64 images, margin 1, and a threshold whose epsilon begins at 0.5
and falls by a fifth every 20,000 iterations.
"""

import dataclasses
import re

from dnnh import datasets, towers
from dnnh.errors import UserError


# One sub-network for all images; or one for queries and one for similar and dissimilar
# images (the paper's P and Q, section 3.2). Their layers' names begin so.
ONE = ("",)
TWO = ("query_", "database_")

# The longest code whose bits are 1 as often as 0. Half of the bits of any two images
# differ then, which in longer codes is so many that a margin of 1 draws similar images
# no nearer to each other.
BALANCED = 32


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the paper leaves open, and the sizes, for one data set's nets."""

    method: str                # its name in results
    tower: object              # a function of dnnh.towers
    channels: int
    size: int                  # side of the images that the tower sees
    stored: int                # side of the images in the data set
    pad: int                   # added to those on each side (mirrored)
    triplets: int              # in a batch
    pixel_mean: int            # subtracted from the pixels, ...
    pixel_scale: float         # ... which are then multiplied
    mirror: bool
    solver: str
    encode: str = "divide"     # or "full": all features to each bit, figure 2b
    subnetworks: tuple = ONE
    lengths: tuple = ()        # that are trained together, on one tower
    two_stage: bool = False    # CNNH*: outputs are bits, learnt from codes made beforehand
    normalize: bool = False    # convolutions and bits, over the batch
    beta: float = 0.5          # of the sigmoid, eq. 5, where bits are normalized
    # Standard deviations by which normalized bits of codes longer than BALANCED are
    # lowered: they are 1 less often than 0.
    offset: float = 0
    # Above 0: a batch has so many images, and its triplets, if any, are drawn among them.
    images: int = 0
    # Above 0: a batch has so many images of each of 10 classes in place of
    # triplets, and the loss is over all triplets that they form.
    images_per_class: int = 0
    margin: float = 1          # of the loss; inside batches for 48 bits, growing with them
    classify: float = 0        # weight of a classification loss beside it, in training
    stepsize: int = 20000      # of the piece-wise threshold, in iterations
    jitter: float = 0          # of contrast and colour in training
    warp: float = 0            # how much images are turned and stretched in training
    erase: int = 0             # side of a square painted over in training
    # Last iterations, in which images are but mirrored: normalization, which looks back
    # over 50, ends with statistics of images as they are.
    settling: int = 0

    @property
    def batch(self):
        """Images in a batch."""
        return self.images or 10 * self.images_per_class or 3 * self.triplets

    @property
    def iterations(self):
        """How long is trained."""
        return int(re.search(r"max_iter: (\d+)", self.solver)[1])

    def shift(self, bits):
        """What is added to normalized bits times beta, in a code of so many."""
        return -self.beta * self.offset if bits > BALANCED else 0

    @property
    def distort_until(self):
        """The iterations before the settling, which takes no more than half; 0 if there
        is none."""
        if not self.settling:
            return 0
        return max(self.iterations - self.settling, self.iterations // 2)

    def lasting(self, iterations):
        """The same with its schedules stretched to so many iterations.

        Raises
        ------
        UserError
            If the rate does not fall in a straight line, which can be stretched.
        """
        if 'lr_policy: "poly"' not in self.solver:
            raise UserError(f"the rate of {self.method} falls by steps of its own and is not "
                            "stretched; edit its solver")
        solver = self.solver.replace(f"max_iter: {self.iterations}", f"max_iter: {iterations}")
        # A short training says something as often as a long one does.
        shown = int(re.search(r"display: (\d+)", solver)[1])
        shown = max(1, min(shown, iterations // 50))
        return dataclasses.replace(
            self, solver=re.sub(r"display: \d+", f"display: {shown}", solver),
            stepsize=max(1, self.stepsize * iterations // self.iterations))


def _falling(rate, iterations, display=100):
    """A solver whose rate falls to 0 in a straight line."""
    return (f'base_lr: {rate}\nlr_policy: "poly"\npower: 1\nmax_iter: {iterations}\n'
            f"display: {display}\nsnapshot: 1000\n")


# Long enough for epsilon to fall three times, at 20,000, 40,000 and 60,000.
SOLVER_CIFAR10 = _falling(0.03, 70000)

# The same in an hour: epsilon falls four times, to 0.2.
SOLVER_SHORT = _falling(0.03, 9000)

SOLVER_BARE = """\
base_lr: 0.001
lr_policy: "fixed"
max_iter: 70000
display: 100
snapshot: 1000
"""

SOLVER_CIFAR10_PLUS = _falling(0.05, 12000)

# 38 epochs; ours.
SOLVER_CNNH = _falling(0.05, 3000)

SOLVER_DIGITS = """\
base_lr: 0.01
lr_policy: "multistep"
gamma: 0.1
stepvalue: 400
max_iter: 500
display: 20
snapshot: 250
"""

# The paper's number of images a step and schedule of epsilon, which falls three times.
SOLVER_TABLE1 = _falling(0.03, 70000, display=20)

_BARE = Recipe("DNNH (bare)", towers.nin, channels=3, size=32, stored=32, pad=4, triplets=21,
               pixel_mean=120, pixel_scale=0.015625, mirror=True, solver=SOLVER_BARE)
# 64 images a batch, as the paper states; how many triplets they form it does not.
_CIFAR10 = dataclasses.replace(
    _BARE, method="DNNH", images=64, triplets=6400, normalize=True, beta=1.4, offset=0.5,
    jitter=0.2, erase=8, solver=SOLVER_CIFAR10)

RECIPES = {
    ("cifar10", "plus"): dataclasses.replace(
        _BARE, method="DNNH (plus)", tower=towers.plain, lengths=(12, 24, 32, 48),
        normalize=True, beta=1, images_per_class=12, margin=3, classify=1, stepsize=4000,
        warp=0.15, jitter=0.25, erase=12, settling=500,
        solver=SOLVER_CIFAR10_PLUS),
    # What the paper calls CNNH*: "comparable" to its own net, so ours to ours.
    ("cifar10", "cnnh"): dataclasses.replace(
        _CIFAR10, method="CNNH*", two_stage=True, triplets=0, solver=SOLVER_CNNH),
    ("cifar10", "xia"): dataclasses.replace(
        _CIFAR10, method="CNNH", two_stage=True, triplets=0, tower=towers.xia,
        solver=SOLVER_CNNH),
    ("cifar10", "bare"): _BARE,
    ("cifar10", "lai"): dataclasses.replace(_BARE, method="DNNH (lai)", tower=towers.lai),
    ("digits", ""): Recipe("DNNH", towers.digits, channels=1, size=8, stored=8, pad=0,
                           triplets=64, pixel_mean=80, pixel_scale=0.01, mirror=False,
                           solver=SOLVER_DIGITS),
}
# House numbers and digits are not the same in a mirror.
_SVHN = dataclasses.replace(_CIFAR10, mirror=False)
_MNIST = dataclasses.replace(_SVHN, tower=towers.mnist, channels=1, size=28, stored=28,
                             pad=2, pixel_mean=33, jitter=0)
_NUSWIDE = dataclasses.replace(_CIFAR10, tower=towers.table1, size=224, stored=256, pad=0,
                               erase=0, solver=SOLVER_TABLE1)
for _dataset, _recipe in (("cifar10", _CIFAR10), ("svhn", _SVHN), ("mnist", _MNIST),
                          ("nuswide", _NUSWIDE)):
    _shorter = dataclasses.replace(_recipe, stepsize=1800, solver=SOLVER_SHORT)
    RECIPES |= {
        (_dataset, ""): _recipe,
        (_dataset, "short"): _shorter,
        (_dataset, "fc"): dataclasses.replace(_shorter, method="DNNH (fc)", encode="full"),
        (_dataset, "two"): dataclasses.replace(_shorter, method="DNNH (two)",
                                               subnetworks=TWO)}

# Data sets of one's own take the recipes of these, by the side of their images.
OWN = {32: "cifar10", 256: "nuswide"}
OWN_VARIANTS = ("", "short", "fc", "two")


def recipe_of(dataset, variant):
    """The Recipe of a data set's net.

    Raises
    ------
    UserError
        If there is no such net.
    """
    if (dataset, variant) in RECIPES:
        return RECIPES[dataset, variant]
    there = sorted(f"{d}{'_' * bool(v)}{v}" for d, v in RECIPES)
    if dataset not in {d for d, _ in RECIPES}:
        side = datasets.side_of(dataset)
        if side in OWN and variant in OWN_VARIANTS:
            return RECIPES[OWN[side], variant]
        there = [f"{dataset}{'_' * bool(v)}{v}" for v in OWN_VARIANTS]
    raise UserError(f"there is no net '{dataset}{'_' * bool(variant)}{variant}'; there are "
                    + ", ".join(there))

"""What a net is made from: input, batch, augmentation, tower, head, loss, schedules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dnnh.errors import UserError
from dnnh.nets.towers import Architecture

MOMENTUM, WEIGHT_DECAY = 0.9, 0.0005  # the paper, section 4.1

# One sub-network for all images, or one for queries and one for positives and negatives (P and Q
# of the paper's section 3.2). The names of a sub-network's layers begin with its prefix.
ONE_TOWER = ("",)
TWO_TOWERS = ("query_", "database_")

# The longest code whose bits are 1 as often as 0. Half of the bits of any two images differ
# then, which in longer codes is so many that a margin of 1 pulls positives no nearer.
LONGEST_BALANCED = 32


@dataclass(frozen=True)
class InputConfig:
    """The images that a net sees. Pixels become (pixel - pixel_mean) * pixel_scale."""

    channels: int
    size: int  # height and width that the net sees
    stored_size: int  # height and width of the data set's images
    pixel_mean: int
    pixel_scale: float
    resize: int | None = None  # height and width of the tower's images, if others


@dataclass(frozen=True)
class Augmentation:
    """Data augmentation in training, as TripletData has it (layers/dnnh.proto)."""

    mirror: bool
    pad: int = 0  # added on each side for random crops, by reflection
    random_affine: float = 0
    color_jitter: float = 0
    trivial_augment: float = 0  # the share of its wide ranges
    cutout: int = 0  # side of the square
    # The last iterations train on images that are only mirrored, so that the running statistics
    # of batch normalization, which look back over 50, match those of images to be encoded.
    off_for: int = 0


@dataclass(frozen=True)
class Triplets:
    """A batch is so many random triplets, three images each."""

    triplets: int

    def __str__(self) -> str:
        return f"{self.triplets} triplets, {self.images} images"

    @property
    def images(self) -> int:
        return 3 * self.triplets


@dataclass(frozen=True)
class TripletsAmongImages:
    """A batch is so many random images, and random triplets drawn among them."""

    images: int
    triplets: int

    def __str__(self) -> str:
        return f"{self.images} images, and {self.triplets} triplets drawn among them"


@dataclass(frozen=True)
class ImagesPerClass:
    """A batch is so many images of each of some classes; the loss is over all triplets in it."""

    classes: int
    images_per_class: int

    def __str__(self) -> str:
        return f"{self.images_per_class} images of each class, {self.images} in all"

    @property
    def images(self) -> int:
        return self.classes * self.images_per_class


@dataclass(frozen=True)
class ImagesWithTargetCodes:
    """A batch is so many random images with codes made beforehand, which are learned (CNNH)."""

    images: int

    def __str__(self) -> str:
        return f"{self.images} images, each with a code made beforehand"


Batch = Triplets | TripletsAmongImages | ImagesPerClass | ImagesWithTargetCodes


@dataclass(frozen=True)
class EncodingHead:
    """50 features a bit to codes: divide-and-encode, a sigmoid and the piece-wise threshold.

    With batch normalization each bit's values get mean 0 and variance 1 over the batch, are
    scaled by ``beta`` (eq. 5) and, in codes longer than LONGEST_BALANCED, lowered by
    ``bit_bias`` standard deviations, which makes codes sparser: bits are 1 less often than 0.
    """

    fully_connected: bool = False  # figure 2b; False: divide-and-encode, figure 2a
    beta: float = 1
    bit_bias: float = 0

    def shift(self, bits: int) -> float:
        """What is added to a normalized bit times beta."""
        return -self.beta * self.bit_bias if bits > LONGEST_BALANCED else 0


@dataclass(frozen=True)
class SigmoidHead:
    """An output of the tower for each bit, and a sigmoid (CNNH, DSRH)."""


@dataclass(frozen=True)
class SlopeSigmoidHead:
    """An output of the tower for each bit, a sigmoid that becomes steeper, and a weight for each
    bit (DRSCH).

    ``slope`` is multiplied by ``gamma`` so many times (``steps``) in a training run.
    """

    slope: float
    gamma: float
    steps: int


Head = EncodingHead | SigmoidHead | SlopeSigmoidHead


@dataclass(frozen=True)
class TripletLoss:
    """The triplet ranking loss, and the weights of what is added to it.

    Over all triplets of a batch, the margin is for 48 bits and grows with the length.
    ``adjacency`` is the weight of the distances of similar images (DRSCH).
    """

    margin: float = 1
    weight: float = 1  # over all triplets of a batch, of the triplet ranking loss itself
    classification_weight: float = 0
    label_smoothing: float = 0  # share of the classification loss that all classes have alike
    adjacency: float = 0


@dataclass(frozen=True)
class RankingListLoss:
    """The loss of DSRH: its margin, for 48 bits, and the weight of its balance term."""

    margin: float
    balance: float


@dataclass(frozen=True)
class Solver:
    """Fields of Caffe's SolverParameter, by their names there; None is not set."""

    base_lr: float
    max_iter: int
    lr_policy: str = "poly"  # with power 1: linear decay to 0
    power: float | None = None
    gamma: float | None = None
    stepvalue: tuple[int, ...] = ()
    display: int = 100
    snapshot: int = 1000


def linear_decay(
    base_lr: float, max_iter: int, *, display: int = 100, snapshot: int = 1000
) -> Solver:
    """A solver whose learning rate decays linearly to 0."""
    return Solver(base_lr, max_iter, power=1, display=display, snapshot=snapshot)


@dataclass(frozen=True)
class Schedule:
    """How long a net is trained, and after how many iterations its epsilon decays."""

    solver: Solver
    epsilon_stepsize: int = 20_000

    def stretched(self, iterations: int, method: str) -> "Schedule":
        """The same schedule over so many iterations.

        Raises
        ------
        UserError
            If the learning rate does not decay linearly: steps are not stretched.
        """
        if self.solver.lr_policy != "poly":
            raise UserError(
                f"the learning rate of {method} decays in steps of its own and is not stretched; "
                "edit max_iter and the steps in its solver prototxt"
            )
        # A short training logs as often as a long one, and keeps as much when it is killed.
        display = max(1, min(self.solver.display, iterations // 50))
        snapshot = max(1, min(self.solver.snapshot, iterations // 5))
        stepsize = max(1, self.epsilon_stepsize * iterations // self.solver.max_iter)
        solver = replace(self.solver, max_iter=iterations, display=display, snapshot=snapshot)
        return Schedule(solver, stepsize)


@dataclass(frozen=True)
class NetConfig:
    """All that one data set's net of one method is made from.

    ``schedules`` are by name, the default first: ``paper`` and ``short``, or the number of
    iterations as text where the method has one schedule.
    """

    input: InputConfig
    architecture: Architecture
    batch: Batch  # what is in a batch, by which the losses go, too
    augmentation: Augmentation
    schedules: Mapping[str, Schedule]
    head: Head = field(default_factory=EncodingHead)
    loss: TripletLoss | RankingListLoss = field(default_factory=TripletLoss)
    batch_norm: bool = False  # behind convolutions and before the sigmoid of the bits
    towers: tuple[str, ...] = ONE_TOWER
    joint_lengths: tuple[int, ...] = ()  # bits of codes that are trained together, on one tower
    classes: int = 10  # of the data set, for the classification loss
    pseudo_labels: bool = False  # trains on unlabelled images, too, by pseudo-labels

    @property
    def default_schedule(self) -> str:
        return next(iter(self.schedules))

    @property
    def short_schedule(self) -> str:
        """``short`` where there is one."""
        return list(self.schedules)[-1]

    @property
    def learns_target_codes(self) -> bool:
        """Whether the net is the second stage of CNNH."""
        return isinstance(self.batch, ImagesWithTargetCodes)

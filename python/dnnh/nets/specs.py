"""One net: its data set, method and length, how it is trained, and where its files lie."""

import pathlib
import re
from dataclasses import dataclass
from functools import cached_property

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import configs, net_config
from dnnh.nets.net_config import NetConfig, Schedule

SHORTEST, LONGEST = 8, 64  # bits of a code
DEFAULT_DATASET, DEFAULT_METHOD, DEFAULT_BITS = "cifar10", "dnnh", 48
DEFAULT_TRAIN_SEED = 1
MAX_ITERATIONS = 10_000_000

# Which images a net is trained and evaluated on: all training images, and the protocol's
# queries; or four fifths of the training images, and the others ranked among themselves.
SPLITS = ("test", "validation")

# Where the triplets of a batch come from: drawn from the labels while training; a list of
# image numbers, followed over and over; or whole triplets in an LMDB, for Caffe's Data layer.
TRIPLET_SAMPLINGS = ("online", "listed", "materialized")


@dataclass(frozen=True)
class NetSpec:
    """One net: everything that its prototxt files are made from. :func:`net_spec` checks it.

    ``train_seed`` decides initial weights, triplets and data augmentation. Nets that differ in
    split, sampling, seed or number of iterations share the deploy prototxt.
    """

    dataset: str
    method: str
    bits: int
    schedule: str  # a name, or a number of iterations
    split: str = "test"
    sampling: str = "online"
    train_seed: int = DEFAULT_TRAIN_SEED

    @cached_property
    def config(self) -> NetConfig:
        return configs.net_config(self.dataset, self.method)

    @property
    def schedule_config(self) -> Schedule:
        return configs.schedule_of(self.config, self.schedule, self.method)

    @cached_property
    def has_held_out_loss(self) -> bool:
        """Whether the loss of the images that the validation split holds out is logged.

        Target codes are made for training images alone.
        """
        return (
            self.split == "validation"
            and not self.config.learns_target_codes
            and configs.holds_out_a_batch(self.dataset, self.config)
        )

    @property
    def lengths(self) -> dict[str, int]:
        """Bits of the codes that are trained together, by the prefix of their layers' names."""
        if self.bits in self.config.joint_lengths:
            return {f"{bits}bit_": bits for bits in self.config.joint_lengths}
        return {"": self.bits}

    @property
    def head_prefix(self) -> str:
        """The prefix of the layers of this length."""
        return next(prefix for prefix, bits in self.lengths.items() if bits == self.bits)

    @property
    def name(self) -> str:
        """``<dataset>_<method>[_<schedule>][_<sampling>][_validation][_seed<n>]_<bits>bit``.

        The default schedule, online triplets and training seed 1 are omitted.
        """
        return f"{self.dataset}_{self._stem}_{self.bits}bit"

    @property
    def training_name(self) -> str:
        """The name of the training that gives this net its weights, and of its snapshots.

        Lengths that are trained together share it, without their number of bits.
        """
        return f"{self.dataset}_{self._training_stem}"

    @property
    def _stem(self) -> str:
        parts = [self.method]
        if self.schedule != self.config.default_schedule:
            is_named = self.schedule in self.config.schedules
            parts.append(self.schedule if is_named else f"{self.schedule}iterations")
        if self.sampling != "online":
            parts.append(self.sampling)
        if self.split == "validation":
            parts.append("validation")
        if self.train_seed != DEFAULT_TRAIN_SEED:
            parts.append(f"seed{self.train_seed}")
        return "_".join(parts)

    @property
    def _training_stem(self) -> str:
        return self._stem if len(self.lengths) > 1 else f"{self._stem}_{self.bits}bit"

    @property
    def snapshot_prefix(self) -> str:
        """Where Caffe writes the snapshots of the training, relative to the repository."""
        return f"snapshots/{self.training_name}"

    @property
    def for_encoding(self) -> "NetSpec":
        """The net whose deploy prototxt this one's weights encode with."""
        return NetSpec(self.dataset, self.method, self.bits, self.schedule)

    @property
    def files(self) -> dict[str, pathlib.Path]:
        """Paths of the prototxt files: ``train_test``, ``solver`` and a ``deploy`` for each tower.

        The default net's lie in prototxt/, the other committed ones in a folder for each data
        set, all others under prototxt/generated/, which git ignores.
        """
        encoding = self.for_encoding
        files = {
            kind: self._folder / f"{self._file_stem(self._training_stem)}_{kind}.prototxt"
            for kind in ("train_test", "solver")
        }
        for tower in self.config.towers:
            stem = encoding._file_stem(f"{encoding._stem}_{encoding.bits}bit")
            files[f"{tower}deploy"] = encoding._folder / f"{stem}_{tower}deploy.prototxt"
        return files

    @property
    def _is_default(self) -> bool:
        return self == DEFAULT

    def _file_stem(self, stem: str) -> str:
        return self.dataset if self._is_default else stem

    @property
    def _folder(self) -> pathlib.Path:
        if self._is_default:
            return paths.PROTOTXT
        if self in COMMITTED:
            return paths.PROTOTXT / self.dataset
        return paths.PROTOTXT / "generated" / self.dataset


DEFAULT = NetSpec(DEFAULT_DATASET, DEFAULT_METHOD, DEFAULT_BITS, "paper")

# The nets whose files are committed: those that README.md and docs/ name.
COMMITTED = frozenset(
    {
        DEFAULT,
        *(NetSpec("cifar10", "dnnh", bits, "short") for bits in (12, 24, 32, 48)),
        *(NetSpec("cifar10", "dnnh_plus", bits, "12000") for bits in (12, 24, 32, 48)),
        NetSpec("cifar10", "dnnh_fc", 48, "short"),
        NetSpec("cifar10", "dnnh_two_towers", 48, "short"),
        NetSpec("cifar10", "dnnh_minimal", 48, "paper"),
        NetSpec("cifar10", "cnnh", 48, "3000"),
        NetSpec("cifar10", "cnnh_star", 48, "3000"),
        NetSpec("cifar10", "drsch", 48, "9000"),
        NetSpec("cifar10", "dsrh", 48, "9000"),
        NetSpec("digits", "dnnh", 48, "1000"),
        NetSpec("nuswide", "dnnh", 48, "short"),
        NetSpec("svhn", "dnnh", 48, "short"),
    }
)


def net_spec(
    dataset: str = DEFAULT_DATASET,
    method: str = DEFAULT_METHOD,
    bits: int = DEFAULT_BITS,
    schedule: str | None = None,
    split: str = "test",
    sampling: str = "online",
    train_seed: int = DEFAULT_TRAIN_SEED,
) -> NetSpec:
    """A checked NetSpec.

    Parameters
    ----------
    dataset, method : str
    bits : int
        Length of the codes, 8 to 64.
    schedule : str, optional
        ``paper``, ``short`` or a number of iterations; by default the method's own.
    split : str
        One of SPLITS.
    sampling : str
        One of TRIPLET_SAMPLINGS.
    train_seed : int
        Of initial weights, triplets and data augmentation.

    Raises
    ------
    UserError
        If there is no such net, or a value is out of range.
    """
    check_bits(bits)
    for value, known, name in (
        (split, SPLITS, "split"),
        (sampling, TRIPLET_SAMPLINGS, "triplet sampling"),
    ):
        if value not in known:
            raise UserError(f"unknown {name} '{value}'; known ones: " + ", ".join(known))
    config = configs.net_config(dataset, method)
    if sampling != "online" and not isinstance(config.batch, net_config.Triplets):
        raise UserError(
            f"'{method}' of {dataset} forms its triplets of the images of a batch: there is no "
            f"list of them to follow, and no sampling '{sampling}'"
        )
    # Caffe takes negative seeds for "choose one", and has 32 bits for them.
    if not 0 <= train_seed < 2**31:
        raise UserError(f"training seed {train_seed}: seeds are 0 to {2**31 - 1}")
    if schedule is None:
        schedule = config.default_schedule
    elif re.fullmatch("-?[0-9]+", schedule):
        if len(schedule) > 12 or not 1 <= int(schedule) <= MAX_ITERATIONS:
            raise UserError(
                f"{schedule:.12} iterations: 1 to {MAX_ITERATIONS:,} iterations can be trained"
            )
        schedule = str(int(schedule))
    configs.schedule_of(config, schedule, method)  # raises where there is none
    return NetSpec(dataset, method, bits, schedule, split, sampling, train_seed)


def check_bits(bits: int) -> None:
    """Raise UserError if no net has codes of this length."""
    if not SHORTEST <= bits <= LONGEST:
        raise UserError(f"{bits} bits: codes have {SHORTEST} to {LONGEST} bits")


def committed() -> list[NetSpec]:
    """COMMITTED, by name."""
    return sorted(COMMITTED, key=lambda spec: spec.name)


def image_database_path(
    dataset: str,
    part: str,
    sampling: str = "online",
    target_bits: int | None = None,
    pseudo_labels: bool = False,
) -> str:
    """The LMDB that a net reads in training, relative to the repository.

    Parameters
    ----------
    dataset : str
    part : str
        ``train`` (all training images), ``validation_train`` or ``validation_test``.
    sampling : str
        One of TRIPLET_SAMPLINGS; materialized triplets have an LMDB of their own.
    target_bits : int, optional
        Length of the codes that stand for labels, where they do (CNNH).
    pseudo_labels : bool
        Whether images with pseudo-labels are among them.
    """
    if target_bits is not None:
        content = f"{target_bits}bit_codes"
    elif pseudo_labels:
        content = "pseudo_labelled_images"
    else:
        content = "triplets" if sampling == "materialized" else "images"
    return f"data/{dataset}_{part}_{content}_lmdb"

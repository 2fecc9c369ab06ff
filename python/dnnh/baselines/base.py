"""What all shallow hashing methods share: fit, then encode."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.evaluation import metrics

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.floating[Any]]  # float64, unless a comment says otherwise


class Hasher(abc.ABC):
    """A method that learns codes of feature vectors.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    seed : int
        Of all that is random.

    Attributes
    ----------
    name : str
        The method in options, results and tables.
    supervised : bool
        Whether it learns from labels.
    learned : tuple of str
        The attributes that fitting sets and encoding needs, beside the mean; empty where a fitted
        method cannot be kept.
    """

    name: ClassVar[str]
    supervised: ClassVar[bool] = False
    learned: ClassVar[tuple[str, ...]] = ()

    def __init__(self, bits: int, seed: int = 0) -> None:
        packed_codes.check_bits(bits)
        if seed < 0:
            raise UserError(f"seed {seed}: seeds are 0 or more")
        self.bits = bits
        self.seed = seed

    def fit(self, features: ArrayLike, labels: ArrayLike | None = None) -> "Self":
        """Learn from features.

        Parameters
        ----------
        features : array of shape (n, d), finite
        labels : int array of shape (n,), or 0/1 array of shape (n, classes); required by
            supervised methods, ignored by the others

        Returns
        -------
        self

        Raises
        ------
        UserError
            If there are too few features, features or labels are not as above, or the method's linear
            algebra fails on them.
        """
        x = self._checked(features)
        if len(x) <= self.bits:
            raise UserError(
                f"{self.name}: {len(x)} samples are too few for {self.bits} bits; "
                f"give at least {self.bits + 1}"
            )
        checked_labels = self._checked_labels(labels, len(x)) if self.supervised else None
        self._mean = x.mean(axis=0)
        x -= self._mean  # in place: they may be large
        if not x.any():
            raise UserError(f"{self.name}: all {len(x)} samples are the same")
        try:
            self._fit(x, checked_labels, np.random.default_rng(self.seed))
        except np.linalg.LinAlgError as error:
            raise UserError(
                f"{self.name} cannot be fitted to these features ({error}); their values go to "
                f"{np.abs(x).max():.3g}: scale them to about 1"
            ) from error
        return self

    def parameters(self) -> dict[str, NDArray]:
        """What a fitted method needs to encode, by name: :meth:`restored` takes it."""
        parameters = {"mean": self._mean}
        for name in self.learned:
            value = getattr(self, name)
            if isinstance(value, Anchors):
                parameters |= {
                    f"{name}_{part}": array for part, array in value.parameters().items()
                }
            else:
                parameters[name] = value
        return parameters

    @classmethod
    def restored(cls, bits: int, parameters: Mapping[str, NDArray]) -> "Self":
        """A fitted method from its :meth:`parameters`.

        Raises
        ------
        UserError
            If they are not those of such a method.
        """
        method = cls(bits)
        try:
            method._mean = parameters["mean"]
            for name in cls.learned:
                if f"{name}_anchors" in parameters:
                    parts = {part: parameters[f"{name}_{part}"] for part in Anchors.PARTS}
                    setattr(method, name, Anchors.restored(parts))
                else:
                    setattr(method, name, parameters[name])
            # Of 1 and of 3 rows: what has as many rows by chance does not pass both.
            with np.errstate(all="ignore"):
                one, three = (method.project(np.ones((n, *method._mean.shape))) for n in (1, 3))
        except (KeyError, IndexError, TypeError, ValueError, UserError) as error:
            raise UserError(f"these are not the parameters of {cls.name} ({error})") from error
        if (one.shape, three.shape) != ((1, bits), (3, bits)) or not np.isfinite(three).all():
            raise UserError(
                f"parameters of {cls.name} give values of shape {three.shape}, or some that are "
                f"not finite, for 3 samples and {bits} bits"
            )
        return method

    def project(self, features: ArrayLike) -> Floats:
        """The values that become bits: float64 array of shape (n, q); bit i is 1 where value i
        is above 0."""
        x = self._checked(features)
        if x.shape[1] != len(self._mean):
            raise UserError(
                f"{self.name} was fitted to {len(self._mean)} features; these are {x.shape[1]}"
            )
        x -= self._mean
        return self._project(x)

    def encode(self, features: NDArray, block: int = 10_000) -> NDArray[np.uint8]:
        """Packed codes, uint8 of shape (n, ceil(q / 8)); ``block`` rows at a time."""
        codes = []
        for start in range(0, max(len(features), 1), block):
            values = self.project(features[start : start + block])
            codes.append(packed_codes.pack(values > 0))
        return np.concatenate(codes)

    @abc.abstractmethod
    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        """Learn from centred samples, float64 of shape (n, d), which may be changed in place.

        ``labels`` are as in :meth:`fit`; None for an unsupervised method.
        """

    @abc.abstractmethod
    def _project(self, x: Floats) -> Floats:
        """:meth:`project` of centred samples, float64 of shape (n, d)."""

    def _checked(self, features: ArrayLike) -> Floats:
        """A checked copy of the features."""
        x = np.array(features, np.float64)
        if x.ndim != 2 or not x.shape[1]:
            raise UserError(
                f"{self.name}: features of shape {x.shape}; a row for each sample is needed"
            )
        if not np.isfinite(x).all():
            raise UserError(f"{self.name}: features have values that are not finite")
        return x

    def _checked_labels(self, labels: ArrayLike | None, count: int) -> NDArray:
        if labels is None:
            raise UserError(f"{self.name} is supervised: it needs labels")
        labels = np.asarray(labels)
        if (
            labels.ndim not in (1, 2)
            or labels.dtype.kind not in "iub"
            or (labels.ndim == 2 and (labels.shape[1] < 2 or not np.isin(labels, (0, 1)).all()))
        ):
            raise UserError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                "whole numbers (n,), or 0 and 1 (n, classes), are needed"
            )
        if len(labels) != count:
            raise UserError(f"{self.name}: {len(labels)} labels for {count} samples")
        kinds = np.unique(labels, axis=0)
        if len(kinds) < 2:
            raise UserError(
                f"{self.name}: all samples have the same labels; there is nothing to learn"
            )
        return labels


def one_hot(labels: NDArray) -> Floats:
    """Labels of either form as 0 and 1, float64 of shape (n, classes)."""
    if labels.ndim == 2:
        return labels.astype(float)
    return (labels[:, np.newaxis] == np.unique(labels)).astype(float)


class Similarities:
    """The matrix S, (n, n): 1 for two samples that share a label, else -1.

    With one label per sample it is 2 Y Y^T - 1 1^T and never stored; with several labels it
    is stored. ``S @ v`` multiplies it with an array of shape (n, ...).
    """

    def __init__(self, labels: NDArray) -> None:
        self._hot = one_hot(labels)
        self._dense: NDArray[np.float32] | None = None
        if (self._hot.sum(axis=1) != 1).any():
            shared = self._hot.astype(np.float32)
            self._dense = np.where(shared @ shared.T > 0, np.float32(1), np.float32(-1))

    def __len__(self) -> int:
        return len(self._hot)

    def __matmul__(self, v: Floats) -> Floats:
        if self._dense is not None:
            return (self._dense @ v.astype(np.float32)).astype(float)
        return 2 * self._hot @ (self._hot.T @ v) - v.sum(axis=0)

    def similar(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether two samples share a label; of arrays of indices, elementwise."""
        return np.asarray((self._hot[one] * self._hot[other]).any(axis=-1))

    def rows(self, indices: NDArray[np.int64] | slice) -> Floats:
        """Some rows, float64 of shape (len(indices), n)."""
        return np.where(self._hot[indices] @ self._hot.T > 0, 1.0, -1.0)


def map_among(values: Floats, labels: NDArray) -> float:
    """MAP of samples ranked among themselves by the signs of values, (n, q)."""
    codes = packed_codes.pack(values > 0)
    return metrics.evaluate(
        codes, codes, labels, labels, values.shape[1], query_rows=np.arange(len(codes))
    ).map


def unit(x: Floats) -> Floats:
    """Rows scaled to length 1; rows of zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def signs(values: NDArray) -> Floats:
    """1 where a value is above 0, else -1."""
    return np.where(values > 0, 1.0, -1.0)


def improve_signs(b: Floats, w: Floats, pull: Floats, sweeps: int = 10) -> None:
    """Discrete cyclic coordinate descent, in place (Shen et al., CVPR 2015, eq. 10).

    Minimizes |b w|^2 - 2 sum(b * pull) over b of 1 and -1: each column's best signs,
    given the others, over and over.

    Parameters
    ----------
    b : float64 array of shape (n, q)
    w : float64 array of shape (q, c)
    pull : float64 array of shape (n, q)
    sweeps : int
        Maximum number of rounds over the columns.
    """
    for _ in range(sweeps):
        before = b.copy()
        for bit in range(b.shape[1]):
            others = b @ (w @ w[bit]) - b[:, bit] * (w[bit] @ w[bit])
            b[:, bit] = signs(pull[:, bit] - others)
        if np.array_equal(before, b):
            break


def principal_directions(x: Floats, count: int) -> Floats:
    """The directions of largest variance of centred samples, (d, count).

    Raises
    ------
    UserError
        If the samples vary along fewer directions.
    """
    directions = all_principal_directions(x)
    if count > directions.shape[1]:
        raise UserError(
            f"{count} principal directions are asked of {x.shape[1]} features "
            f"that vary along {directions.shape[1]}; take shorter codes or more features"
        )
    return directions[:, :count]


def all_principal_directions(x: Floats) -> Floats:
    """The directions along which centred samples vary, (d, rank), the largest variance first."""
    variances, directions = np.linalg.eigh(x.T @ x)
    rank = int((variances > 1e-10 * variances[-1]).sum())
    return directions[:, ::-1][:, :rank]


class Anchors:
    """The kernel exp(-|x - a|^2 / (2 m)) with anchors a, minus its mean over samples.

    m is the mean squared distance of samples to anchors (Liu et al., CVPR 2012, and
    their code).

    Parameters
    ----------
    x : float64 array of shape (n, d)
    count : int
        How many anchors; they are drawn from the samples.
    rng : numpy.random.Generator
    name : str
        Of the method, for messages.
    """

    PARTS = ("anchors", "spread", "mean")

    @classmethod
    def restored(cls, parts: Mapping[str, NDArray]) -> "Self":
        """A kernel from its :meth:`parameters`."""
        kernel = cls.__new__(cls)
        kernel.anchors, kernel.mean = parts["anchors"], parts["mean"]
        kernel.spread = float(parts["spread"])
        if kernel.spread < 1e-100:
            raise ValueError(f"a kernel has the spread {kernel.spread}")
        return kernel

    def parameters(self) -> dict[str, NDArray]:
        return {part: np.asarray(getattr(self, part)) for part in self.PARTS}

    def __init__(self, x: Floats, count: int, rng: np.random.Generator, name: str) -> None:
        if count > len(x):
            raise UserError(
                f"{name}: {count} anchors are to be drawn from {len(x)} samples; give more samples"
            )
        self.anchors = x[np.sort(rng.choice(len(x), count, replace=False))]
        self.spread = 2 * self._distances(x).mean()
        self.mean: Floats | float = 0.0
        self.mean = self(x).mean(axis=0)

    def _distances(self, x: Floats) -> Floats:
        squares = (x**2).sum(1)[:, np.newaxis] + (self.anchors**2).sum(1)
        return np.maximum(squares - 2 * x @ self.anchors.T, 0)

    def __call__(self, x: Floats) -> Floats:
        """The kernels' values, float64 array of shape (n, count)."""
        return np.exp(-self._distances(x) / self.spread) - self.mean

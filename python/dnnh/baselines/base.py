"""What all methods that hash vectors share: fit, then encode."""

import numpy as np

from dnnh import codes, metrics, ranking
from dnnh.errors import UserError


class Hasher:
    """A method that learns codes of vectors.

    A subclass sets ``name`` and ``supervised``, and has ``_fit(x, labels, rng)`` and
    ``_project(x)``, both of centred float64 arrays of shape (n, d).

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    seed : int
        Decides all that is random.
    """

    name = None                # in results and tables
    supervised = False

    def __init__(self, bits, seed=0):
        if not 1 <= bits <= codes.MAX_BITS:
            raise UserError(f"{bits} bits: codes have 1 to {codes.MAX_BITS} bits")
        if seed < 0:
            raise UserError(f"seed {seed}: seeds are 0 or more")
        self.bits = bits
        self.seed = seed

    def fit(self, features, labels=None):
        """Learn from features.

        Parameters
        ----------
        features : array of shape (n, d), finite
        labels : int array of shape (n,), or 0/1 array of shape (n, classes); needed by
            supervised methods, not looked at by the others

        Returns
        -------
        self

        Raises
        ------
        UserError
            If the features, their number or the labels cannot do.
        """
        features = self._checked(features)
        if len(features) <= self.bits:
            raise UserError(f"{self.name}: {len(features)} samples cannot teach "
                            f"{self.bits} bits; at least {self.bits + 1} are needed")
        if self.supervised:
            labels = self._checked_labels(labels, len(features))
        self._mean = features.mean(axis=0)
        features -= self._mean                        # in place: they may be large
        if not features.any():
            raise UserError(f"{self.name}: all {len(features)} samples are the same")
        self._fit(features, labels, np.random.default_rng(self.seed))
        return self

    def project(self, features):
        """What becomes bits: float64 array of shape (n, q); bit i is 1 where it is
        above 0."""
        features = self._checked(features)
        if features.shape[1] != len(self._mean):
            raise UserError(f"{self.name} has learnt from {len(self._mean)} features; "
                            f"these are {features.shape[1]}")
        features -= self._mean
        return self._project(features)

    def encode(self, features, block=10_000):
        """Packed codes, uint8 of shape (n, ceil(q / 8)); ``block`` rows at a time."""
        return np.concatenate([
            ranking.pack(self.project(features[start:start + block]) > 0)
            for start in range(0, max(len(features), 1), block)])

    def _checked(self, features):
        """A copy of the features, if they can do."""
        features = np.array(features, np.float64)
        if features.ndim != 2 or not features.shape[1]:
            raise UserError(f"{self.name}: features of shape {features.shape}; a row for "
                            "each sample is needed")
        if not np.isfinite(features).all():
            raise UserError(f"{self.name}: features have values that are no numbers")
        return features

    def _checked_labels(self, labels, count):
        if labels is None:
            raise UserError(f"{self.name} is supervised: it needs labels")
        labels = np.asarray(labels)
        if labels.ndim not in (1, 2) or labels.dtype.kind not in "iub" or (
                labels.ndim == 2 and (labels.shape[1] < 2 or not np.isin(labels, (0, 1)).all())):
            raise UserError(f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                            "whole numbers (n,), or 0 and 1 (n, classes), are needed")
        if len(labels) != count:
            raise UserError(f"{self.name}: {len(labels)} labels for {count} samples")
        kinds = np.unique(labels, axis=0)
        if len(kinds) < 2:
            raise UserError(f"{self.name}: all samples have the same labels, from which "
                            "nothing can be learnt")
        return labels


def one_hot(labels):
    """0 and 1, float64 of shape (n, classes), of labels of either form."""
    if labels.ndim == 2:
        return labels.astype(float)
    return (labels[:, np.newaxis] == np.unique(labels)).astype(float)


class Similarities:
    """The matrix S of 1 for two samples that share a label, else -1: (n, n).

    With one label a sample it is 2 Y Y^T - 1 1^T, and never written out; with several
    it is. ``S @ v`` multiplies it with an array of shape (n, ...).
    """

    def __init__(self, labels):
        self._hot = one_hot(labels)
        self._dense = None
        if (self._hot.sum(axis=1) != 1).any():
            shared = self._hot.astype(np.float32)
            self._dense = np.where(shared @ shared.T > 0, np.float32(1), np.float32(-1))

    def __len__(self):
        return len(self._hot)

    def __matmul__(self, v):
        if self._dense is not None:
            return (self._dense @ v.astype(np.float32)).astype(float)
        return 2 * self._hot @ (self._hot.T @ v) - v.sum(axis=0)

    def alike(self, one, other):
        """Whether two samples share a label; of arrays of indices, elementwise."""
        return (self._hot[one] * self._hot[other]).any(axis=-1)

    def rows(self, indices):
        """Some rows, float64 of shape (len(indices), n)."""
        return np.where(self._hot[indices] @ self._hot.T > 0, 1.0, -1.0)


def map_among(values, labels):
    """MAP of samples ranked among themselves by the signs of values, (n, q)."""
    found = ranking.pack(values > 0)
    return metrics.evaluate(found, found, labels, labels, values.shape[1],
                            same=list(range(len(found))))["map"]


def unit(x):
    """Rows of length 1; rows of zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def signs(values):
    """1 where a value is above 0, else -1."""
    return np.where(values > 0, 1.0, -1.0)


def improve_signs(b, w, pull, sweeps=10):
    """Discrete cyclic coordinate descent, in place (Shen et al., CVPR 2015, eq. 10).

    Minimizes |b w|^2 - 2 sum(b * pull) over b of 1 and -1: each column's best signs,
    given the others, over and over.

    Parameters
    ----------
    b : float64 array of shape (n, q)
    w : float64 array of shape (q, c)
    pull : float64 array of shape (n, q)
    sweeps : int
        At most so many rounds over the columns.
    """
    for _ in range(sweeps):
        before = b.copy()
        for bit in range(b.shape[1]):
            others = b @ (w @ w[bit]) - b[:, bit] * (w[bit] @ w[bit])
            b[:, bit] = signs(pull[:, bit] - others)
        if np.array_equal(before, b):
            break


def principal_directions(x, count):
    """The directions of largest variance of centred samples, (d, count).

    Raises
    ------
    UserError
        If the samples do not spread along so many directions.
    """
    variances, directions = np.linalg.eigh(x.T @ x)
    there = int((variances > 1e-10 * variances[-1]).sum())
    if count > there:
        raise UserError(f"{count} principal directions are asked of {x.shape[1]} features "
                        f"that vary along {there}; take shorter codes or more features")
    return directions[:, ::-1][:, :count]


class Anchors:
    """The kernel exp(-|x - a|^2 / (2 m)) with anchors a, less its mean over samples.

    m is the mean squared distance of samples to anchors (Liu et al., CVPR 2012, and
    their code).

    Parameters
    ----------
    x : float64 array of shape (n, d)
    count : int
        How many anchors, drawn from the samples.
    name : str
        Of the method, for messages.
    """

    def __init__(self, x, count, rng, name):
        if count > len(x):
            raise UserError(f"{name}: {count} anchors are to be drawn from {len(x)} "
                            "samples; give more samples")
        self.anchors = x[np.sort(rng.choice(len(x), count, replace=False))]
        self.spread = 2 * self._distances(x).mean()
        self.mean = 0
        self.mean = self(x).mean(axis=0)

    def _distances(self, x):
        squares = (x**2).sum(1)[:, np.newaxis] + (self.anchors**2).sum(1)
        return np.maximum(squares - 2 * x @ self.anchors.T, 0)

    def __call__(self, x):
        """float64 array of shape (n, count)."""
        return np.exp(-self._distances(x) / self.spread) - self.mean

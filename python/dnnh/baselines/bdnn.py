"""UH-BDNN and SH-BDNN: a network with one layer constrained to be binary codes.

Do, Doan, Cheung, "Learning to hash with binary deep neural network", ECCV 2016. Two
layers of sigmoids and a linear one give H, n rows of q numbers. The codes B of 1 and -1
and the network are optimized alternately, so that H is close to B and its columns are
uncorrelated and balanced. Without labels, B has to reconstruct the samples; with labels,
H H^T / q has to approximate the similarities. Weights of the terms, layers and numbers of
iterations are those of the authors' published code, unless a comment says otherwise. Their
programs stop when MAP on held-out samples no longer rises; so does SH-BDNN here, which
then learns from all samples for as many rounds. UH-BDNN, which has no labels, stops when
its objective no longer falls.
"""

import abc
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import expit

from dnnh.baselines.base import (
    Floats,
    Hasher,
    Similarities,
    all_principal_directions,
    improve_signs,
    map_among,
    principal_directions,
    signs,
)
from dnnh.baselines.itq import rotate

DECAY = 1e-5  # of the network's weights
BINARY = 5e-2  # |H - B|^2 / n
INDEPENDENT = 1e-2  # |H^T H / n - I|^2
BALANCED = 5e-7  # |sum of H's rows|^2 / n
SIMILAR = 1e-2  # |H H^T / q - S|^2 / n, with labels

MAX_FEATURES = 800  # more are projected to so many principal directions
ROUNDS = 20  # of codes and network, at most ...
PROGRESS = 1e-3  # ... without labels: until the objective falls by less than this share
HELD_OUT = 5  # with labels: one sample in so many is held out to stop early
STEPS = 400  # of L-BFGS in a round, at most
UNLABELLED_STEPS = 30  # the same without labels; ours: it learns from whole databases

# Units of the two hidden layers, for codes of up to so many bits. The last two are
# ours: the authors go to 32.
LAYERS = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50), 48: (140, 70), 64: (160, 90)}

Layers = list[tuple[Floats, Floats]]  # weights (d, units) and biases (units,) of each


class _BDNN(Hasher):
    """What both have in common.

    Attributes
    ----------
    directions : float64 array of shape (d, at most MAX_FEATURES), or None
        That features are projected to, where they are more.
    layers : list of (weights, biases)
    objectives : list of float
        After each round.
    """

    @abc.abstractmethod
    def _scale(self, x: Floats) -> float:
        """What samples are multiplied with."""

    @abc.abstractmethod
    def _learn(
        self, x: Floats, labels: Any, rng: np.random.Generator
    ) -> tuple[Layers, list[float]]:
        """The trained network, and the objective after each round."""

    @abc.abstractmethod
    def _codes(self, x: Floats, b: Floats, h: Floats) -> tuple[Floats, float]:
        """The best codes for the network's outputs h, and the codes' part of the objective.

        ``b`` are the codes before.
        """

    def _fit(self, x: Floats, labels: Any, rng: np.random.Generator) -> None:
        self.directions = None
        if x.shape[1] > MAX_FEATURES:
            self.directions = all_principal_directions(x)[:, :MAX_FEATURES]
            x = x @ self.directions
        self.scale = self._scale(x)
        x *= self.scale
        self.layers, self.objectives = self._learn(x, labels, rng)

    def _rounds(
        self, x: Floats, labels: NDArray | None, rng: np.random.Generator, steps: int
    ) -> Iterator[tuple[Layers, float]]:
        """Optimize codes and network alternately; yields (layers, objective) of each round."""
        similarities = None if labels is None else Similarities(labels)
        projected = x @ principal_directions(x, self.bits)
        b = signs(projected @ rotate(projected, rng))
        layers = _initial(x, self._units())
        for _ in range(ROUNDS):
            layers, value = _train(layers, x, b, similarities, steps)
            h = _forward(layers, x)[-1]
            distance = np.sum((h - b) ** 2)
            b, codes_part = self._codes(x, b, h)
            # The network's part, with the new codes.
            value += BINARY / (2 * len(x)) * (np.sum((h - b) ** 2) - distance)
            yield layers, value + codes_part

    def _units(self) -> tuple[int, int, int]:
        """Units of each layer."""
        for longest, (first, second) in LAYERS.items():
            if self.bits <= longest:
                return first, second, self.bits
        return 2 * self.bits + 20, self.bits + 20, self.bits

    def _project(self, x: Floats) -> Floats:
        x = x if self.directions is None else x @ self.directions
        return _forward(self.layers, x * self.scale)[-1]


class SHBDNN(_BDNN):
    """With labels."""

    name = "sh_bdnn"
    supervised = True

    def _scale(self, x: Floats) -> float:
        # Ours; sigmoids need values around 1: all features together have variance 1.
        return 1 / float(x.std())

    def _learn(
        self, x: Floats, labels: Any, rng: np.random.Generator
    ) -> tuple[Layers, list[float]]:
        count = self._best_rounds(x, labels, rng)
        rounds = list(itertools.islice(self._rounds(x, labels, rng, STEPS), count))
        layers, _ = rounds[-1]
        return layers, [value for _, value in rounds]

    def _best_rounds(self, x: Floats, labels: NDArray, rng: np.random.Generator) -> int:
        """The number of rounds after which MAP on held-out samples no longer rises."""
        held_out, kept = np.split(rng.permutation(len(x)), [len(x) // HELD_OUT])
        few = len(kept) <= self.bits or len(np.unique(labels[kept], axis=0)) < 2
        if few or len(np.unique(labels[held_out], axis=0)) < 2:
            return ROUNDS  # too few to choose with
        best = -1.0  # at least one round
        for done, (layers, _) in enumerate(self._rounds(x[kept], labels[kept], rng, STEPS)):
            score = map_among(_forward(layers, x[held_out])[-1], labels[held_out])
            if score <= best:
                return done
            best = score
        return ROUNDS

    def _codes(self, x: Floats, b: Floats, h: Floats) -> tuple[Floats, float]:
        return signs(h), 0.0


class UHBDNN(_BDNN):
    """Without labels."""

    name = "uh_bdnn"

    def _scale(self, x: Floats) -> float:
        return 1 / (x.max(axis=0) - x.min(axis=0)).max()

    def _learn(
        self, x: Floats, labels: Any, rng: np.random.Generator
    ) -> tuple[Layers, list[float]]:
        trained: Layers = []
        objectives: list[float] = []
        for layers, value in self._rounds(x, None, rng, UNLABELLED_STEPS):
            trained = layers
            objectives.append(value)
            if len(objectives) > 1 and value > (1 - PROGRESS) * objectives[-2]:
                break
        return trained, objectives

    def _codes(self, x: Floats, b: Floats, h: Floats) -> tuple[Floats, float]:
        """Codes that reconstruct the samples, and their error |x - b w - c|^2 / 2n.

        The reconstruction is the ridge regression of the samples, whose mean is 0, on the
        codes before.
        """
        n = len(x)
        mean = b.mean(axis=0)
        w = np.linalg.solve(
            (b - mean).T @ (b - mean) + DECAY * n * np.eye(b.shape[1]), (b - mean).T @ x
        )
        c = -mean @ w
        b = b.copy()
        pull = x @ w.T  # (n, q)
        improve_signs(b, w, BINARY * h + pull - w @ c)
        # |x - b w - c|^2 by products of small matrices; x is large, and sums to 0.
        error = (
            np.vdot(x, x)
            - 2 * np.vdot(b, pull)
            + np.vdot(b.T @ b, w @ w.T)
            + n * c @ c
            + 2 * b.sum(axis=0) @ w @ c
        )
        return b, float(error / (2 * n) + DECAY / 2 * np.sum(w**2))


def _initial(x: Floats, units: tuple[int, ...]) -> Layers:
    """Layers initialized to the principal directions of their inputs."""
    layers, inputs = [], x
    for count in units:
        # Not centred, like the authors'.
        _, directions = np.linalg.eigh(inputs.T @ inputs)
        weights = directions[:, ::-1][:, :count]
        if weights.shape[1] < count:
            weights = np.pad(weights, ((0, 0), (0, count - weights.shape[1])))
        layers.append((weights, np.zeros(count)))
        inputs = expit(inputs @ weights)
    return layers


def _forward(layers: Layers, x: Floats) -> list[Floats]:
    """The outputs of each layer: sigmoid, sigmoid, linear."""
    outputs = []
    for depth, (weights, biases) in enumerate(layers):
        x = x @ weights + biases
        if depth < len(layers) - 1:
            x = expit(x)
        outputs.append(x)
    return outputs


def objective(
    layers: Layers, x: Floats, b: Floats, similarities: Similarities | None = None
) -> tuple[float, Layers]:
    """The network's part of the objective, and its gradient.

    Parameters
    ----------
    layers : list of (weights, biases), of shapes (d, units), (units,)
    x : float64 array of shape (n, d)
    b : float64 array of shape (n, q), 1 and -1
    similarities : Similarities, or None

    Returns
    -------
    (value, gradients as a list like ``layers``)
    """
    outputs = _forward(layers, x)
    h = outputs[-1]
    n, q = h.shape
    gram = h.T @ h
    correlated = gram / n - np.eye(q)
    total = h.sum(axis=0)
    value = (
        DECAY / 2 * sum(np.sum(weights**2) for weights, _ in layers)
        + BINARY / (2 * n) * np.sum((h - b) ** 2)
        + INDEPENDENT / 2 * np.sum(correlated**2)
        + BALANCED / (2 * n) * total @ total
    )
    delta = (BINARY * (h - b) + 2 * INDEPENDENT * h @ correlated + BALANCED * total) / n
    if similarities is not None:
        # |H H^T / q - S|^2 = |H^T H|^2 / q^2 - 2 sum(H * S H) / q + n^2
        pulled = similarities @ h
        value += (
            SIMILAR
            / (2 * n)
            * (np.sum(gram**2) / q**2 - 2 * np.sum(h * pulled) / q + float(n) ** 2)
        )
        delta += 2 * SIMILAR / (n * q) * (h @ gram / q - pulled)
    gradients = []
    for depth in reversed(range(len(layers))):
        below = outputs[depth - 1] if depth else x
        weights = layers[depth][0]
        gradients.append((below.T @ delta + DECAY * weights, delta.sum(axis=0)))
        if depth:
            delta = delta @ weights.T * below * (1 - below)
    return float(value), gradients[::-1]


def _train(
    layers: Layers, x: Floats, b: Floats, similarities: Similarities | None, steps: int
) -> tuple[Layers, float]:
    """Minimize :func:`objective` by L-BFGS; returns the layers and the value."""
    shapes = [array.shape for layer in layers for array in layer]
    ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))

    def unpacked(vector: Floats) -> Layers:
        arrays = [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes)]
        return list(zip(arrays[::2], arrays[1::2]))

    def packed(layers: Layers) -> Floats:
        return np.concatenate([array.ravel() for layer in layers for array in layer])

    def value_and_gradient(vector: Floats) -> tuple[float, Floats]:
        value, gradients = objective(unpacked(vector), x, b, similarities)
        return value, packed(gradients)

    optimum = scipy.optimize.minimize(
        value_and_gradient, packed(layers), jac=True, method="L-BFGS-B", options={"maxiter": steps}
    )
    return unpacked(optimum.x), optimum.fun

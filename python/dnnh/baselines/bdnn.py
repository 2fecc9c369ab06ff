"""UH-BDNN and SH-BDNN: a network one of whose layers is held to be binary codes.

Do, Doan, Cheung, "Learning to hash with binary deep neural network", ECCV 2016. Two
layers of sigmoids and a linear one give H, n rows of q numbers; codes B of 1 and -1 and
the network are found in turn, so that H comes close to B, its columns uncorrelated and
balanced. Without labels, B is to rebuild the samples; with labels, H H^T / q is to be
the similarities. Weights of the terms, layers and numbers of iterations are those of
the authors' published code, unless it says otherwise. Their programs stop where MAP on
samples set aside no longer rises; so does SH-BDNN here, which then learns from all
samples for as many rounds. UH-BDNN, which has no labels, stops where its objective does.
"""

import itertools

import numpy as np
import scipy.optimize
from scipy.special import expit

from dnnh.baselines.base import (Hasher, Similarities, improve_signs, map_among,
                                 principal_directions, signs)
from dnnh.baselines.itq import rotate

DECAY = 1e-5               # of the network's weights
BINARY = 5e-2              # |H - B|^2 / n
INDEPENDENT = 1e-2         # |H^T H / n - I|^2
BALANCED = 5e-7            # |sum of H's rows|^2 / n
SIMILAR = 1e-2             # |H H^T / q - S|^2 / n, with labels

ROUNDS = 20                # of codes and network, at most ...
PROGRESS = 1e-3            # ... without labels: until the objective falls by less than this
HELD_OUT = 5               # with labels: one sample in so many says when to stop
STEPS = 400                # of L-BFGS in a round, at most
UNLABELLED_STEPS = 30      # the same without labels; ours: it learns from whole databases

# Units of the two hidden layers, for codes of up to so many bits. The last two are
# ours: the authors go to 32.
LAYERS = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50), 48: (140, 70),
          64: (160, 90)}


class _BDNN(Hasher):
    """What both have in common.

    Attributes
    ----------
    objectives : list of float
        After each round.
    """

    def _fit(self, x, labels, rng):
        self.scale = self._scale(x)
        x *= self.scale
        self.layers, self.objectives = self._learn(x, labels, rng)

    def _rounds(self, x, labels, rng, steps):
        """Codes and network in turn; yields (layers, objective) after each round."""
        similarities = None if labels is None else Similarities(labels)
        projected = x @ principal_directions(x, self.bits)
        b = signs(projected @ rotate(projected, rng))
        layers = _initial(x, self._units())
        for _ in range(ROUNDS):
            layers, value = _train(layers, x, b, similarities, steps)
            h = _forward(layers, x)[-1]
            far = np.sum((h - b)**2)
            b, rest = self._codes(x, b, h)
            # The network's part with the codes that it now has.
            value += BINARY / (2 * len(x)) * (np.sum((h - b)**2) - far)
            yield layers, value + rest

    def _units(self):
        fitting = [units for most, units in LAYERS.items() if self.bits <= most]
        return (*(fitting or [(2 * self.bits + 20, self.bits + 20)])[0], self.bits)

    def _project(self, x):
        return _forward(self.layers, x * self.scale)[-1]


class SHBDNN(_BDNN):
    """With labels."""

    name = "SH-BDNN"
    supervised = True

    def _scale(self, x):
        # Ours; sigmoids want values around 1: all features together have variance 1.
        return 1 / x.std()

    def _learn(self, x, labels, rng):
        rounds = self._best_rounds(x, labels, rng)
        objectives = []
        for layers, value in itertools.islice(
                self._rounds(x, labels, rng, STEPS), rounds):
            objectives.append(value)
        return layers, objectives

    def _best_rounds(self, x, labels, rng):
        """After how many rounds MAP on held-out samples no longer rises."""
        held_out, kept = np.split(rng.permutation(len(x)), [len(x) // HELD_OUT])
        few = len(kept) <= self.bits or len(np.unique(labels[kept], axis=0)) < 2
        if few or len(np.unique(labels[held_out], axis=0)) < 2:
            return ROUNDS                      # too few to choose by
        best = -1.0                            # at least one round
        for done, (layers, _) in enumerate(self._rounds(x[kept], labels[kept], rng, STEPS)):
            score = map_among(_forward(layers, x[held_out])[-1], labels[held_out])
            if score <= best:
                return done
            best = score
        return ROUNDS

    def _codes(self, x, b, h):
        return signs(h), 0.0


class UHBDNN(_BDNN):
    """Without labels."""

    name = "UH-BDNN"

    def _scale(self, x):
        return 1 / (x.max(axis=0) - x.min(axis=0)).max()

    def _learn(self, x, labels, rng):
        objectives = []
        for layers, value in self._rounds(x, None, rng, UNLABELLED_STEPS):
            objectives.append(value)
            if len(objectives) > 1 and value > (1 - PROGRESS) * objectives[-2]:
                break
        return layers, objectives

    def _codes(self, x, b, h):
        """Codes that rebuild the samples, and what they leave of that,
        |x - b w - c|^2 / 2n.

        The map back is the ridge regression of the samples, whose mean is 0, on the
        codes before.
        """
        n = len(x)
        mean = b.mean(axis=0)
        w = np.linalg.solve((b - mean).T @ (b - mean) + DECAY * n * np.eye(b.shape[1]),
                            (b - mean).T @ x)
        c = -mean @ w
        b = b.copy()
        pull = x @ w.T                                            # (n, q)
        improve_signs(b, w, BINARY * h + pull - w @ c)
        # |x - b w - c|^2 by products of small matrices; x is large, and sums to 0.
        left = (np.vdot(x, x) - 2 * np.vdot(b, pull) + np.vdot(b.T @ b, w @ w.T)
                + n * c @ c + 2 * b.sum(axis=0) @ w @ c)
        return b, float(left / (2 * n) + DECAY / 2 * np.sum(w**2))


def _initial(x, units):
    """Layers that begin as principal directions of what they see: (weights, biases)."""
    layers, seen = [], x
    for count in units:
        # Not centred, as the authors have it.
        _, directions = np.linalg.eigh(seen.T @ seen)
        weights = directions[:, ::-1][:, :count]
        if weights.shape[1] < count:
            weights = np.pad(weights, ((0, 0), (0, count - weights.shape[1])))
        layers.append((weights, np.zeros(count)))
        seen = expit(seen @ weights)
    return layers


def _forward(layers, x):
    """The outputs of each layer: sigmoid, sigmoid, linear."""
    outputs = []
    for depth, (weights, biases) in enumerate(layers):
        x = x @ weights + biases
        if depth < len(layers) - 1:
            x = expit(x)
        outputs.append(x)
    return outputs


def objective(layers, x, b, similarities=None):
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
    uneven = gram / n - np.eye(q)
    total = h.sum(axis=0)
    value = (DECAY / 2 * sum(np.sum(weights**2) for weights, _ in layers)
             + BINARY / (2 * n) * np.sum((h - b)**2)
             + INDEPENDENT / 2 * np.sum(uneven**2) + BALANCED / (2 * n) * total @ total)
    delta = (BINARY * (h - b) + 2 * INDEPENDENT * h @ uneven + BALANCED * total) / n
    if similarities is not None:
        # |H H^T / q - S|^2 = |H^T H|^2 / q^2 - 2 sum(H * S H) / q + n^2
        pulled = similarities @ h
        value += SIMILAR / (2 * n) * (
            np.sum(gram**2) / q**2 - 2 * np.sum(h * pulled) / q + float(n)**2)
        delta += 2 * SIMILAR / (n * q) * (h @ gram / q - pulled)
    gradients = []
    for depth in reversed(range(len(layers))):
        below = outputs[depth - 1] if depth else x
        weights = layers[depth][0]
        gradients.append((below.T @ delta + DECAY * weights, delta.sum(axis=0)))
        if depth:
            delta = delta @ weights.T * below * (1 - below)
    return float(value), gradients[::-1]


def _train(layers, x, b, similarities, steps):
    shapes = [array.shape for layer in layers for array in layer]
    ends = np.cumsum([np.prod(shape) for shape in shapes]).tolist()

    def unpacked(vector):
        arrays = [part.reshape(shape) for part, shape in zip(
            np.split(vector, ends[:-1]), shapes)]
        return list(zip(arrays[::2], arrays[1::2]))

    def packed(layers):
        return np.concatenate([array.ravel() for layer in layers for array in layer])

    def value_and_gradient(vector):
        value, gradients = objective(unpacked(vector), x, b, similarities)
        return value, packed(gradients)

    found = scipy.optimize.minimize(value_and_gradient, packed(layers), jac=True,
                                    method="L-BFGS-B", options={"maxiter": steps})
    return unpacked(found.x), found.fun

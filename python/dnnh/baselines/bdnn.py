"""UH-BDNN and SH-BDNN: a network one of whose layers is held to be binary codes.

Do, Doan, Cheung, "Learning to hash with binary deep neural network", ECCV 2016. Two
layers of sigmoids and a linear one give H, n rows of q numbers; codes B of 1 and -1 and
the network are found in turn, so that H comes close to B, its columns uncorrelated and
balanced. Without labels, B is to rebuild the samples; with labels, H H^T / q is to be
the similarities. Weights of the terms, layers and numbers of iterations are those of
the authors' published code, unless it says otherwise.
"""

import numpy as np
import scipy.optimize
from scipy.special import expit

from dnnh.baselines.base import (Hasher, Similarities, improve_signs, principal_directions,
                                 signs)
from dnnh.baselines.itq import rotate

DECAY = 1e-5               # of the network's weights
BINARY = 5e-2              # |H - B|^2 / n
INDEPENDENT = 1e-2         # |H^T H / n - I|^2
BALANCED = 5e-7            # |sum of H's rows|^2 / n
SIMILAR = 1e-2             # |H H^T / q - S|^2 / n, with labels

ROUNDS = 20                # of codes and network, at most ...
PROGRESS = 1e-3            # ... and until the objective falls by less than this share
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
        # Sigmoids want values around 1: all features together are given variance 1.
        self.scale = 1 / x.std()
        x = x * self.scale
        similarities = Similarities(labels) if self.supervised else None
        projected = x @ principal_directions(x, self.bits)
        b = signs(projected @ rotate(projected, rng))
        layers = _initial(x, self._units())
        self.objectives = []
        for _ in range(ROUNDS):
            layers, value = _train(layers, x, b, similarities,
                                   STEPS if self.supervised else UNLABELLED_STEPS)
            b, rest = self._codes(x, b, _forward(layers, x)[-1])
            self.objectives.append(value + rest)
            if (len(self.objectives) > 1 and self.objectives[-1]
                    > (1 - PROGRESS) * self.objectives[-2]):
                break
        self.layers = layers

    def _units(self):
        fitting = [units for most, units in LAYERS.items() if self.bits <= most]
        return (*(fitting or [(2 * self.bits + 20, self.bits + 20)])[0], self.bits)

    def _project(self, x):
        return _forward(self.layers, x * self.scale)[-1]


class SHBDNN(_BDNN):
    """With labels."""

    name = "SH-BDNN"
    supervised = True

    def _codes(self, x, b, h):
        return signs(h), 0.0


class UHBDNN(_BDNN):
    """Without labels."""

    name = "UH-BDNN"

    def _codes(self, x, b, h):
        """Codes that rebuild the samples, and what they leave of that, |x - b w|^2 / 2n.

        The map back is the ridge regression of the samples on the codes before.
        """
        w = np.linalg.solve(b.T @ b + DECAY * len(x) * np.eye(b.shape[1]), b.T @ x)
        b = b.copy()
        improve_signs(b, w, BINARY * h + x @ w.T)
        return b, float(np.sum((x - b @ w)**2) / (2 * len(x)) + DECAY / 2 * np.sum(w**2))


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

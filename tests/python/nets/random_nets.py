"""Nets that are not trained, but whose layers all matter."""

import numpy as np


def random_weights(net, least_scale=0.5):
    """Weights, statistics of batches and scales that differ in each channel."""
    random = np.random.default_rng(3)
    for name, blobs in net.params.items():
        kind = net.layers[list(net._layer_names).index(name)].type
        for i, blob in enumerate(blobs):
            values = random.normal(0, 0.2, blob.data.shape)
            if kind == "BatchNorm":
                values = np.full(1, 2.5) if i == 2 else np.abs(values) + 2.5 * i
            elif kind == "Scale" and i == 0:
                values = np.linspace(least_scale, 1.5, blob.data.size).reshape(blob.data.shape)
            elif kind == "Convolution" and i == 0:
                values *= 5 / np.sqrt(blob.data[0].size)
            elif kind in ("DivideAndEncode", "InnerProduct") and i == 0:
                values *= 5
            elif kind in ("PiecewiseThreshold", "SlopeSigmoid"):
                values = np.zeros(1)  # training iterations
            blob.data[...] = values

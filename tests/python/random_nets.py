"""Nets that are not trained, but whose layers all matter."""

import caffe
import numpy as np

from dnnh.nets import caffe_encoder


def normalized_net(deploy, images):
    """An untrained net whose bits have the statistics of some images, so that they differ and their
    relaxed outputs are neither 0 nor 1."""
    caffe.set_random_seed(1)
    net = caffe_encoder.build(caffe_encoder.parse(deploy))
    net.blobs["images"].reshape(len(images), *net.blobs["images"].shape[1:])
    net.blobs["images"].data[...] = images.transpose(0, 3, 1, 2)
    net.forward()
    bits = net.blobs["encode"].data
    for blob, values in zip(net.params["normalize"], (bits.mean(axis=0), bits.var(axis=0), 1)):
        blob.data[...] = values
    return net


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

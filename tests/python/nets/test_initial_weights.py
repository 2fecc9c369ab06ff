"""Both sub-networks start with the same weights, and with all that training needs."""

import numpy as np
import pytest

from dnnh.errors import UserError
from dnnh.nets import initial_weights, prototxt, pycaffe, specs

SPEC = specs.net_spec("cifar10", "dnnh_two_towers", 12, "short")


def weights_of(spec):
    """By layer: its blobs."""
    model = pycaffe.messages().NetParameter()
    model.ParseFromString(initial_weights.shared(spec))
    return {
        layer.name: [np.array(blob.data).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
        for layer in model.layer
    }


def test_sub_networks_are_the_same():
    weights = weights_of(SPEC)
    queries = {name: blobs for name, blobs in weights.items() if name.startswith("query_")}
    assert len(weights) == 2 * len(queries) > 20
    for name, blobs in queries.items():
        others = weights[name.replace("query_", "database_")]
        assert all(np.array_equal(a, b) for a, b in zip(blobs, others, strict=True))
    assert np.unique(weights["query_conv1"][0]).size > 10_000


def test_every_layer_of_the_training_net_is_there():
    kinds = {"Convolution", "DivideAndEncode", "BatchNorm", "Scale", "PiecewiseThreshold"}
    wanted = {layer.name for layer in prototxt.train_net(SPEC).layer if layer.type in kinds}
    assert wanted == set(weights_of(SPEC))


def test_the_seed_decides():
    conv1 = [
        weights_of(specs.net_spec("cifar10", "dnnh_two_towers", 12, "short", train_seed=seed))[
            "query_conv1"
        ][0]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(conv1[0], conv1[1]) and not np.array_equal(conv1[0], conv1[2])


def test_a_net_with_one_sub_network():
    with pytest.raises(UserError, match="'dnnh' has one sub-network; name a net with two"):
        initial_weights.shared(specs.net_spec())

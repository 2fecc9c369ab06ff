"""Nets that only encode, with fewer passes over memory: a convolution with what follows it.

In a trained net a batch normalization is a factor and a shift of each channel: it and the Scale
behind it are folded into the weights of the convolution before them. The clipping of a ReLU becomes
part of the convolution's own pass, in a layer of type FusedConvolution. Codes are those of the net
as it was, but for rounding.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dnnh.errors import UserError
from dnnh.nets import pycaffe
from dnnh.nets.towers import Message

# Of a folded weight. Clipping turns a NaN into a number, so that a net whose values overflow would
# give codes like any other.
LARGEST = 1e12

# The blobs of each layer that has any, by its name.
Weights = dict[str, list[NDArray[np.float32]]]


def fuse(
    net: Message, weights: Mapping[str, Sequence[NDArray[np.float32]]]
) -> tuple[Message, Weights]:
    """A deploy net and its weights, fused.

    Convolutions with weights of their own become FusedConvolution layers. They take in the
    BatchNorm, Scale, ReLU and Clip layers that follow them, also those that follow a max pooling.

    Parameters
    ----------
    net : NetParameter
        All of whose layers are in the net that Caffe builds of it.
    weights : dict of str to list of float32 arrays
        The blobs of each layer that has any: of a convolution (K, C / groups, height, width) and,
        with a bias, (K,).

    Returns
    -------
    NetParameter
        With the inputs and outputs of the net; blobs between them may be gone.
    dict of str to list of float32 arrays
        As ``weights``.

    Raises
    ------
    UserError
        If a variance is negative, or a folded weight is not finite or beyond LARGEST.
    """
    fused = pycaffe.messages().NetParameter()
    fused.CopyFrom(net)
    del fused.layer[:]
    left = dict(weights)
    versions = _bottoms_by_layer(net)
    readers = Counter(bottom for bottoms in versions for bottom in bottoms)
    ends: dict[_Version, _Convolution] = {}  # by the version of a blob that is its output
    convolutions = []
    for index, (layer, bottoms) in enumerate(zip(net.layer, versions)):
        blobs = left.get(layer.name, [])
        convolution = ends.get(bottoms[0]) if len(bottoms) == len(layer.top) == 1 else None
        if convolution and readers[bottoms[0]] == 1:
            if convolution.absorbs(layer, blobs):
                left.pop(layer.name, None)
                convolution.last.top[0] = layer.top[0]
                ends[layer.top[0], index] = convolution
                continue
            if _is_max_pooling(layer) and not convolution.is_pooled:
                convolution.last = fused.layer.add()
                convolution.last.CopyFrom(layer)
                ends[layer.top[0], index] = convolution
                continue
        kept = fused.layer.add()
        kept.CopyFrom(layer)
        if _is_convolution(layer):
            convolutions.append(_Convolution(kept, blobs))
            ends[layer.top[0], index] = convolutions[-1]
    return fused, {
        **{name: list(blobs) for name, blobs in left.items()},
        **{convolution.name: convolution.blobs() for convolution in convolutions},
    }


class _Convolution:
    """A convolution of the fused net that takes in the layers behind it."""

    def __init__(self, layer: Message, blobs: Sequence[NDArray[np.float32]]) -> None:
        self.name = layer.name
        self.last = layer  # this layer, or the max pooling that follows it
        self._layer = layer
        self._weights = blobs[0].astype(np.float64)
        self._bias = blobs[1].astype(np.float64) if len(blobs) > 1 else np.zeros(len(blobs[0]))
        if layer.type != "FusedConvolution":  # Caffe's own ignores it
            layer.ClearField("clip_param")
        layer.type = "FusedConvolution"
        del layer.param[:]
        layer.convolution_param.bias_term = True
        for filler in ("weight_filler", "bias_filler"):  # which take time
            layer.convolution_param.ClearField(filler)

    @property
    def is_pooled(self) -> bool:
        return self.last is not self._layer

    def blobs(self) -> list[NDArray[np.float32]]:
        for values in (self._weights, self._bias):
            if not (np.abs(values) <= LARGEST).all():  # False for a NaN, too
                raise UserError(
                    f"the weights of layer '{self.name}', with what follows it, are not numbers up "
                    f"to {LARGEST:.0e}: its training diverged; take an earlier snapshot, and train "
                    "with a lower learning rate"
                )
        return [self._weights.astype(np.float32), self._bias.astype(np.float32)]

    def absorbs(self, layer: Message, blobs: Sequence[NDArray[np.float32]]) -> bool:
        """Whether this convolution now does what the layer behind it did."""
        if self._layer.HasField("clip_param"):
            return False
        match layer.type:
            case "BatchNorm" if has_constant_statistics(layer):
                return self._fold(*factor_and_shift(layer, blobs))
            case "Scale" if layer.scale_param.axis == 1 and blobs[0].ndim == 1:
                return self._fold(blobs[0], blobs[1] if len(blobs) > 1 else 0)
            # Clipped values have their maximum where they had it before.
            case "ReLU" if layer.relu_param.negative_slope == 0:
                return self._clip(0, np.inf)
            case "Clip":
                return self._clip(layer.clip_param.min, layer.clip_param.max)
        return False

    def _fold(self, factor: NDArray, shift: NDArray | float) -> bool:
        # The maximum of values that are negated is elsewhere.
        if self.is_pooled and factor.min() < 0:
            return False
        with np.errstate(over="ignore", invalid="ignore"):  # blobs() checks
            self._weights *= factor[:, None, None, None]
            self._bias = self._bias * factor + shift
        return True

    def _clip(self, least: float, greatest: float) -> bool:
        self._layer.clip_param.min, self._layer.clip_param.max = least, greatest
        return True


# Of a blob: its name, and the number of the layer that wrote it, since layers may write in place.
_Version = tuple[str, int]


def _bottoms_by_layer(net: Message) -> list[list[_Version]]:
    """The versions of blobs that each layer reads."""
    bottoms, writers = [], dict.fromkeys(net.input, -1)
    for index, layer in enumerate(net.layer):
        bottoms.append([(name, writers[name]) for name in layer.bottom])
        writers.update(dict.fromkeys(layer.top, index))
    return bottoms


def _is_convolution(layer: Message) -> bool:
    """Whether it is a convolution of images with weights of its own, by the default engine."""
    param = layer.convolution_param
    return (
        layer.type == "Convolution"
        and len(layer.bottom) == 1
        and param.axis == 1
        and param.engine == param.DEFAULT
        and not any(weights.name for weights in layer.param)
    )


def factor_and_shift(
    layer: Message, blobs: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a trained BatchNorm layer does to each channel, two arrays of shape (K,); the factor is
    not finite where a variance is negative."""
    mean, variance, batches = (blob.astype(np.float64) for blob in blobs)
    scale = 1 / batches[0] if batches[0] else 0
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = 1 / np.sqrt(variance * scale + layer.batch_norm_param.eps)
    return factor, -mean * scale * factor


def has_constant_statistics(layer: Message) -> bool:
    """Whether a BatchNorm layer of a net that encodes does not depend on the batch."""
    param = layer.batch_norm_param
    return param.use_global_stats or not param.HasField("use_global_stats")


def _is_max_pooling(layer: Message) -> bool:
    return layer.type == "Pooling" and layer.pooling_param.pool == layer.pooling_param.MAX

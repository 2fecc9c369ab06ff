"""Weights averaged over snapshots of a training run, with batch-norm statistics of their own.

Averages of weights along a run generalize better than the last ones (Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018). The running
statistics of batch normalization fit neither them nor images without data augmentation, so they
are recomputed from the training images (Ioffe and Szegedy, ICML 2015, algorithm 2).
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, encoder, model_files, prototxt
from dnnh.nets.specs import NetSpec
from dnnh.nets.towers import Message

# Layers that count iterations: they keep the last count.
COUNTING = ("PiecewiseThreshold", "SlopeSigmoid")
BATCH = 250  # images, of which a batch's statistics are taken


def averaged(spec: NetSpec, snapshots: Sequence[pathlib.Path], images: NDArray[np.uint8]) -> bytes:
    """A model file of the mean of the snapshots' weights.

    Parameters
    ----------
    spec : NetSpec
    snapshots : list of path
        Model files of one training run, the last one last; one is enough to recompute its
        batch-norm statistics.
    images : uint8 array of shape (n, height, width, channels)
        All training images.

    Raises
    ------
    UserError
        If there is no snapshot, or one is not a model file of this net.
    """
    if not snapshots:
        raise UserError("there are no snapshots to be averaged; name one or more")
    net = caffe_encoder.build(prototxt.statistics_net(spec))
    models = [model_files.read(path) for path in snapshots]
    for path, model in zip(snapshots, models):
        model_files.load(net, model, path)  # raises where they do not fit
    types = {name: layer.type for name, layer in net.layer_dict.items()}
    mean = _mean(models, snapshots, types)
    model_files.load(net, mean, snapshots[-1])
    normalizing = [name for name in net.params if types[name] == "BatchNorm"]
    if normalizing:
        for name in normalizing:
            for blob in net.params[name]:
                blob.data[...] = 0
        _add_statistics(net, images)
        for layer in mean.layer:
            if layer.name in normalizing:
                for stored, blob in zip(layer.blobs, net.params[layer.name]):
                    stored.data[:] = blob.data.ravel().tolist()
    return mean.SerializeToString()


def _mean(
    models: Sequence[Message], paths: Sequence[pathlib.Path], types: dict[str, str]
) -> Message:
    """The last model with the mean weights of all: of layers of the training alone, too."""
    last = models[-1]
    layers_of = [{layer.name: layer for layer in model.layer} for model in models]
    for layer in last.layer:
        for i, stored in enumerate(layer.blobs):
            try:
                values = [
                    model_files.values_of(layers[layer.name].blobs[i]) for layers in layers_of
                ]
                total = np.sum(values, axis=0)
            except (KeyError, IndexError, ValueError) as error:
                raise UserError(
                    f"{paths[0]} and the others differ in layer '{layer.name}'; name snapshots of "
                    "one training run"
                ) from error
            value = values[-1] if types.get(layer.name) in COUNTING else total / len(models)
            del stored.data[:], stored.double_data[:], stored.diff[:], stored.double_diff[:]
            stored.data.extend(value.tolist())
    return last


def _add_statistics(net: Any, images: NDArray[np.uint8]) -> None:
    blob = net.blobs["images"]
    count = max(1, round(len(images) / BATCH))
    with tqdm(total=len(images), unit=" images", desc="batch-norm statistics") as bar:
        for rows in np.array_split(np.arange(len(images)), count):
            batch = encoder.centre(images[rows], *blob.shape[1:])
            blob.reshape(len(batch), *blob.shape[1:])
            blob.data[...] = batch.transpose(0, 3, 1, 2)
            net.forward()
            bar.update(len(batch))

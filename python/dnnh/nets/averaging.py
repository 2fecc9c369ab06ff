"""Weights averaged over snapshots of a training, with batch-norm statistics of their own.

Averages of weights along a training generalize better than the last ones (Izmailov et al.,
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
from dnnh.nets import encoder, prototxt
from dnnh.nets.specs import NetSpec

# Layers whose weights are averaged. Others keep what the last snapshot has, the number of
# iterations among it.
AVERAGED = ("Convolution", "DivideAndEncode", "InnerProduct", "Scale")
BATCH = 250  # images, of which a batch's statistics are taken


def averaged(spec: NetSpec, snapshots: Sequence[pathlib.Path], images: NDArray[np.uint8]) -> bytes:
    """A model file of the mean of the snapshots' weights.

    Parameters
    ----------
    spec : NetSpec
    snapshots : list of path
        Model files of one training, the last one last; one is enough to recompute its
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
    net = encoder.build(prototxt.as_text(prototxt.statistics_net(spec)))
    sums: dict[str, list[NDArray[np.float64]]] = {}
    models = [encoder.read_weights(path) for path in snapshots]
    for path, model in zip(snapshots, models):
        encoder.load_weights(net, model, path)
        for name, blobs in net.params.items():
            values = [blob.data.astype(np.float64) for blob in blobs]
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0] * len(values)), values)]
    types = {name: layer.type for name, layer in net.layer_dict.items()}
    for name, blobs in net.params.items():
        for blob, total in zip(blobs, sums[name]):
            if types[name] in AVERAGED:
                blob.data[...] = total / len(snapshots)
            elif types[name] == "BatchNorm":
                blob.data[...] = 0
    if "BatchNorm" in types.values():
        _add_statistics(net, images)
    last = models[-1]
    for layer in last.layer:
        for stored, blob in zip(layer.blobs, net.params.get(layer.name, [])):
            del stored.data[:], stored.double_data[:], stored.diff[:]
            stored.data.extend(blob.data.ravel().tolist())
    return last.SerializeToString()


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

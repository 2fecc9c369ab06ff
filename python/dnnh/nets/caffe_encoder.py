"""Encoding by Caffe, through pycaffe; and Caffe's nets in Python."""

import os
import pathlib
import tempfile
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.errors import UserError
from dnnh.nets import fusion, model_files, pycaffe
from dnnh.nets.encoder import BATCH, Encoder
from dnnh.nets.towers import Message


class CaffeEncoder(Encoder):
    """A net that Caffe runs, one batch at a time.

    Parameters
    ----------
    deploy : str
        The text of a deploy prototxt with an input ``images`` and one output, the relaxed
        codes; for example from dnnh.nets.prototxt.deploy_text.
    weights : path of a .caffemodel
    gpu : int, optional
        The GPU to compute on; the CPU by default. A process that is forked cannot use it.
    fuse : bool
        Fuse the net (dnnh.nets.fusion), unless it is on a GPU, or DNNH_FUSE or DNNH_ONEDNN is 0.

    Raises
    ------
    UserError
        If the prototxt is none, the net does not have one output, or the weights are not a
        model file or belong to another net; or if the GPU cannot be used.
    """

    def __init__(
        self,
        deploy: str,
        weights: pathlib.Path | str,
        gpu: int | None = None,
        fuse: bool = True,
    ) -> None:
        self._weights, self._gpu = pathlib.Path(weights), gpu
        pycaffe.use(gpu)
        self._running = threading.Lock()  # a Caffe net has one input and one output
        message = parse(deploy)
        self._net = build(message)
        if "images" not in self._net.blobs or len(self._net.blobs["images"].shape) != 4:
            raise UserError("the deploy prototxt has no input 'images' of four dimensions; mend it")
        model = model_files.read(self._weights)
        model_files.load(self._net, model, self._weights)
        switches = os.environ.get("DNNH_FUSE"), os.environ.get("DNNH_ONEDNN")
        if fuse and gpu is None and "0" not in switches:
            self._net = _fused(message, self._net, self._weights)
        if len(self._net.outputs) != 1:
            raise UserError(
                "a net that encodes images has one output, the codes; this one has "
                + (", ".join(self._net.outputs) or "none")
            )
        self._output = self._net.outputs[0]
        self._unrounded = next(
            (
                layer.bottom[0]
                for layer in message.layer
                if layer.type == "PiecewiseThreshold" and list(layer.top) == [self._output]
            ),
            self._output,
        )
        self.bits = self._net.blobs[self._output].shape[1]
        _, channels, height, width = self._net.blobs["images"].shape
        self.image_shape = channels, height, width
        self.bit_weights = _bit_weights(model, self._weights, self._output, self.bits)

    def _name(self) -> str:
        return str(self._weights)

    def _run(self, images: NDArray[np.uint8], rounded: bool) -> NDArray[np.float32]:
        with self._running:
            pycaffe.use(self._gpu)  # each thread has a mode of its own
            blob = self._net.blobs["images"]
            # On a GPU cuDNN's algorithms are measured for each new size of a batch.
            size = len(images) if self._gpu is None else max(BATCH, len(images))
            if blob.shape[0] != size:
                blob.reshape(size, *self.image_shape)
            blob.data[: len(images)] = images.transpose(0, 3, 1, 2)
            self._net.forward()
            wanted = self._output if rounded else self._unrounded
            return self._net.blobs[wanted].data[: len(images)].copy()


def parse(deploy: str) -> Message:
    """The NetParameter of a prototxt's text; Caffe would end the process where it cannot."""
    from google.protobuf import text_format

    try:
        net = text_format.Parse(deploy, pycaffe.messages().NetParameter())
    except (text_format.ParseError, RecursionError) as error:
        raise UserError(f"the deploy prototxt cannot be parsed ({error}); mend it") from error
    return _with_separate_thresholds(_with_input_layers(net))


def _with_input_layers(net: Message) -> Message:
    """A net whose inputs are fields of its own, as Caffe once had them, with layers for them."""
    if not net.input:
        return net
    shapes = [list(shape.dim) for shape in net.input_shape]
    shapes += [list(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)]
    if len(shapes) != len(net.input):
        raise UserError("the deploy prototxt has inputs without a shape; mend it")
    layers = list(net.layer)
    del net.layer[:]
    for name, dims in zip(net.input, shapes):
        layer = net.layer.add(name=name, type="Input", top=[name])
        layer.input_param.shape.add(dim=dims)
    net.layer.extend(layers)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
    return net


def _with_separate_thresholds(net: Message) -> Message:
    """A net whose thresholds do not work in place, so that the relaxed codes are kept."""
    for i, threshold in enumerate(net.layer):
        if threshold.type == "PiecewiseThreshold" and threshold.bottom == threshold.top:
            name, unrounded = threshold.top[0], f"{threshold.top[0]}_unrounded"
            for layer in net.layer[:i]:
                for blobs in (layer.bottom, layer.top):
                    blobs[:] = [unrounded if blob == name else blob for blob in blobs]
            threshold.bottom[0] = unrounded
    return net


def build(net: Message) -> Any:
    """The net of a NetParameter, in phase TEST."""
    from google.protobuf import text_format

    caffe = pycaffe.load()
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
        file.write(text_format.MessageToString(net))
        file.flush()
        return caffe.Net(file.name, caffe.TEST)


def fuse(message: Message, net: Any, weights: pathlib.Path) -> tuple[Message, fusion.Weights]:
    """The NetParameter and the weights of a net, fused: see dnnh.nets.fusion.

    Parameters
    ----------
    message : NetParameter
    net : the net of it, with weights
    weights : path of their file, for messages

    Raises
    ------
    UserError
        If the weights are those of a training run that diverged.
    """
    present = pycaffe.messages().NetParameter()
    present.CopyFrom(message)
    del present.layer[:]
    names = set(net._layer_names)
    present.layer.extend(
        layer for layer in message.layer if layer.name in names and _is_in_test(layer)
    )
    params = {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
    try:
        return fusion.fuse(present, params)
    except UserError as error:
        raise UserError(f"{weights}: {error}") from error


def _is_in_test(layer: Message) -> bool:
    """Whether the phase TEST has a layer: another one may have its name in the phase TRAIN."""
    test = pycaffe.messages().TEST

    def meets(rule: Message) -> bool:
        return not rule.HasField("phase") or rule.phase == test

    return any(map(meets, layer.include)) if layer.include else not any(map(meets, layer.exclude))


def _fused(message: Message, net: Any, weights: pathlib.Path) -> Any:
    message, params = fuse(message, net, weights)
    fused = build(message)
    for name, blobs in params.items():
        for blob, values in zip(fused.params[name], blobs, strict=True):
            blob.data[...] = values
    return fused


def _bit_weights(
    model: Any, weights: pathlib.Path, codes: str, bits: int
) -> NDArray[np.float32] | None:
    """The squares of the values of the layer that weighs the codes of a blob, if there is one."""
    name = f"{codes.removesuffix('codes')}bit_weights"
    for layer in model.layer:
        if layer.name == name:
            values = np.array(layer.blobs[0].data if layer.blobs else [], np.float32) ** 2
            if values.shape != (bits,) or not np.isfinite(values).all():
                raise UserError(
                    f"{weights} is damaged: its layer '{name}' has {len(values)} weights, or "
                    f"some that are not finite, for {bits} bits; take another snapshot"
                )
            return values
    return None

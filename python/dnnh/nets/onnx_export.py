"""Trained nets as ONNX models, which need no Caffe: images in, codes out.

The net is fused first (dnnh.nets.fusion). Its layers become ONNX's operators; our own become
products and comparisons. Windows of pooling that extend past the image, which Caffe counts in its
own way, are padded explicitly.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import files, packed_codes
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, fusion, model_files, onnx_encoder
from dnnh.nets.onnx_encoder import BITS, CODES, FEATURES, INPUT, LAYOUTS, NHWC, UNROUNDED
from dnnh.nets.towers import Message

OPSET = 18  # the first whose Resize has antialias
IR_VERSION = 9  # which onnxruntime 1.17 and newer read


def export(
    deploy: str,
    weights: pathlib.Path,
    metadata: Mapping[str, object],
    layout: str = LAYOUTS[0],
) -> bytes:
    """A net and its weights as an ONNX model.

    Its input ``images`` is uint8 of shape (n, height, width, channels), or float32 of shape
    (n, channels, height, width) with values from 0 to 255. Its outputs are ``codes``,
    float32 of shape (n, q) in [0, 1], the relaxed codes; ``bits``, uint8 of shape
    (n, ceil(q / 8)), the packed codes (dnnh.packed_codes); and ``unrounded``, the relaxed codes before
    the piece-wise threshold. A net that gives features has one output, ``features``, float32 of
    shape (n, d).

    Parameters
    ----------
    deploy : str
        The text of a deploy prototxt, as CaffeEncoder takes it.
    weights : path of a .caffemodel
    metadata : dict
        Written to the model (dnnh.nets.onnx_encoder), with ``weights_sha256`` and, of codes, the
        number of ``bits``.
    layout : str
        Of the input, one of onnx_encoder.LAYOUTS.

    Raises
    ------
    UserError
        If the prototxt or the weights are not usable, or a layer has no counterpart in ONNX.
    """
    import onnx

    message = caffe_encoder.parse(deploy)
    net = caffe_encoder.build(message)
    model_files.load(net, model_files.read(weights), weights)
    message, params = caffe_encoder.fuse(message, net, weights)
    graph = _Graph(message, params, layout)
    proto, bits = graph.end(message.name or "net")
    model = onnx.helper.make_model(
        proto,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dnnh",
    )
    onnx.helper.set_model_props(
        model,
        {
            **{name: str(value) for name, value in {**metadata, **bits}.items()},
            "weights_sha256": files.sha256(weights),
        },
    )
    model.metadata_props.add(key=onnx_encoder.DIGEST, value=onnx_encoder.digest_of(model))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Graph:
    """Nodes and constants of an ONNX graph that does what a net does."""

    def __init__(
        self, net: Message, params: Mapping[str, Sequence[NDArray[np.float32]]], layout: str
    ) -> None:
        built = caffe_encoder.build(net)
        self.layout = layout
        self._outputs: list[str] = list(built.outputs)
        self._shapes = {name: tuple(blob.shape) for name, blob in built.blobs.items()}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._values: dict[str, str] = {}  # of the blobs: the last value of each, by name
        self.unrounded: dict[str, str] = {}  # by the blob: its value before the threshold
        for layer in net.layer:
            converter = _CONVERTERS.get(layer.type)
            if converter is None:
                raise UserError(
                    f"the layer '{layer.name}' of type {layer.type} has no counterpart in ONNX "
                    "here; the types that have one are " + ", ".join(sorted(_CONVERTERS))
                )
            if len(layer.top) > 1:
                raise UserError(f"the layer '{layer.name}' has several tops; that is not exported")
            converter(self, layer, list(params.get(layer.name, [])))

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operator; the name of its output."""
        import onnx

        output = output or f"value{len(self._nodes)}"
        self._nodes.append(onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Add a constant; its name."""
        import onnx

        name = f"constant{len(self._constants)}"
        array = np.asarray(values, kind, order="C")
        self._constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def value(self, layer: Message, bottom: int = 0) -> str:
        """What a layer reads."""
        return self._values[layer.bottom[bottom]]

    def shape(self, layer: Message) -> tuple[int, ...]:
        """The shape of what a layer reads."""
        return self._shapes[layer.bottom[0]]

    def top_shape(self, layer: Message) -> tuple[int, ...]:
        """The shape of what a layer writes."""
        return self._shapes[layer.top[0]]

    def set(self, layer: Message, value: str) -> None:
        """Record a layer's output."""
        self._values[layer.top[0]] = value

    def affine(self, value: str, factor: Any, shift: Any) -> str:
        """Multiply and add, but for what changes nothing."""
        if np.any(np.asarray(factor) != 1):
            value = self.node("Mul", value, self.constant(factor))
        if np.any(np.asarray(shift) != 0):
            value = self.node("Add", value, self.constant(shift))
        return value

    def flat(self, layer: Message, axis: int = 1, end: int = -1) -> str:
        """What a layer reads, as a matrix (n, d)."""
        if (axis, end) != (1, -1):
            raise UserError(
                f"the layer '{layer.name}' flattens other axes than from 1 on; that is not exported"
            )
        is_flat = len(self.shape(layer)) == 2
        return self.value(layer) if is_flat else self.node("Flatten", self.value(layer), axis=1)

    def end(self, name: str) -> tuple[Any, dict[str, int]]:
        """The graph with its outputs added, and the metadata on them."""
        import onnx

        tensor = onnx.helper.make_tensor_value_info
        if len(self._outputs) != 1:
            raise UserError(
                "a net that encodes images has one output, the codes; this one has "
                + (", ".join(self._outputs) or "none")
            )
        value, shape = self._values[self._outputs[0]], self._shapes[self._outputs[0]]
        if len(shape) != 2:
            raise UserError(f"the net's output has shape {shape}, codes have (n, bits)")
        length, about = shape[1], {}
        if self._outputs[0] == FEATURES:
            self.node("Identity", value, output=FEATURES)
            outputs = [tensor(FEATURES, _FLOAT, ["n", length])]
        else:
            packed_codes.check_bits(length)
            self._pack(self.node("Identity", value, output=CODES), length)
            self.node("Identity", self.unrounded.get(self._outputs[0], value), output=UNROUNDED)
            outputs = [
                tensor(CODES, _FLOAT, ["n", length]),
                tensor(BITS, _UINT8, ["n", packed_codes.code_bytes(length)]),
                tensor(UNROUNDED, _FLOAT, ["n", length]),
            ]
            about = {"bits": length}
        _, channels, height, width = self._shapes[INPUT]
        if self.layout == NHWC:
            images = tensor(INPUT, _UINT8, ["n", height, width, channels])
        else:
            images = tensor(INPUT, _FLOAT, ["n", channels, height, width])
        return onnx.helper.make_graph(self._nodes, name, [images], outputs, self._constants), about

    def _pack(self, codes: str, bits: int) -> None:
        # The least significant bit of a byte comes first.
        weights = np.zeros((bits, packed_codes.code_bytes(bits)), np.float32)
        weights[range(bits), np.arange(bits) // 8] = 2.0 ** (np.arange(bits) % 8)
        above = self.node("Greater", codes, self.constant(0.5))
        ones = self.node("Cast", above, to=_FLOAT)
        sums = self.node("MatMul", ones, self.constant(weights))
        self.node("Cast", sums, to=_UINT8, output=BITS)


# onnx.TensorProto's numbers of the types.
_FLOAT, _UINT8 = 1, 2

_Blobs = list[NDArray[np.float32]]


def _input(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    if list(layer.top) != [INPUT]:
        raise UserError(f"the net's input is '{layer.top[0]}', not '{INPUT}'")
    if graph.layout == NHWC:
        pixels = graph.node("Cast", INPUT, to=_FLOAT)
        graph.set(layer, graph.node("Transpose", pixels, perm=[0, 3, 1, 2]))
    else:
        graph.set(layer, graph.node("Identity", INPUT))


def _power(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.power_param
    value = graph.affine(graph.value(layer), param.scale, param.shift)
    if param.power != 1:
        value = graph.node("Pow", value, graph.constant(param.power))
    graph.set(layer, value)


def _resize(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    size = layer.resize_param.size
    value = graph.node(
        "Resize",
        graph.value(layer),
        "",
        "",
        graph.constant([size, size], np.int64),
        axes=[2, 3],
        mode="cubic",
        cubic_coeff_a=-0.5,
        antialias=1,
        exclude_outside=1,
    )
    graph.set(layer, value)


def _convolution(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.convolution_param

    def pair(name: str, default: int) -> list[int]:
        both = [getattr(param, f"{name}_{axis}", 0) for axis in "hw"]
        if any(both):
            return both
        values = list(getattr(param, name)) or [default]
        return values * 2 if len(values) == 1 else values

    pads = pair("pad", 0)
    value = graph.node(
        "Conv",
        graph.value(layer),
        *(graph.constant(blob) for blob in blobs),
        pads=pads * 2,
        strides=pair("stride", 1),
        dilations=pair("dilation", 1),
        group=param.group,
    )
    if layer.type == "FusedConvolution" and layer.HasField("clip_param"):
        value = _clipped(graph, value, layer.clip_param.min, layer.clip_param.max)
    graph.set(layer, value)


def _clipped(graph: _Graph, value: str, least: float, greatest: float) -> str:
    if (least, greatest) == (0, np.inf):
        return graph.node("Relu", value)
    return graph.node("Clip", value, graph.constant(least), graph.constant(greatest))


def _pooling(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.pooling_param
    sizes = graph.shape(layer)[2:]
    outputs = graph.top_shape(layer)[2:]

    if param.global_pooling:
        kernel, stride, pad = list(sizes), [1, 1], [0, 0]
    else:
        kernel = [param.kernel_h or param.kernel_size, param.kernel_w or param.kernel_size]
        stride = [param.stride_h or param.stride, param.stride_w or param.stride]
        pad = [param.pad_h or param.pad, param.pad_w or param.pad]
    # By how much the last windows extend past the image.
    behind = [
        max(0, (n - 1) * step + length - size - before)
        for n, step, length, size, before in zip(outputs, stride, kernel, sizes, pad)
    ]
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    value = graph.value(layer)
    if param.pool == param.MAX:
        graph.set(layer, graph.node("MaxPool", value, pads=pad + behind, **window))
        return
    if param.pool != param.AVE:
        raise UserError(f"the pooling layer '{layer.name}' is stochastic; ONNX has none")
    if any(pad + behind):
        ends = [0, 0, *pad, 0, 0, *behind]
        value = graph.node("Pad", value, graph.constant(ends, np.int64))
    value = graph.node("AveragePool", value, **window)
    # Caffe divides by the values within the image and its padding.
    rows, columns = (
        np.minimum(np.arange(n) * step + length, size + 2 * before) - np.arange(n) * step
        for n, step, length, size, before in zip(outputs, stride, kernel, sizes, pad)
    )
    factor = kernel[0] * kernel[1] / (rows[:, None] * columns)
    graph.set(layer, graph.affine(value, factor, 0))


def _batch_norm(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    if not fusion.has_constant_statistics(layer):
        raise UserError(f"the layer '{layer.name}' normalizes by each batch; that is not exported")
    factor, shift = (
        _along(graph, layer, 1, values) for values in fusion.factor_and_shift(layer, blobs)
    )
    graph.set(layer, graph.affine(graph.value(layer), factor, shift))


def _along(graph: _Graph, layer: Message, axis: int, values: NDArray) -> NDArray:
    """Values of some axes of what a layer reads, from ``axis`` on, shaped for all of them."""
    axes = len(graph.shape(layer))
    return values.reshape(values.shape + (1,) * (axes - axis % axes - values.ndim))


def _scale(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    if not blobs or len(layer.bottom) > 1:
        raise UserError(f"the layer '{layer.name}' scales by another blob; that is not exported")
    axis = layer.scale_param.axis
    factor, *shift = (_along(graph, layer, axis, blob) for blob in blobs)
    graph.set(layer, graph.affine(graph.value(layer), factor, shift[0] if shift else 0))


def _bias(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    if not blobs or len(layer.bottom) > 1:
        raise UserError(f"the layer '{layer.name}' adds another blob; that is not exported")
    shift = _along(graph, layer, layer.bias_param.axis, blobs[0])
    graph.set(layer, graph.affine(graph.value(layer), 1, shift))


def _lrn(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.lrn_param
    if param.norm_region != param.ACROSS_CHANNELS:
        raise UserError(
            f"the layer '{layer.name}' normalizes within channels; ONNX has no such one"
        )
    value = graph.node(
        "LRN",
        graph.value(layer),
        size=param.local_size,
        alpha=param.alpha,
        beta=param.beta,
        bias=param.k,
    )
    graph.set(layer, value)


def _relu(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    slope = layer.relu_param.negative_slope
    value = graph.value(layer)
    graph.set(
        layer, graph.node("LeakyRelu", value, alpha=slope) if slope else graph.node("Relu", value)
    )


def _clip(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.clip_param
    graph.set(layer, _clipped(graph, graph.value(layer), param.min, param.max))


def _identity(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    graph.set(layer, graph.value(layer))


def _eltwise(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.eltwise_param
    values = [graph.value(layer, i) for i in range(len(layer.bottom))]
    if param.operation == param.SUM and param.coeff:
        values = [graph.affine(value, factor, 0) for value, factor in zip(values, param.coeff)]
    kind = {param.SUM: "Add", param.PROD: "Mul", param.MAX: "Max"}[param.operation]
    total = values[0]
    for value in values[1:]:
        total = graph.node(kind, total, value)
    graph.set(layer, total)


def _concat(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    values = [graph.value(layer, i) for i in range(len(layer.bottom))]
    if layer.concat_param.HasField("concat_dim"):
        raise UserError(f"the layer '{layer.name}' has concat_dim; name the axis instead")
    graph.set(layer, graph.node("Concat", *values, axis=layer.concat_param.axis))


def _flatten(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.flatten_param
    graph.set(layer, graph.flat(layer, param.axis, param.end_axis))


def _inner_product(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    matrix = blobs[0] if not layer.inner_product_param.transpose else blobs[0].T
    constants = [graph.constant(blob) for blob in (matrix, *blobs[1:])]
    flat = graph.flat(layer, layer.inner_product_param.axis)
    graph.set(layer, graph.node("Gemm", flat, *constants, transB=1))


def _divide_and_encode(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    """One product with a matrix that has each bit's weights in the rows of its slice."""
    bits, features = layer.divide_and_encode_param.num_output, blobs[0].size
    # The paper's footnote 4: the first slices have one feature more if they cannot be equal.
    owner = np.concatenate(
        [np.full(len(s), i) for i, s in enumerate(np.array_split(blobs[0], bits))]
    )
    matrix = np.zeros((features, bits), np.float32)
    matrix[np.arange(features), owner] = blobs[0]
    value = graph.node("MatMul", graph.flat(layer), graph.constant(matrix))
    graph.set(layer, graph.affine(value, 1, blobs[1] if len(blobs) > 1 else 0))


def _sigmoid(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    graph.set(layer, graph.node("Sigmoid", graph.value(layer)))


def _steps(param: Message, blobs: _Blobs) -> float:
    """gamma to the number of steps of a schedule at the layer's count of iterations."""
    return param.gamma ** np.floor(blobs[0][0] / param.stepsize)


def _slope_sigmoid(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.slope_sigmoid_param
    value = graph.affine(graph.value(layer), param.slope * _steps(param, blobs), 0)
    graph.set(layer, graph.node("Sigmoid", value))


def _piecewise_threshold(graph: _Graph, layer: Message, blobs: _Blobs) -> None:
    param = layer.piecewise_threshold_param
    epsilon = np.float32(param.epsilon * _steps(param, blobs))
    value = graph.unrounded[layer.top[0]] = graph.value(layer)
    low = graph.node("Less", value, graph.constant(np.float32(0.5) - epsilon))
    high = graph.node("Greater", value, graph.constant(np.float32(0.5) + epsilon))
    raised = graph.node("Where", high, graph.constant(1), value)
    graph.set(layer, graph.node("Where", low, graph.constant(0), raised))


_CONVERTERS: dict[str, Callable[[_Graph, Message, _Blobs], None]] = {
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Clip": _clip,
    "Concat": _concat,
    "Convolution": _convolution,
    "DivideAndEncode": _divide_and_encode,
    "Dropout": _identity,
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "FusedConvolution": _convolution,
    "InnerProduct": _inner_product,
    "Input": _input,
    "LRN": _lrn,
    "PiecewiseThreshold": _piecewise_threshold,
    "Pooling": _pooling,
    "Power": _power,
    "ReLU": _relu,
    "Resize": _resize,
    "Scale": _scale,
    "Sigmoid": _sigmoid,
    "SlopeSigmoid": _slope_sigmoid,
}

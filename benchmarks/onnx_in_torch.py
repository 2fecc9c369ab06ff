"""An ONNX model of this project as a module of PyTorch: the same operators on the same weights."""

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional


class OnnxModule(nn.Module):
    """Runs the nodes of a model one after the other.

    Parameters
    ----------
    path : path of a model that dnnh.nets.onnx_export has written
    """

    def __init__(self, path):
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes = [
            (node.op_type, list(node.input), node.output[0], _attributes(node))
            for node in graph.node
        ]
        self.outputs = [output.name for output in graph.output]
        self.numbers = {}  # constants that operators need as numbers; Clip's, to be compiled
        limits = {name for node in graph.node if node.op_type == "Clip" for name in node.input[1:]}
        for constant in graph.initializer:
            values = onnx.numpy_helper.to_array(constant)
            if values.dtype == np.int64 or constant.name in limits:
                self.numbers[constant.name] = values.tolist()
            else:
                tensor = torch.from_numpy(values.copy())
                if tensor.ndim == 4:
                    tensor = tensor.contiguous(memory_format=torch.channels_last)
                self.register_buffer(constant.name, tensor)

    def forward(self, images):
        """The outputs of a batch, uint8 of shape (n, height, width, channels)."""
        values = {**self.numbers, **dict(self.named_buffers()), "images": images, "": None}
        for kind, inputs, output, options in self.nodes:
            values[output] = _OPERATORS[kind](*(values[name] for name in inputs), **options)
        return [values[name] for name in self.outputs]


def _attributes(node):
    return {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }


def _cast(x, to):
    return x.to({1: torch.float32, 2: torch.uint8}[to])


def _padded(x, pads, value):
    top, left, bottom, right = pads
    return functional.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _convolution(x, weights, bias=None, *, pads, strides, dilations, group):
    assert pads[:2] == pads[2:]
    return functional.conv2d(x, weights, bias, strides, pads[:2], dilations, group)


def _max_pool(x, *, pads, kernel_shape, strides):
    return functional.max_pool2d(_padded(x, pads, -torch.inf), kernel_shape, strides)


def _pad(x, pads):
    return _padded(x, [pads[i] for i in (2, 3, 6, 7)], 0.0)


def _resize(x, region, scales, size, **options):
    # With antialias PyTorch has Pillow's kernel, without it another one.
    return functional.interpolate(x, size=size, mode="bicubic", antialias=True)


_OPERATORS = {
    "Add": torch.add,
    "AveragePool": lambda x, kernel_shape, strides: functional.avg_pool2d(x, kernel_shape, strides),
    "Cast": _cast,
    "Clip": torch.clamp,
    "Concat": lambda *values, axis: torch.cat(values, axis),
    "Conv": _convolution,
    "Flatten": lambda x, axis: x.flatten(axis),
    "Gemm": lambda x, weights, bias, transB: functional.linear(x, weights, bias),
    "Greater": torch.gt,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "MatMul": torch.matmul,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "Pad": _pad,
    "Relu": torch.relu,
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Transpose": lambda x, perm: x.permute(perm),
    "Where": torch.where,
}

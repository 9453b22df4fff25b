"""A graph of planes as a module of PyTorch, for converters that start from PyTorch.

It is made from the ONNX file, so that bundled models, which come without a checkpoint, can be converted too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn

from edge_segface.errors import ModelError
from edge_segface.export.targets.channels_first import INPUT, OUTPUT, ChannelsFirst

Operation = Callable[..., Tensor]
Attributes = dict[str, Any]


class TorchGraph(nn.Module):
    """Float RGB (1 3 s s) in 0..255 -> logits (1 n g g), by the nodes of the graph one after another."""

    def __init__(self, planes: ChannelsFirst) -> None:
        super().__init__()
        graph = planes.model.graph
        self.tensors = {tensor.name: f"tensor_{index}" for index, tensor in enumerate(graph.initializer)}
        plain = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for name, buffer in self.tensors.items():
            self.register_buffer(buffer, torch.from_numpy(plain[name].copy()))
        self.steps: list[tuple[Operation, list[str], str]] = []
        for node in graph.node:
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type not in OPERATIONS:
                raise ModelError(f"{planes.spec.name} has an operation that is not supported", found=node.op_type)
            operation, read = OPERATIONS[node.op_type](node, attributes, plain)
            self.steps.append((operation, read, node.output[0]))

    def forward(self, image: Tensor) -> Tensor:
        values = {INPUT: image, **{name: getattr(self, buffer) for name, buffer in self.tensors.items()}}
        for operation, names, output in self.steps:
            values[output] = operation(*(values[name] for name in names))
        return values[OUTPUT]


Plain = dict[str, Any]  # name of a constant -> array
Step = tuple[Operation, list[str]]  # and the names of the tensors that it reads


def _elementwise(operation: Operation, node: NodeProto, _attributes: Attributes, _plain: Plain) -> Step:
    return operation, list(node.input)


def _conv(node: NodeProto, attributes: Attributes, _plain: Plain) -> Step:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    convolve = partial(
        F.conv2d,
        stride=attributes.get("strides", [1, 1]),
        dilation=attributes.get("dilations", [1, 1]),
        groups=attributes.get("group", 1),
    )
    if (top, left) == (bottom, right):
        return partial(convolve, padding=[top, left]), list(node.input)
    return lambda image, *weights: convolve(F.pad(image, [left, right, top, bottom]), *weights), list(node.input)


def _clip(node: NodeProto, _attributes: Attributes, plain: Plain) -> Step:
    least, most = (float(plain[name]) for name in node.input[1:])
    return partial(torch.clamp, min=least, max=most), [node.input[0]]


def _hard_sigmoid(node: NodeProto, attributes: Attributes, _plain: Plain) -> Step:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0), list(node.input)


def _layer_norm(node: NodeProto, attributes: Attributes, plain: Plain) -> Step:
    shape, eps = plain[node.input[1]].shape, attributes.get("epsilon", 1e-5)
    return lambda x, weight, bias: F.layer_norm(x, shape, weight, bias, eps), list(node.input)


def _mean(node: NodeProto, attributes: Attributes, _plain: Plain) -> Step:
    return partial(torch.mean, dim=attributes["axes"], keepdim=bool(attributes.get("keepdims", 1))), list(node.input)


def _reshape(node: NodeProto, _attributes: Attributes, plain: Plain) -> Step:
    shape = plain[node.input[1]].tolist()
    return lambda x: x.reshape(shape), [node.input[0]]


def _resize(node: NodeProto, _attributes: Attributes, plain: Plain) -> Step:
    factor = float(plain[node.input[2]][2])
    resize = partial(F.interpolate, scale_factor=factor, mode="bilinear", align_corners=False)
    return resize, [node.input[0]]


def _softmax(node: NodeProto, attributes: Attributes, _plain: Plain) -> Step:
    return partial(torch.softmax, dim=attributes.get("axis", -1)), list(node.input)


def _transpose(node: NodeProto, attributes: Attributes, _plain: Plain) -> Step:
    return lambda x: x.permute(attributes["perm"]), list(node.input)


OPERATIONS: dict[str, Callable[[NodeProto, Attributes, Plain], Step]] = {
    "Add": partial(_elementwise, torch.add),
    "Clip": _clip,
    "Conv": _conv,
    "Div": partial(_elementwise, torch.div),
    "Erf": partial(_elementwise, torch.erf),
    "HardSigmoid": _hard_sigmoid,
    "LayerNormalization": _layer_norm,
    "MatMul": partial(_elementwise, torch.matmul),
    "Mul": partial(_elementwise, torch.mul),
    "ReduceMean": _mean,
    "Relu": partial(_elementwise, torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Softmax": _softmax,
    "Sub": partial(_elementwise, torch.sub),
    "Transpose": _transpose,
}


def exported_program(planes: ChannelsFirst) -> torch.export.ExportedProgram:
    """Return the graph as the converters of PyTorch's own formats take it."""
    side = planes.spec.input_size
    return torch.export.export(TorchGraph(planes).eval(), (torch.zeros(1, 3, side, side),))

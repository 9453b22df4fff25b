"""Quantized graphs as graphs: which layers are in int8, how much of the work that is, and taking layers out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper, shape_inference

LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
FOLDABLE = (QUANTIZE, DEQUANTIZE, "Cast", "Transpose", "Constant", "Reshape", "Identity")

# Parts of a network that are kept or quantized together: what a node's name shows -> the group, the first that fits.
GROUPS = (
    (r"/backbone/conv_stem/", "stem"),
    (r"/se/", "squeeze and excite"),
    (r"/backbone/blocks\.(\d+)/", r"backbone stage \1"),
    (r"/decoder/stages?\b|/decoder/project|/decoder/fuse|/decoder/lateral", "features to tokens"),
    (r"/decoder/transformer/", "linear layers of the transformer"),
    (r"/decoder/refine_quarter/", "refinement at a quarter"),
    (r"/decoder/refine_half/", "refinement at half"),
    (r"/decoder/upscale", "upscaling"),
    (r"/decoder/", "class masks"),
)


def group_of(name: str) -> str:
    for pattern, group in GROUPS:
        if match := re.search(pattern, name):
            return match.expand(group)
    return "rest"


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with constant weights."""

    name: str
    op: str
    group: str
    macs: int
    quantized: bool


class Graph:
    """A model with look-ups that ONNX does not have."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {output: node for node in self.nodes for output in node.output}

    def users(self) -> dict[str, list[NodeProto]]:
        users: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                users.setdefault(name, []).append(node)
        return users

    def is_constant(self, name: str) -> bool:
        """A stored tensor, or one computed from stored tensors alone by quantizing, casting or turning it."""
        if name in self.constants:
            return True
        node = self.producer.get(name)
        if node is None or node.op_type not in FOLDABLE:
            return False
        return all(self.is_constant(source) for source in node.input if source)

    def source(self, name: str) -> str:
        """Behind any pairs of Q and DQ."""
        node = self.producer.get(name)
        while node is not None and node.op_type in (QUANTIZE, DEQUANTIZE):
            name = node.input[0]
            node = self.producer.get(name)
        return name

    def is_quantized(self, node: NodeProto) -> bool:
        """Whether activations and weights both come out of a DequantizeLinear."""
        return all(
            (maker := self.producer.get(name)) is not None and maker.op_type == DEQUANTIZE for name in node.input[:2]
        )


def layers(model: ModelProto) -> list[Layer]:
    """Every convolution and linear layer, with its multiply-adds for one picture."""
    graph = Graph(model)
    shapes = shapes_of(model)
    found = []
    for node in graph.nodes:
        if node.op_type not in LAYERS or not any(graph.is_constant(name) for name in node.input[:2]):
            continue
        macs = macs_of(node, shapes, graph)
        found.append(Layer(node.name, node.op_type, group_of(node.name), macs, graph.is_quantized(node)))
    return found


def int8_share(model: ModelProto) -> float:
    """Of the multiply-adds of convolutions and linear layers."""
    all_layers = layers(model)
    total = sum(layer.macs for layer in all_layers)
    return sum(layer.macs for layer in all_layers if layer.quantized) / total if total else 0.0


def macs_of(node: NodeProto, shapes: dict[str, tuple[int, ...]], graph: Graph) -> int:
    outputs, weights = shapes.get(node.output[0]), shapes.get(graph.source(node.input[1]))
    if not outputs or not weights:
        return 0
    if node.op_type == "Conv":  # weights: out, in / groups, kernel
        return int(np.prod(outputs) * np.prod(weights[1:]))
    if node.op_type == "ConvTranspose":  # weights: in, out / groups, kernel
        inputs = shapes.get(graph.source(node.input[0]), (0,))
        return int(np.prod(inputs) * np.prod(weights[1:]))
    inner = shapes.get(graph.source(node.input[0]), (0,))[-1]
    return int(np.prod(outputs) * inner)


def shapes_of(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor, for one picture."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in (*single.graph.input, *single.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        if first.dim_param:
            first.Clear()
            first.dim_value = 1
    del single.graph.value_info[:]
    inferred = shape_inference.infer_shapes(single, data_prop=True)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


def without(model: ModelProto, drop: Callable[[NodeProto], bool]) -> ModelProto:
    """A copy in which the layers that `drop` names take unquantized inputs again."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = Graph(result)
    for node in graph.nodes:
        if drop(node):
            for place, name in enumerate(node.input):
                node.input[place] = graph.source(name)
    return remove_unused(result)


def without_groups(model: ModelProto, groups: Iterable[str]) -> ModelProto:
    dropped = set(groups)
    return without(model, lambda node: node.op_type in (*LAYERS, "Add") and group_of(node.name) in dropped)


def quantized_for_layers_alone(model: ModelProto) -> ModelProto:
    """A copy in which nothing but layers, and additions of the backbone, reads a tensor through Q and DQ.

    Where a tensor is quantized for a layer, others that read it too (a layer norm beside a linear layer, say) need not
    suffer for it.
    """

    def reads_floats(node: NodeProto) -> bool:
        residual = node.op_type == "Add" and "/backbone/" in node.name
        return not residual and node.op_type not in (*LAYERS, QUANTIZE, DEQUANTIZE, "Transpose", "Reshape")

    return without(model, reads_floats)


def remove_unused(model: ModelProto) -> ModelProto:
    """Without nodes and stored tensors that nothing uses any more."""
    kept_outputs = {value.name for value in model.graph.output}
    while True:
        used = kept_outputs | {name for node in model.graph.node for name in node.input}
        dead = [node for node in model.graph.node if not any(name in used for name in node.output)]
        if not dead:
            break
        for node in dead:
            model.graph.node.remove(node)
    stored = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
    return model


def with_stored_int8(model: ModelProto) -> ModelProto:
    """A copy with weights as they are used: int8 numbers behind a DequantizeLinear, a quarter of the size of fp32."""
    source, model = model, ModelProto()
    model.CopyFrom(source)
    graph = Graph(model)
    for node in list(model.graph.node):
        if node.op_type != QUANTIZE or node.input[0] not in graph.constants:
            continue
        weights, scale = (numpy_helper.to_array(graph.constants[name]).astype(np.float32) for name in node.input[:2])
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.ndim:
            scale = scale.reshape([-1 if place == axis % weights.ndim else 1 for place in range(weights.ndim)])
        stored = np.clip(np.rint(weights / scale), -128, 127).astype(np.int8)
        model.graph.initializer.append(numpy_helper.from_array(stored, node.output[0]))
        model.graph.node.remove(node)
    return remove_unused(model)


def with_shared_constants(model: ModelProto) -> ModelProto:
    """Each constant once, in place: modelopt writes a copy for every node that uses it."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    names = {
        tensor.name: kept.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
        for tensor in model.graph.initializer
        if tensor.raw_data
    }
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return remove_unused(model)


def with_stored_float(model: ModelProto) -> ModelProto:
    """Weights that were stored in 16 bits and cast when loaded, as fp32 again."""
    graph = Graph(model)
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.input[0] in graph.constants:
            values = numpy_helper.to_array(graph.constants[node.input[0]]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
    return remove_unused(model)


def logits_before_the_classes(model: ModelProto) -> str:
    """The tensor of which the last ArgMax takes the largest: what precision changes before a class does."""
    return next(str(node.input[0]) for node in reversed(model.graph.node) if node.op_type == "ArgMax")

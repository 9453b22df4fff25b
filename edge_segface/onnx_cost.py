"""Shapes of tensors and multiply-adds of layers in an ONNX graph, for one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int, ...]


def tensor_shapes(model: ModelProto) -> dict[str, Shape]:
    """Return the shape of every tensor for a batch of one; sides that cannot be inferred are 0."""
    from onnx import ModelProto, shape_inference

    single = ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in single.graph.output:  # inferred again, for the batch of one
        value.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(single, data_prop=True).graph
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
    return shapes


def multiply_adds(op_type: str, inputs: Sequence[Shape], output: Shape) -> int:
    """Return the multiply-adds of a convolution or matrix product from the shapes of its operands and its output."""
    first, second = inputs[:2]
    if op_type == "Conv":  # weights: out, in / groups, kernel
        return math.prod(output) * math.prod(second[1:])
    if op_type == "ConvTranspose":  # weights: in, out / groups, kernel
        return math.prod(first) * math.prod(second[1:])
    return math.prod(output) * first[-1]

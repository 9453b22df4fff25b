"""Edit quantized graphs: take layers out of int8, and store constants once and in the type they are used in.

Every function returns a new model. The metadata is not copied: `QuantizedModel.save` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto

from edge_segface.export.node_names import BACKBONE, group_of
from edge_segface.quantize.graph_info import DEQUANTIZE, LAYERS, QUANTIZE, unquantized


def without_groups(model: ModelProto, groups: Iterable[str]) -> ModelProto:
    """Return a copy in which the layers of these groups are in floating point."""
    removed = set(groups)
    return _with_float_inputs(model, lambda node: node.op in (*LAYERS, "Add") and group_of(node.name) in removed)


def with_only_layers_quantized(model: ModelProto) -> ModelProto:
    """Return a copy in which only layers, and residual additions of the backbone, read a tensor through Q and DQ.

    modelopt quantizes a tensor for all of its readers. A layer norm beside a linear layer then loses accuracy for
    nothing.
    """

    def reads_floats(node: gs.Node) -> bool:
        residual = node.op == "Add" and BACKBONE in node.name
        return not residual and node.op not in (*LAYERS, QUANTIZE, DEQUANTIZE, "Transpose", "Reshape")

    return _with_float_inputs(model, reads_floats)


def with_stored_int8(model: ModelProto) -> ModelProto:
    """Return a copy whose weights are stored as int8 before a DequantizeLinear, a quarter of the size of fp32."""
    graph = gs.import_onnx(model)
    for node in graph.nodes:
        if node.op != QUANTIZE or not isinstance(node.inputs[0], gs.Constant):
            continue
        weights, scale = (tensor.values.astype(np.float32) for tensor in node.inputs[:2])
        if scale.ndim:
            axis = node.attrs.get("axis", 1) % weights.ndim
            scale = scale.reshape([-1 if index == axis else 1 for index in range(weights.ndim)])
        _replace_by_constant(node, np.clip(np.rint(weights / scale), -128, 127).astype(np.int8))
    return _exported(graph)


def with_stored_fp32(model: ModelProto) -> ModelProto:
    """Return a copy whose weights are stored in fp32 where they were stored in 16 bits and cast."""
    graph = gs.import_onnx(model)
    for node in graph.nodes:
        if node.op == "Cast" and isinstance(node.inputs[0], gs.Constant):
            _replace_by_constant(node, node.inputs[0].values.astype(np.float32))
    return _exported(graph)


def with_shared_constants(model: ModelProto) -> ModelProto:
    """Return a copy that stores equal constants once: modelopt writes one for every node that uses it."""
    graph = gs.import_onnx(model)
    kept: dict[tuple[Any, ...], gs.Constant] = {}

    def first_equal(tensor: gs.Tensor) -> gs.Tensor:
        if not isinstance(tensor, gs.Constant):
            return tensor
        values = tensor.values
        return kept.setdefault((values.dtype, values.shape, values.tobytes()), tensor)

    for node in graph.nodes:
        node.inputs = [first_equal(tensor) for tensor in node.inputs]
    return _exported(graph)


def _with_float_inputs(model: ModelProto, selected: Callable[[gs.Node], bool]) -> ModelProto:
    graph = gs.import_onnx(model)
    for node in graph.nodes:
        if selected(node):
            node.inputs = [unquantized(tensor) for tensor in node.inputs]
    return _exported(graph)


def _replace_by_constant(node: gs.Node, values: np.ndarray) -> None:
    [output] = node.outputs
    node.outputs.clear()
    output.to_constant(values)


def _exported(graph: gs.Graph) -> ModelProto:
    model: ModelProto = gs.export_onnx(graph.cleanup())
    return model

"""Constructs that TensorRT rejects are found. The bundled int8 file, with one thing changed, stands for a bad file."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from edge_segface.models import resolve
from edge_segface.quantize.graph_info import is_quantized
from edge_segface.quantize.lint import lint


@pytest.fixture
def graph() -> gs.Graph:
    return gs.import_onnx(onnx.load(resolve("edge-256-int8").path))


def first(graph: gs.Graph, op: str) -> gs.Node:
    return next(node for node in graph.nodes if node.op == op)


def rules(graph: gs.Graph) -> str:
    return "; ".join(map(str, lint(gs.export_onnx(graph))))


def test_bundled_files_break_no_rule(graph: gs.Graph) -> None:
    assert rules(graph) == ""
    assert lint(onnx.load(resolve("edge-256").path)) == []


@pytest.mark.parametrize(
    ("zero_point", "rule"),
    [
        (np.array(0, np.uint8), "uint8 quantization"),
        (np.array(3, np.int8), "zero point that is not 0"),
    ],
)
def test_zero_point_must_be_int8_and_zero(zero_point: np.ndarray, rule: str, graph: gs.Graph) -> None:
    first(graph, "QuantizeLinear").inputs[2] = gs.Constant("zero", zero_point)
    assert rule in rules(graph)


def test_zero_point_must_be_present(graph: gs.Graph) -> None:
    del first(graph, "QuantizeLinear").inputs[2]
    assert "no zero point, so the type is uint8" in rules(graph)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_scale_must_be_positive(scale: float, graph: gs.Graph) -> None:
    first(graph, "QuantizeLinear").inputs[1] = gs.Constant("scale", np.array(scale, np.float16))
    assert "scale that is not a positive constant" in rules(graph)


def test_weights_need_a_scale_for_each_channel(graph: gs.Graph) -> None:
    conv = next(node for node in graph.nodes if node.op == "Conv" and is_quantized(node))
    conv.i(1).inputs[1] = gs.Constant("one", np.array(0.1, np.float16))
    assert "each output channel needs its own" in rules(graph)


def test_integer_operators_are_refused(graph: gs.Graph) -> None:
    operands = [gs.Constant(name, np.ones((2, 2), np.int8)) for name in "ab"]
    graph.nodes.append(gs.Node("MatMulInteger", "bad", inputs=operands, outputs=[gs.Variable("c")]))
    assert "operator of integer arithmetic; TensorRT needs QuantizeLinear and DequantizeLinear: bad" in rules(graph)


def test_bytes_must_be_cast_before_they_are_transposed(graph: gs.Graph) -> None:
    graph.nodes.append(gs.Node("Transpose", "bad", inputs=[graph.inputs[0]], outputs=[gs.Variable("transposed")]))
    assert "bytes transposed before they are cast" in rules(graph)


def test_biases_must_stay_in_floating_point(graph: gs.Graph) -> None:
    bias, scale = gs.Constant("bias", np.zeros(4, np.int32)), gs.Constant("scale", np.array(1, np.float32))
    graph.nodes.append(gs.Node("DequantizeLinear", "bad", inputs=[bias, scale], outputs=[gs.Variable("b")]))
    assert "int32 bias" in rules(graph)


def test_convolution_and_activation_must_not_be_split(graph: gs.Graph) -> None:
    relu = next(node for node in graph.nodes if node.op == "Relu" and node.i().op == "Conv")
    parameters = first(graph, "QuantizeLinear").inputs[1:]
    q, dq = gs.Variable("q"), gs.Variable("dq")
    graph.nodes.append(gs.Node("QuantizeLinear", "bad", inputs=[relu.inputs[0], *parameters], outputs=[q]))
    graph.nodes.append(gs.Node("DequantizeLinear", "bad2", inputs=[q, *parameters], outputs=[dq]))
    relu.inputs[0] = dq
    assert "between a convolution and its activation" in rules(graph)

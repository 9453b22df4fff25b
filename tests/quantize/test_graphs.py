"""Inspecting and editing quantized graphs, and ranking groups of layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
import torch
from onnx import numpy_helper

from edge_segface.model.build import PRESETS
from edge_segface.models import resolve
from edge_segface.onnx_cost import multiply_adds, tensor_shapes
from edge_segface.quantize.accuracy_gate import AccuracyDrop
from edge_segface.quantize.graph_edit import with_shared_constants, with_stored_fp32, without_groups
from edge_segface.quantize.graph_info import int8_share, is_constant, is_quantized, layers, producer
from edge_segface.quantize.pipeline import QuantizeResult
from edge_segface.quantize.quantized_model import QuantizedModel, load_fp32
from edge_segface.quantize.sensitivity import keep_until_accurate, signal_to_noise_db
from tests.quantize.conftest import BUNDLED, KEPT_PATTERN

ATTENTION = ("tokens_from_image", "image_from_tokens", "self_attention", "final_attention")


def test_attention_products_and_wrapping_stay_in_floating_point(int8: tuple[Path, QuantizeResult]) -> None:
    checked = 0
    for node in gs.import_onnx(onnx.load(int8[0])).nodes:
        parts = node.name.split("/")
        attention = node.op == "MatMul" and parts[-2] in ATTENTION  # linear layers lie one level deeper
        if attention or node.op in ("Softmax", "LayerNormalization") or parts[1:2] in (["before"], ["after"]):
            makers = [maker.op for tensor in node.inputs if (maker := producer(tensor)) is not None]
            assert "DequantizeLinear" not in makers, node.name
            checked += 1
    assert checked > 30


def test_every_quantized_product_has_constant_weights(int8: tuple[Path, QuantizeResult]) -> None:
    nodes = gs.import_onnx(onnx.load(int8[0])).nodes
    products = [node for node in nodes if node.op == "MatMul" and is_quantized(node)]
    assert len(products) > 10
    assert all(any(is_constant(tensor) for tensor in node.inputs) for node in products)


def test_layers_kept_by_a_pattern_are_not_quantized(int8: tuple[Path, QuantizeResult]) -> None:
    groups = {layer.group for layer in layers(int8[1].model.model) if layer.quantized}
    assert "refinement at half" not in groups
    assert "refinement at a quarter" in groups


def test_groups_are_ranked_worst_first_and_can_be_removed_from_int8(int8: tuple[Path, QuantizeResult]) -> None:
    result = int8[1]
    ranked = result.sensitivity
    noise = [one.noise_db for one in ranked]
    assert noise == sorted(noise)
    assert sum(one.work for one in ranked) == pytest.approx(result.model.int8_share, abs=1e-6)
    worst = ranked[0]
    without_worst = without_groups(result.model.model, [worst.group])
    onnx.checker.check_model(without_worst, full_check=True)
    left = {layer.group for layer in layers(without_worst) if layer.quantized}
    assert left == {one.group for one in ranked} - {worst.group}
    assert int8_share(without_worst) == pytest.approx(result.model.int8_share - worst.work, abs=1e-6)


def test_groups_are_kept_one_by_one_until_the_drop_is_acceptable(
    int8: tuple[Path, QuantizeResult], tmp_path: Path
) -> None:
    result = int8[1]
    drop = result.drop
    assert drop is not None
    shares: list[float] = []

    def acceptable_at_the_third(candidate: QuantizedModel) -> AccuracyDrop:
        shares.append(candidate.int8_share)
        return AccuracyDrop(drop.before, drop.after, drop.images_with_class, -100.0 if len(shares) < 3 else 100.0)

    kept, _ = keep_until_accurate(result.model, result.sensitivity, acceptable_at_the_third)
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    first, second = result.sensitivity[:2]
    assert set(kept.spec.kept or {}) == {KEPT_PATTERN, first.group, second.group}
    kept.save(tmp_path / "kept.onnx")


def test_multiply_adds_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = PRESETS["edge"](19).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.backbone(torch.zeros(1, 3, 256, 256))
    ours = sum(layer.macs for layer in layers(load_fp32(BUNDLED)[0]) if "/backbone/" in layer.name)
    assert 2 * ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_multiply_adds_of_a_layer_behind_q_and_dq() -> None:
    stem = next(
        layer for layer in layers(onnx.load(resolve("edge-256-int8").path)) if layer.name.endswith("conv_stem/Conv")
    )
    assert stem.quantized
    assert stem.macs == 128 * 128 * 32 * 27


@pytest.mark.parametrize(
    ("op_type", "inputs", "output", "expected"),
    [
        ("Conv", [(1, 8, 10, 10), (16, 4, 3, 3)], (1, 16, 10, 10), 1600 * 36),
        ("ConvTranspose", [(1, 8, 10, 10), (8, 16, 2, 2)], (1, 16, 20, 20), 800 * 64),
        ("MatMul", [(1, 19, 32), (1, 32, 64)], (1, 19, 64), 19 * 64 * 32),
        ("Gemm", [(5, 32), (7, 32)], (5, 7), 35 * 32),
    ],
)
def test_multiply_adds_from_shapes(
    op_type: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], expected: int
) -> None:
    assert multiply_adds(op_type, inputs, output) == expected


def test_tensor_shapes_are_those_of_one_image() -> None:
    model = onnx.load(BUNDLED)
    shapes = tensor_shapes(model)
    assert shapes["image"] == (1, 256, 256, 3)
    assert shapes["labels"] == (1, 256, 256)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"  # the model itself is not changed


def test_equal_constants_are_stored_once() -> None:
    graph = gs.Graph(opset=17)
    x = gs.Variable("x", np.float32, (2,))
    middle, y = gs.Variable("middle", np.float32, (2,)), gs.Variable("y", np.float32, (2,))
    graph.nodes = [
        gs.Node("Add", inputs=[x, gs.Constant("a", np.ones(2, np.float32))], outputs=[middle]),
        gs.Node("Add", inputs=[middle, gs.Constant("b", np.ones(2, np.float32))], outputs=[y]),
    ]
    graph.inputs, graph.outputs = [x], [y]
    shared = with_shared_constants(gs.export_onnx(graph))
    assert [tensor.name for tensor in shared.graph.initializer] == ["a"]
    assert [node.input[1] for node in shared.graph.node] == ["a", "a"]


def test_half_weights_are_stored_in_fp32_with_the_same_values() -> None:
    model = onnx.load(BUNDLED)
    halves = {
        node.output[0]: tensor
        for node in model.graph.node
        for tensor in model.graph.initializer
        if node.op_type == "Cast" and node.input[0] == tensor.name
    }
    assert halves
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in with_stored_fp32(model).graph.initializer}
    for name, tensor in halves.items():
        assert stored[name].dtype == np.float32
        assert np.array_equal(stored[name], numpy_helper.to_array(tensor))


def test_noise_is_measured_in_decibels() -> None:
    exact = np.ones((1, 2, 4, 4))
    assert signal_to_noise_db(exact, exact * 1.1) == pytest.approx(20.0)
    assert signal_to_noise_db(exact, exact) == float("inf")

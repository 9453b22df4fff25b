"""Estimates: layers compared with counts by hand, boards with their formulas, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_segface.bench.boards import Board, all_boards, find_board, measure_this_machine
from edge_segface.bench.onnx_layers import Layer, LayerList, layers_of
from edge_segface.bench.roofline import Estimate, estimate
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.models import resolve
from tests.conftest import assert_one_line_error, run_cli


def write_graph(
    path: Path, nodes: list[onnx.NodeProto], image: list[int], output: str, **weights: tuple[int, ...]
) -> Path:
    """Write a graph from `image` (a batch of n) to one output, with weights of zeros."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *image])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_layers_are_counted_without_fused_ones(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "m"], ["c"], name="product"),
    ]
    network = layers_of(write_graph(tmp_path / "m.onnx", nodes, [3, 16, 16], "c", w=(8, 3, 3, 3), m=(16, 5)))
    assert network.unknown == 0
    conv, product = network.layers
    assert conv == Layer("conv", "Conv", 2 * 8 * 16 * 16 * 27, 8 * 16 * 16 + 3 * 16 * 16, 8 * 27)
    assert product == Layer("product", "MatMul", 2 * 8 * 16 * 5 * 16, 8 * 16 * 5 + 8 * 16 * 16, 80)


def test_transposed_weights_and_layers_of_unknown_size(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["image", "up"], ["a"], strides=[2, 2], name="up"),
        helper.make_node("Transpose", ["t"], ["m"], perm=[1, 0]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1], name="pixels"),
        helper.make_node("MatMul", ["b", "m"], ["c"], name="product"),
        helper.make_node("NonZero", ["c"], ["d"]),
        helper.make_node("Softmax", ["d"], ["e"], name="of unknown size"),
    ]
    network = layers_of(write_graph(tmp_path / "m.onnx", nodes, [4, 8, 8], "e", up=(4, 6, 2, 2), t=(5, 6)))
    assert network.unknown == 1
    upsampling, _, product = network.layers
    assert upsampling.flop == 2 * (4 * 8 * 8) * (6 * 2 * 2)  # each input contributes to four outputs
    assert product.flop == 2 * (16 * 16) * 6 * 5
    assert product.weights == 30


def test_unreadable_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("no")
    with pytest.raises(ModelError, match="is not a readable ONNX file"):
        layers_of(tmp_path / "bad.onnx")


@pytest.mark.parametrize("name", ["edge-256", "edge-256-int8"])
def test_work_of_bundled_models_is_what_torch_counts(name: str) -> None:
    """0.60 GFLOP at 256."""
    network = layers_of(resolve(name).path)
    work = sum(layer.flop for layer in network.layers if layer.kind in ("Conv", "MatMul", "Gemm"))
    assert work / 1e9 == pytest.approx(0.60, abs=0.01)
    assert network.unknown == 0


def board(int8: float | None = None, bytes_per_s: float = 1e11) -> Board:
    return Board("b", "a board", {"fp32": 1e12, "fp16": 2e12, "int8": int8}, bytes_per_s)


def test_bottleneck_is_compute_or_memory() -> None:
    heavy = estimate(LayerList((Layer("x", "Conv", 1e9, 1000, 1000),)), board(), "fp32")
    assert heavy.bound == "compute"
    assert heavy.best_ms == pytest.approx(1e3 * 1e9 / 1e12)
    wide = estimate(LayerList((Layer("x", "Conv", 1000, 10_000_000, 0),)), board(), "fp16")
    assert wide.bound == "memory"
    assert wide.best_ms == pytest.approx(1e3 * 2e7 / 1e11)
    assert wide.worst_ms > wide.best_ms
    assert wide.fps[0] < wide.fps[1]


def test_estimate_needs_layers_and_a_supported_precision() -> None:
    with pytest.raises(EdgeSegfaceError, match="gains nothing from int8.*fp32, fp16"):
        estimate(LayerList(()), board(), "int8")
    with pytest.raises(ModelError, match="no layer of known size"):
        estimate(LayerList(()), board(), "fp32")


def test_int8_applies_to_quantized_layers() -> None:
    quantized, other = Layer("x", "Conv", 1e9, 10, 10, int8=True), Layer("y", "MatMul", 1e9, 10, 10)
    fast_memory = board(int8=4e12, bytes_per_s=1e15)
    mixed = estimate(LayerList((quantized, other)), fast_memory, "int8")
    assert mixed.best_ms == pytest.approx(1e3 * (1e9 / 4e12 + 1e9 / 2e12), rel=1e-3)
    before_quantization = estimate(LayerList((other, other)), fast_memory, "int8")
    assert before_quantization.best_ms == pytest.approx(1e3 * (2e9 / 4e12), rel=1e-3)


def test_bundled_int8_model_is_faster_on_a_board() -> None:
    def on_orin_nano(name: str, precision: str) -> Estimate:
        return estimate(layers_of(resolve(name).path), find_board("orin-nano-8gb"), precision)

    assert 0.5 < on_orin_nano("edge-256-int8", "int8").best_ms / on_orin_nano("edge-256", "fp16").best_ms < 0.95


def test_transposes_cost_time_in_the_worst_case_only() -> None:
    layers = LayerList((Layer("c", "Conv", 1e9, 10, 10), Layer("t", "Transpose", 0, 10_000_000, 0)))
    found = estimate(layers, board(), "fp32")
    assert found.best_ms == pytest.approx(1e3 * 1e9 / 1e12)
    assert found.worst_ms > 1e3 * 4e7 / 0.4e11


@pytest.mark.parametrize(
    ("name", "tensor_cores", "clock_hz"),
    [("orin-nano-8gb", 32, 0.625e9), ("agx-orin-64gb", 64, 1.3e9), ("orin-nx-16gb", 32, 0.918e9)],
)
def test_peaks_of_orin_boards_follow_from_cores_and_clocks(name: str, tensor_cores: int, clock_hz: float) -> None:
    flops = all_boards()[name].flops
    assert flops["fp16"] == pytest.approx(tensor_cores * 256 * 2 * clock_hz, rel=0.02)  # fused multiply-adds
    assert flops["int8"] == pytest.approx(2 * tensor_cores * 256 * 2 * clock_hz, rel=0.05)


def test_board_table() -> None:
    boards = all_boards()
    assert boards["xavier-nx"].flops["fp16"] == pytest.approx(48 * 64 * 2 * 1.1e9, rel=0.02)
    assert boards["nano-4gb"].flops["int8"] is None
    assert all(each.bytes_per_s > 1e10 for each in boards.values())
    with pytest.raises(EdgeSegfaceError, match="unknown board 'pi'; choose one of nano-4gb.*or here"):
        find_board("pi")


def test_this_machine_is_measured() -> None:
    here = measure_this_machine(0.1)
    assert here.flops["fp32"]
    assert here.flops["fp32"] > 0
    assert here.bytes_per_s > 0
    with pytest.raises(EdgeSegfaceError, match="peak in int8 is not measured; use --precision fp32"):
        here.check_precision("int8")


def test_estimate_command_prints_and_writes_a_bracket(tmp_path: Path) -> None:
    result = run_cli("estimate", "edge-256", "--board", "orin-nano-8gb", "--json", tmp_path / "e.json")
    assert result.returncode == 0, result.stderr
    assert "ESTIMATE" in result.stdout
    assert "None of this was measured on a board" in result.stdout
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["schema"], written["kind"], written["model"]) == (1, "estimate", "edge-256")
    [row] = written["rows"]
    expected = estimate(layers_of(resolve("edge-256").path), find_board("orin-nano-8gb"), "fp32")
    assert (row["best_ms"], row["worst_ms"]) == (expected.best_ms, expected.worst_ms)
    assert row["fps"] == [round(value, 2) for value in expected.fps]
    assert row["board"]["name"] == "orin-nano-8gb"


def test_estimate_command_lists_boards_that_support_the_precision() -> None:
    listed = run_cli("estimate", "edge-256-int8").stdout
    assert "Jetson Thor T5000" in listed
    assert "Jetson Nano 4GB" not in listed  # no int8


def test_estimate_command_rejects_bad_input_in_one_line(tmp_path: Path) -> None:
    assert_one_line_error(run_cli("estimate", "edge-256", "--json", tmp_path), "a folder")
    assert_one_line_error(run_cli("estimate", "edge-256", "--board", "pi"), "unknown board", "orin-nx-16gb")

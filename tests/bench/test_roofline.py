"""Estimates: layers against hand counts, boards against their formulas, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_segface.bench.roofline import Board, Layer, Layers, board_called, boards, estimate, layers_of, this_machine
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.models import resolve
from tests.conftest import assert_one_line_error, run_cli


def small_model(path: Path) -> None:
    """A convolution, an activation that is fused, and a product."""
    weights = numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w")
    matrix = numpy_helper.from_array(np.zeros((16, 5), np.float32), "m")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["a"], pads=[1, 1, 1, 1], name="conv"),
            helper.make_node("Relu", ["a"], ["b"], name="relu"),
            helper.make_node("MatMul", ["b", "m"], ["c"], name="product"),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 8, 16, 5])],
        [weights, matrix],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_layers_are_counted(tmp_path: Path) -> None:
    small_model(tmp_path / "m.onnx")
    layers = layers_of(tmp_path / "m.onnx")
    assert layers.unknown == 0
    conv, product = layers.of
    assert conv == Layer("conv", "Conv", 2 * 8 * 16 * 16 * 27, 8 * 16 * 16 + 3 * 16 * 16, 8 * 27)
    assert product == Layer("product", "MatMul", 2 * 8 * 16 * 5 * 16, 8 * 16 * 5 + 8 * 16 * 16, 80)
    (tmp_path / "bad.onnx").write_text("no")
    with pytest.raises(ModelError, match="is no ONNX file"):
        layers_of(tmp_path / "bad.onnx")


def test_what_is_upside_down_or_unknown(tmp_path: Path) -> None:
    up = numpy_helper.from_array(np.zeros((4, 6, 2, 2), np.float32), "up")
    turned = numpy_helper.from_array(np.zeros((5, 6), np.float32), "t")
    graph = helper.make_graph(
        [
            helper.make_node("ConvTranspose", ["image", "up"], ["a"], strides=[2, 2], name="up"),
            helper.make_node("Transpose", ["t"], ["m"], perm=[1, 0]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1], name="pixels"),
            helper.make_node("MatMul", ["b", "m"], ["c"], name="product"),
            helper.make_node("NonZero", ["c"], ["d"]),
            helper.make_node("Softmax", ["d"], ["e"], name="of who knows what"),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
        [up, turned],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    layers = layers_of(tmp_path / "m.onnx")
    assert layers.unknown == 1
    grown, _, product = layers.of
    assert grown.flop == 2 * (4 * 8 * 8) * (6 * 2 * 2)  # each input to each of four outputs
    assert product.flop == 2 * (16 * 16) * 6 * 5
    assert product.weights == 30


def test_work_of_the_bundled_models() -> None:
    """As torch counts it (benchmarks/results/rewrite.json: 0.98 GFLOP at 256), in both precisions."""
    for name in ("edge-256", "edge-256-int8"):
        layers = layers_of(resolve(name).path)
        work = sum(layer.flop for layer in layers.of if layer.kind in ("Conv", "MatMul", "Gemm"))
        assert work / 1e9 == pytest.approx(0.98, abs=0.02)
        assert layers.unknown == 0


def test_what_bounds_a_layer() -> None:
    board = Board("b", "a board", {"fp32": 1e12, "fp16": 2e12, "int8": None}, 1e11)
    heavy = estimate(Layers((Layer("x", "Conv", 1e9, 1000, 1000),)), board, "fp32")
    assert heavy.bound == "compute"
    assert heavy.best_ms == pytest.approx(1e3 * 1e9 / 1e12)
    wide = estimate(Layers((Layer("x", "Conv", 1000, 10_000_000, 0),)), board, "fp16")
    assert wide.bound == "memory"
    assert wide.best_ms == pytest.approx(1e3 * 2e7 / 1e11)
    assert wide.worst_ms > wide.best_ms
    assert wide.fps[0] < wide.fps[1]
    with pytest.raises(EdgeSegfaceError, match="gains nothing from int8.*fp32, fp16"):
        estimate(Layers(()), board, "int8")


def test_int8_helps_what_is_in_int8() -> None:
    board = Board("b", "a board", {"fp32": 1e12, "fp16": 2e12, "int8": 4e12}, 1e15)
    one, other = Layer("x", "Conv", 1e9, 10, 10, int8=True), Layer("y", "MatMul", 1e9, 10, 10)
    both = estimate(Layers((one, other)), board, "int8")
    assert both.best_ms == pytest.approx(1e3 * (1e9 / 4e12 + 1e9 / 2e12), rel=1e-3)
    unmarked = estimate(Layers((other, other)), board, "int8")  # as it would be, once quantized
    assert unmarked.best_ms == pytest.approx(1e3 * (2e9 / 4e12), rel=1e-3)
    bundled = {
        name: estimate(layers_of(resolve(name).path), board_called("orin-nano-8gb"), precision).best_ms
        for name, precision in (("edge-256", "fp16"), ("edge-256-int8", "int8"))
    }
    assert 0.5 < bundled["edge-256-int8"] / bundled["edge-256"] < 0.95


def test_good_builders_write_no_transposes() -> None:
    board = Board("b", "a board", {"fp32": 1e12, "fp16": None, "int8": None}, 1e11)
    transpose = estimate(
        Layers((Layer("c", "Conv", 1e9, 10, 10), Layer("t", "Transpose", 0, 10_000_000, 0))), board, "fp32"
    )
    assert transpose.best_ms == pytest.approx(1e3 * 1e9 / 1e12)
    assert transpose.worst_ms > 1e3 * 4e7 / 0.4e11


def test_boards_are_what_their_formulas_say() -> None:
    table = boards()
    # tensor cores x fused multiply-adds x 2 x clock
    for name, cores, clock in (
        ("orin-nano-8gb", 32, 0.625e9),
        ("agx-orin-64gb", 64, 1.3e9),
        ("orin-nx-16gb", 32, 0.918e9),
    ):
        assert table[name].flops["fp16"] == pytest.approx(cores * 256 * 2 * clock, rel=0.02)
        assert table[name].flops["int8"] == pytest.approx(2 * table[name].flops["fp16"], rel=0.03)
    assert table["xavier-nx"].flops["fp16"] == pytest.approx(48 * 64 * 2 * 1.1e9, rel=0.02)
    assert table["nano-4gb"].flops["int8"] is None
    assert all(board.bytes_per_s > 1e10 for board in table.values())
    with pytest.raises(EdgeSegfaceError, match="unknown board 'pi'; choose one of nano-4gb.*or here"):
        board_called("pi")


def test_this_machine_is_measured() -> None:
    here = this_machine(0.2)
    assert here.flops["fp32"] > 1e9
    assert here.bytes_per_s > 1e8


def test_the_command(tmp_path: Path) -> None:
    result = run_cli("estimate", "edge-256", "--board", "orin-nano-8gb", "--json", tmp_path / "e.json")
    assert result.returncode == 0, result.stderr
    assert "ESTIMATE" in result.stdout
    assert "nothing of this was measured on a board" in result.stdout.lower()
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["schema"], written["kind"], written["model"]) == (1, "estimate", "edge-256")
    assert written["rows"][0]["best_ms"] < written["rows"][0]["worst_ms"]
    assert_one_line_error(run_cli("estimate", "edge-256", "--json", tmp_path), "a folder")
    assert "Thor" in run_cli("estimate", "edge-256-int8").stdout
    assert_one_line_error(run_cli("estimate", "edge-256", "--board", "pi"), "unknown board", "orin-nx-16gb")
    assert_one_line_error(run_cli("estimate", "edge-256-int8", "--board", "nano-4gb"), "gains nothing from int8")
    here = run_cli("estimate", "edge-256", "--board", "here", "--precision", "int8")
    assert_one_line_error(here, "this processor's peak in int8 is not measured")

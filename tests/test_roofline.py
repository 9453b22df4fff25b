"""Estimates: layers against hand counts, boards against their formulas, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_segface.bench.roofline import (
    Board,
    Layer,
    board_called,
    boards,
    by_kind,
    estimate,
    layers_of,
    this_machine,
)
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.weights import model_path
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
    conv, product = layers_of(tmp_path / "m.onnx")
    assert conv == Layer("conv", "Conv", 2 * 8 * 16 * 16 * 27, 8 * 16 * 16 + 3 * 16 * 16, 8 * 27)
    assert product == Layer("product", "MatMul", 2 * 8 * 16 * 5 * 16, 8 * 16 * 5 + 8 * 16 * 16, 80)
    (tmp_path / "bad.onnx").write_text("no")
    with pytest.raises(ModelError, match="is no ONNX file"):
        layers_of(tmp_path / "bad.onnx")


def test_work_of_the_bundled_models() -> None:
    """As torch counts it (benchmarks/results/rewrite.json: 0.98 GFLOP at 256), in both precisions."""
    for name in ("edge-256", "edge-256-int8"):
        sums = by_kind(layers_of(model_path(name)))
        assert sums["Conv"] + sums["MatMul"] + sums.get("Gemm", 0) == pytest.approx(0.98, abs=0.02)


def test_what_bounds_a_layer() -> None:
    board = Board("b", "a board", {"fp32": 1e12, "fp16": 2e12, "int8": None}, 1e11)
    heavy = estimate([Layer("x", "Conv", 1e9, 1000, 1000)], board, "fp32")
    assert heavy.bound == "compute"
    assert heavy.best_ms == pytest.approx(1e3 * 1e9 / 0.85e12)
    wide = estimate([Layer("x", "Conv", 1000, 10_000_000, 0)], board, "fp16")
    assert wide.bound == "memory"
    assert wide.best_ms == pytest.approx(1e3 * 2e7 / 0.8e11)
    assert wide.worst_ms > wide.best_ms
    assert wide.fps[0] < wide.fps[1]
    with pytest.raises(EdgeSegfaceError, match="gains nothing from int8.*fp32, fp16"):
        estimate([], board, "int8")


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
    with pytest.raises(EdgeSegfaceError, match="no board is called 'pi'; choose one of nano-4gb.*or here"):
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
    assert written["estimate"] is True
    assert written["rows"][0]["best_ms"] < written["rows"][0]["worst_ms"]
    assert "Thor" in run_cli("estimate", "edge-256-int8").stdout
    assert_one_line_error(run_cli("estimate", "edge-256", "--board", "pi"), "no board is called", "orin-nx-16gb")
    assert_one_line_error(run_cli("estimate", "edge-256-int8", "--board", "nano-4gb"), "gains nothing from int8")

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_segface.bench.layer_times import measure_layers
from edge_segface.errors import ModelError
from edge_segface.models import resolve
from tests.conftest import assert_one_line_error, run_cli


def test_every_runtime_says_where_its_time_goes() -> None:
    measured = measure_layers("edge-256", resolve("edge-256").path, runs=3)
    assert [one.runtime for one in measured] == ["onnxruntime", "openvino"]
    for one in measured:
        times = [layer.ms for layer in one.layers]
        assert times == sorted(times, reverse=True)
        assert one.total_ms == pytest.approx(sum(times))
        assert sum(one.by_kind().values()) == pytest.approx(1)
        assert next(iter(one.by_kind().values())) > 0.1
        assert any(kind.startswith("Conv") for kind in one.by_kind())
        assert len({layer.name for layer in one.layers}) > 50


def test_a_runtime_can_be_chosen() -> None:
    measured = measure_layers("edge-256", resolve("edge-256").path, "openvino", runs=2, threads=1)
    assert [one.runtime for one in measured] == ["openvino"]


def test_only_onnx_files_have_layers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layers of .*a.xml cannot be timed"):
        measure_layers("a", tmp_path / "a.xml")
    assert_one_line_error(run_cli("benchmark", "edge_segface/assets/edge.pt", "--layers"), "is a checkpoint")


def test_the_command_prints_the_slowest_and_saves_all(tmp_path: Path) -> None:
    done = run_cli("benchmark", "edge-256", "--layers", "--rounds", "2", "--json", tmp_path / "l.json")
    assert done.returncode == 0, done.stderr
    assert "edge-256 in onnxruntime" in done.stdout
    assert "layers; by kind: " in done.stdout
    saved = json.loads((tmp_path / "l.json").read_text())
    assert [one["runtime"] for one in saved] == ["onnxruntime", "openvino"]
    assert len(saved[0]["layers"]) > 100

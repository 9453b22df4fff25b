"""Plans and providers that run on an NVIDIA GPU, for real. On a machine without one every test here is skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_segface.build import BuildRequest, build_engine
from edge_segface.engine.tensorrt.build import PlanSettings
from edge_segface.engine.tensorrt.cuda import open_cuda
from edge_segface.engine.tensorrt.engine import Memory, TensorRtEngine
from edge_segface.errors import EngineError
from edge_segface.frames import RoI, crop
from edge_segface.models import BuildRuntime, load_engine
from edge_segface.spec import EngineRecord


def why_no_gpu() -> str:
    try:
        open_cuda().close()
    except EngineError as error:
        return str(error)
    return ""


WHY = why_no_gpu()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(WHY), reason=f"no NVIDIA GPU: {WHY}")]


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def runtime(request: pytest.FixtureRequest) -> BuildRuntime:
    runtime: BuildRuntime = request.param
    pytest.importorskip(runtime.replace("-", "_"), reason=f"{runtime} is not installed")
    return runtime


@pytest.fixture(scope="module")
def plan(runtime: BuildRuntime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plan") / "edge.engine"
    build_engine(BuildRequest("edge-256", out, runtime, plan=PlanSettings((1, 2, 4))))
    return out


@pytest.fixture
def squares(portrait: np.ndarray) -> np.ndarray:
    return np.stack([crop(portrait, RoI((180, 110), side), 256) for side in range(160, 300, 20)])


@pytest.mark.parametrize("memory", ["copy", "mapped"])
@pytest.mark.parametrize("graphs", [True, False])
def test_a_plan_gives_what_onnxruntime_gives(plan: Path, squares: np.ndarray, memory: Memory, graphs: bool) -> None:
    with load_engine("edge-256") as reference:
        expected = reference.infer(squares)
    with TensorRtEngine(plan, memory=memory, graphs=graphs) as engine:
        for count in (1, 3, 4, 7):  # below, at and above what the plan takes at once, so in both slots
            assert (engine.infer(squares[:count]) == expected[:count]).mean() >= 0.995
        assert len(engine.gpu_ms) == 2
        assert all(times[1] > 0 for times in engine.gpu_ms)


def test_int8_and_one_picture_at_a_time(runtime: BuildRuntime, squares: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "int8.engine"
    build_engine(BuildRequest("edge-256-int8", out, runtime))
    with load_engine("edge-256") as reference, load_engine(out) as engine:
        assert (engine.infer(squares) == reference.infer(squares)).mean() >= 0.97


def test_an_engine_can_be_opened_again_and_again(plan: Path, squares: np.ndarray) -> None:
    first = None
    for _ in range(20):
        with load_engine(plan) as engine:
            labels = engine.infer(squares[:1])
        first = labels if first is None else first
        assert np.array_equal(labels, first)


def test_timings_are_kept_and_a_folder_that_cannot_be_written_is_said(runtime: BuildRuntime, tmp_path: Path) -> None:
    if runtime != "tensorrt":
        pytest.skip("TensorRT-RTX compiles without timing")
    (tmp_path / "file").write_text("")
    built = build_engine(
        BuildRequest(
            "edge-256", tmp_path / "a.engine", runtime, plan=PlanSettings(timing_cache=tmp_path / "file" / "x")
        )
    )
    assert any("timings are not kept" in warning for warning in built.warnings)
    build_engine(
        BuildRequest("edge-256", tmp_path / "b.engine", runtime, plan=PlanSettings(timing_cache=tmp_path / "t"))
    )
    assert [path.suffix for path in (tmp_path / "t").iterdir()] == [".timing"]
    assert EngineRecord.load(tmp_path / "b.engine").device


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_providers_of_onnxruntime(provider: str, squares: np.ndarray) -> None:
    names = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
    if names[provider] not in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX BuildRuntime has no {provider} provider")
    with load_engine("edge-256") as reference, load_engine("edge-256", provider=provider) as engine:
        assert (engine.infer(squares) == reference.infer(squares)).mean() >= 0.995

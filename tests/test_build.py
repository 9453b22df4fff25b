"""Real plans by TensorRT-RTX, which compiles without a GPU, real files of OpenVINO, and what is said of broken ones."""

from __future__ import annotations

import _thread
import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_segface.assets import FOLDER, PORTRAIT
from edge_segface.build import BuildRequest, build_engine, runtime_for
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.engine.tensorrt.build import PlanSettings, build_plan, typing_modes
from edge_segface.engine.tensorrt.cuda import Device, open_cuda
from edge_segface.engine.tensorrt.engine import check_device
from edge_segface.errors import CheckpointError, EngineError, MissingExtra, ModelError
from edge_segface.export.onnx_export import export_onnx
from edge_segface.models import load_engine, resolve
from edge_segface.progress import NoProgress
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.spec import EngineRecord, ModelSpec
from tests.conftest import assert_one_line_error, run_cli
from tests.support.weights import weights_of

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

SQUARES = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)

HAS_TENSORRT = find_spec("tensorrt") is not None


def has_gpu() -> bool:
    try:
        open_cuda().close()
    except EngineError:
        return False
    return True


def spec_of(path: Path) -> ModelSpec:
    with load_engine(path) as engine:
        return engine.spec


@pytest.fixture(scope="module")
def engine_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("engine") / "e.engine"
    build_engine(
        BuildRequest("edge-256", out, "tensorrt-rtx", command="edge-segface build-engine edge-256 --out e.engine")
    )
    return out


@pytest.mark.parametrize(("preset", "size"), [("paper", 256), ("edge", 512), ("pico", 256)])
@pytest.mark.parametrize("batch", [(1, 1, 1), (1, 2, 4)])
def test_every_preset_compiles_for_static_and_dynamic_batches(
    preset: str, size: int, batch: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "x.onnx"
    export_onnx(weights_of(preset), path, size=size, outputs="both")
    plan = build_plan("tensorrt-rtx", path.read_bytes(), spec_of(path), PlanSettings(batch))
    assert len(plan.data) > 1_000_000
    assert plan.layers["uint8"] == 1
    assert plan.layers["float"] > 100
    assert "half" not in plan.layers


def test_bundled_int8_compiles_in_int8(tmp_path: Path) -> None:
    path = resolve("edge-256-int8").path
    plan = build_plan("tensorrt-rtx", path.read_bytes(), spec_of(path), PlanSettings())
    assert plan.layers["int8"] > 60
    assert plan.layers["half"] > 300
    assert json.dumps(plan.details)
    [layers] = plan.details.values()
    assert {"name", "kind", "precision"} == set(layers[0])


class RecordedProgress(NoProgress):
    """Records the steps of each stage."""

    def __init__(self) -> None:
        self.advances: dict[str, list[int]] = {}
        self.current = ""

    def stage(self, name: str, total: int | None = None) -> None:
        self.current = name
        self.advances.setdefault(name, [])

    def advance(self, count: int = 1) -> None:
        self.advances[self.current].append(count)


class InterruptingProgress(NoProgress):
    """Sends Ctrl-C in the middle of the build."""

    interrupted = False

    def advance(self, count: int = 1) -> None:
        if not self.interrupted:
            self.interrupted = True
            _thread.interrupt_main()


def test_progress_rises_to_the_end_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "x.engine"
    progress = RecordedProgress()
    build_engine(BuildRequest("edge-256", out, "tensorrt-rtx"), progress=progress)
    percents = progress.advances["building"]
    assert len(percents) > 100
    assert min(percents) >= 0
    assert 50 < sum(percents) <= 100
    out.unlink()
    EngineRecord.path_for(out).unlink()
    interrupting = InterruptingProgress()
    with pytest.raises(KeyboardInterrupt):
        build_engine(BuildRequest("edge-256", out, "tensorrt-rtx"), progress=interrupting)
    assert interrupting.interrupted
    assert not list(tmp_path.iterdir())


def test_the_record_says_what_was_built(engine_file: Path) -> None:
    record = EngineRecord.load(engine_file)
    assert record.engine.runtime == "tensorrt-rtx"
    assert record.runtime_version == trt.__version__
    assert record.model.name == "edge-256"
    assert record.engine.precision == "fp32"
    assert record.build_seconds > 0
    assert record.model.f1 == record.f1
    assert record.command.startswith("edge-segface build-engine")


def test_broken_and_foreign_engines_are_errors(engine_file: Path, tmp_path: Path) -> None:
    record = EngineRecord.load(engine_file)

    def written(name: str, data: bytes, about: EngineRecord | None) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        if about is not None:
            about.save(path)
        return path

    whole = engine_file.read_bytes()
    edited = written("edited.engine", whole, record)
    text = EngineRecord.path_for(edited).read_text()
    EngineRecord.path_for(edited).write_text(text.replace('"build_seconds"', '"build_secs"'))
    (tmp_path / "folder.engine").mkdir()
    for path, error, words in (
        (
            written("cut.engine", whole[:100_000], record),
            ModelError,
            "truncated or replaced.*100000 bytes.*run: edge-segface build-en",
        ),
        (written("alone.engine", whole, None), ModelError, "no readable record beside it"),
        (written("empty.engine", b"", record), ModelError, "is empty"),
        (edited, ModelError, "broken EngineRecord.*build_seconds"),
        (tmp_path / "folder.engine", ModelError, "a folder"),
        (tmp_path / "none.engine", ModelError, "does not exist"),
        (
            written("old.engine", whole, replace(record, runtime_version="1.0.0")),
            EngineError,
            "another machine.*runtime_version 1.0.0, here",
        ),
        (
            written("arm.engine", whole, replace(record, system="Linux aarch64")),
            EngineError,
            "system Linux aarch64, here",
        ),
        (
            written("strange.engine", whole, replace(record, engine=replace(record.engine, runtime="openvino"))),
            ModelError,
            "unknown runtime.*openvino",
        ),
        (  # TensorRT is missing, or is another version than the record's
            written("trt.engine", whole, replace(record, engine=replace(record.engine, runtime="tensorrt"))),
            EngineError if HAS_TENSORRT else MissingExtra,
            "another machine" if HAS_TENSORRT else "needs tensorrt",
        ),
    ):
        with pytest.raises(error, match=words):
            load_engine(path)
    if not has_gpu():
        with pytest.raises(EngineError, match=r"CUDA failed.*here use --runtime onnxruntime"):
            load_engine(engine_file)


def test_an_engine_is_held_to_the_gpu_that_it_is_for(engine_file: Path) -> None:
    record = EngineRecord.load(engine_file)
    orin = Device("Orin", (8, 7), integrated=True)
    assert orin.shares_memory
    assert not Device("NVIDIA Tegra X1", (5, 3), integrated=True).shares_memory
    of_orin = replace(
        record, engine=replace(record.engine, runtime="tensorrt"), device="Orin", compute_capability="8.7"
    )
    check_device(of_orin, engine_file, orin)
    with pytest.raises(EngineError, match=r"device Orin, here RTX 4090, compute_capability 8.7, here 8.9"):
        check_device(of_orin, engine_file, Device("RTX 4090", (8, 9), integrated=False))
    check_device(record, engine_file, Device("RTX 4090", (8, 9), integrated=False))  # built for all
    with pytest.raises(EngineError, match=r"was built for sm86 \(found: RTX 4090, sm89\)"):
        check_device(replace(record, targets=("sm86",)), engine_file, Device("RTX 4090", (8, 9), integrated=False))


def test_typing_is_strong_where_it_can_be() -> None:
    """What the flags of TensorRT 8.6, 10.3 and 11 tell the builder to try."""
    old = SimpleNamespace(EXPLICIT_BATCH=0)
    strong = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    by_flag, without = SimpleNamespace(FP16=0, INT8=1), SimpleNamespace(TF32=0)
    for flags, settings, ways in ((old, by_flag, [False]), (strong, by_flag, [True, False]), (strong, without, [True])):
        assert typing_modes(SimpleNamespace(NetworkDefinitionCreationFlag=flags, BuilderFlag=settings)) == ways


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"targets": ("sm87",)}, "has no target 'sm87'; choose from .*sm89"),
        ({"workspace_mb": 1}, "workspace limit.*raise --workspace"),
        ({"dla": 0}, "no DLA core 0 .*0 cores.*leave --dla out"),
    ],
)
def test_what_cannot_be_built_says_why(settings: dict[str, object], words: str, tmp_path: Path) -> None:
    out = tmp_path / "x.engine"
    with pytest.raises(EngineError, match=words):
        build_engine(BuildRequest("edge-256", out, "tensorrt-rtx", plan=PlanSettings(**settings)))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_openvino_files_load_without_the_onnx(tmp_path: Path) -> None:
    out = tmp_path / "e.xml"
    build_engine(BuildRequest("edge-256", out, "openvino"))
    assert {path.name for path in tmp_path.iterdir()} == {"e.xml", "e.bin"}
    with load_engine("edge-256") as one, load_engine(out, precision="fp32") as fp32, load_engine(out) as auto:
        assert one.spec == fp32.spec
        expected = one.infer(SQUARES)
        assert (fp32.infer(SQUARES) == expected).mean() > 0.995
        assert (auto.infer(SQUARES) == expected).mean() > 0.9
    weights = out.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged or was changed"):
        load_engine(out)


def test_steps_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "edge.pt", tmp_path / "w.pt")
    wish = BuildRequest(str(tmp_path / "w.pt"), tmp_path / "e.xml", "openvino", size=128)
    planned = build_engine(wish, dry_run=True)
    assert [stage.what for stage in planned.stages] == ["export", "compile for openvino"]
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]
    assert build_engine(wish).stages[0].seconds is not None
    assert build_engine(wish).stages[0].note == "exists"
    assert build_engine(replace(wish, size=160)).stages[0].seconds is not None


def test_files_and_runtimes_that_do_not_go_together(tmp_path: Path) -> None:
    assert runtime_for(Path("a.xml")) == "openvino"
    assert runtime_for(Path("a.engine")) == ("tensorrt" if HAS_TENSORRT else "tensorrt-rtx")
    with pytest.raises(EngineError, match=r"no runtime uses a\.plan.*\.engine, \.xml or \.onnx"):
        runtime_for(Path("a.plan"))
    with pytest.raises(EngineError, match=r"openvino engines are \.xml files"):
        build_engine(BuildRequest("edge-256", tmp_path / "a.engine", "openvino"))
    with pytest.raises(ModelError, match="int8 needs calibration images.*--calibration"):
        build_engine(BuildRequest("edge-256", tmp_path / "a.engine", "tensorrt-rtx", "int8"))
    gate = AccuracyGate(open_drawn("test"), 0.5)
    with pytest.raises(ModelError, match="stays in int8, so there is no accuracy drop"):
        build_engine(BuildRequest("edge-256-int8", tmp_path / "a.engine", "tensorrt-rtx"), gate=gate)
    with pytest.raises(ModelError, match="is not a supported model file"):
        build_engine(BuildRequest(str(PORTRAIT), tmp_path / "a.engine", "tensorrt-rtx"))
    (tmp_path / "w.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError):
        build_engine(BuildRequest(str(tmp_path / "w.pt"), tmp_path / "a.engine", "tensorrt-rtx"))


def test_build_engine_command(tmp_path: Path) -> None:
    good = run_cli(
        "build-engine", "edge-256", "--out", "x.engine", "--inspect", "x.json", "--target", "sm89", cwd=tmp_path
    )
    assert good.returncode == 0, good.stderr
    assert "compile for tensorrt-rtx" in good.stdout
    assert re.search(r"layers by output precision: \d{3} float, .*1 uint8", good.stdout)
    record = EngineRecord.load(tmp_path / "x.engine")
    assert record.targets == ("sm89",)
    assert record.command == "edge-segface build-engine edge-256 --out x.engine --inspect x.json --target sm89"
    assert len(next(iter(json.loads((tmp_path / "x.json").read_text()).values()))) > 300
    alias = run_cli(
        "export", FOLDER / "edge.pt", "--format", "engine", "--size", "128", "--out", "z.engine", cwd=tmp_path
    )
    assert alias.returncode == 0, alias.stderr
    assert EngineRecord.load(tmp_path / "z.engine").model.input_size == 128
    for arguments, words in (
        (("--batch", "4:2:1"), "must rise"),
        (("--batch", "two"), "'two' is not a valid batch range"),
        *(() if HAS_TENSORRT else ((("--runtime", "tensorrt"), "needs tensorrt"),)),
    ):
        assert_one_line_error(run_cli("build-engine", "edge-256", "--out", tmp_path / "y.engine", *arguments), words)
    assert not (tmp_path / "y.engine").exists()

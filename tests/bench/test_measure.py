"""Measuring: the report, the interleaved rounds, and models that fail."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_segface.assets import FOLDER
from edge_segface.bench import measure as measure_module
from edge_segface.bench.cold_start import cold_start
from edge_segface.bench.interleave import interleaved, noise_images
from edge_segface.bench.measure import BenchmarkModel, measure
from edge_segface.bench.results import BenchmarkReport, Failure, load_report
from edge_segface.bench.settings import BenchmarkSettings, parse_seconds
from edge_segface.bench.statistics import latency_ms
from edge_segface.benchmark import model_files
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.models import load_engine
from tests.conftest import assert_one_line_error, run_cli
from tests.support.tiny_onnx import write_tiny_onnx


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkReport:
    models = [
        BenchmarkModel("tiny", write_tiny_onnx(tmp_path_factory.mktemp("measure") / "tiny.onnx")),
        BenchmarkModel("missing", Path("missing.onnx")),
        BenchmarkModel("no weights", EdgeSegfaceError("they cannot be read")),
    ]
    return measure(models, BenchmarkSettings(rounds=10, batches=(1, 2)))


def test_report_has_one_result_per_model_and_batch(report: BenchmarkReport) -> None:
    assert (report.schema, report.kind) == (2, "benchmark")
    assert [(result.name, result.batch) for result in report.models] == [("tiny", 1), ("tiny", 2)]
    for result in report.models:
        times = result.latency_ms
        assert 0 < times.min <= times.p50 <= times.p90 <= times.p95 <= times.p99 <= times.max
        assert result.fps == pytest.approx(1e3 * result.batch / times.mean, rel=0.01)
        assert result.settings.rounds == len(result.samples_ms) == 10
        assert result.machine["cores"] > 0
        assert min(result.load_ms or 0, result.import_ms or 0, result.first_ms or 0, result.throughput_fps) > 0
        assert (result.peak_mb or 0) > (result.peak_mb_above_start or -1) >= 0
        assert result.sustain is None
    assert report.models[0].times_as_fast == 1


def test_models_that_fail_are_listed_once(report: BenchmarkReport) -> None:
    failures = {failure.model: failure.error for failure in report.failures}
    assert set(failures) == {"missing", "no weights"}
    assert "does not exist" in failures["missing"]
    assert failures["no weights"] == "they cannot be read"


def test_report_survives_json(report: BenchmarkReport) -> None:
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert BenchmarkReport.from_json(content) == report


def test_sustained_load_is_measured_after_the_rounds(tmp_path: Path) -> None:
    models = [BenchmarkModel("tiny", write_tiny_onnx(tmp_path / "tiny.onnx"))]
    [result] = measure(models, BenchmarkSettings(rounds=2, sustain_s=0.5)).models
    assert result.sustain is not None
    assert result.sustain.seconds >= 0.5
    assert result.sustain.steady_fps > 0


def test_rounds_are_interleaved_and_each_timed_call_follows_an_untimed_one() -> None:
    calls: list[str] = []
    seconds = interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4, pause_s=0, warm_up_rounds=1
    )
    assert calls == ["a", "a", "b", "b"] * 5
    assert [len(values) for values in seconds.values()] == [4, 4]


def test_timed_seconds_contain_the_call_and_not_the_pause() -> None:
    own: list[float] = []

    def work() -> None:
        start = time.perf_counter()
        time.sleep(0.002)
        own.append(time.perf_counter() - start)

    seconds = interleaved({"work": work}, 3, pause_s=0.2)["work"]
    timed = own[7::2]  # after three warm-up rounds of two calls, every second call
    assert all(measured >= inside for measured, inside in zip(seconds, timed, strict=True))
    assert np.median(np.subtract(seconds, timed)) < 0.2


@pytest.mark.slow
def test_harness_adds_little_to_the_latency() -> None:
    """A loop written by hand, alternating with the harness: medians of ratios, which a busy machine disturbs least."""
    with load_engine("edge-256") as engine:
        image = noise_images(256)
        ratios: list[float] = []
        for _ in range(60):
            time.sleep(0.03)
            engine.infer_all(image)
            start = time.perf_counter()
            engine.infer_all(image)
            by_hand = time.perf_counter() - start
            [measured] = interleaved({"edge": lambda: engine.infer_all(image)}, 1, warm_up_rounds=0)["edge"]
            ratios.append(measured / by_hand)
    assert np.median(ratios) == pytest.approx(1, rel=0.1)


def test_latency_statistics() -> None:
    milliseconds = np.arange(1, 102, dtype=float)
    latency = latency_ms(milliseconds / 1e3)
    assert (latency.min, latency.p50, latency.p90, latency.max, latency.mean) == (1, 51, 91, 101, 51)
    assert latency.cv_percent == pytest.approx(100 * milliseconds.std() / 51, abs=1e-4)


def test_failure_at_one_batch_size_keeps_the_others(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "fixed.onnx", only_batch=1)
    report = measure(
        [BenchmarkModel("fixed", path)], BenchmarkSettings(rounds=2, batches=(1, 4), runtime="onnxruntime")
    )
    assert [result.batch for result in report.models] == [1]
    [failure] = report.failures
    assert failure.model == "fixed, batch 4"
    assert "could not run fixed on 4 images" in failure.error


class FailingEngine:
    """An engine whose runtime fails after some calls."""

    gpu_ms = None

    def __init__(self, path: Path, good_calls: int) -> None:
        self._engine, self._left = load_engine(path), good_calls
        self.spec, self.description = self._engine.spec, self._engine.description

    def infer_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("out of memory\nat line 7")
        return self._engine.infer_all(images)

    def close(self) -> None:
        self._engine.close()


@pytest.mark.parametrize("good_calls", [0, 30])
def test_engine_that_fails_while_running_does_not_stop_the_others(
    good_calls: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It fails in the warm-up or in the rounds; the first engine that can be measured becomes the baseline."""
    bad, good = (write_tiny_onnx(tmp_path / f"{name}.onnx") for name in ("bad", "good"))

    def load(path: Path, **options: Any) -> object:
        return FailingEngine(path, good_calls) if path == bad else load_engine(path, **options)

    monkeypatch.setattr(measure_module, "load_engine", load)
    monkeypatch.setattr(measure_module, "MIN_WARM_UP_S", 0.0)
    report = measure([BenchmarkModel("bad", bad), BenchmarkModel("good", good)], BenchmarkSettings(rounds=20))
    assert report.failures == [Failure("bad, batch 1", "bad could not run (found: out of memory)")]
    [result] = report.models
    assert (result.name, result.times_as_fast) == ("good", 1)


def test_cold_start_reports_how_its_process_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match="no option nonsense"):
        cold_start(path, 1, {"nonsense": 1})
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError, match="ended its process without a message"):
        cold_start(path, 1, {})
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    with pytest.raises(ModelError, match=r"crashed its process \(found: SIGSEGV\)"):
        cold_start(path, 1, {})


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"batches": ()}, {"batches": (0,)}])
def test_settings_without_work_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(EdgeSegfaceError, match="cannot be measured"):
        BenchmarkSettings(**settings)


def test_durations_are_parsed() -> None:
    assert [parse_seconds(text) for text in ("90s", "10m", "1h", "7")] == [90, 600, 3600, 7]
    for text in ("", "m", "-3s", "0", "nan"):
        with pytest.raises(EdgeSegfaceError, match="is not a valid duration"):
            parse_seconds(text)


@pytest.mark.slow
def test_checkpoints_of_the_same_name_are_exported_apart(tmp_path: Path) -> None:
    copy = tmp_path / "again" / "edge.pt"
    copy.parent.mkdir()
    shutil.copy(FOLDER / "edge.pt", copy)
    (tmp_path / "bad.pt").write_text("no weights")
    models = [str(FOLDER / "edge.pt"), str(copy), str(tmp_path / "bad.pt"), "edge-256"]
    one, other, bad, bundled = model_files(models, [128], tmp_path / "exported")
    assert [one.name, other.name] == [f"{FOLDER / 'edge.pt'} at 128", f"{copy} at 128"]
    assert isinstance(one.file, Path)
    assert isinstance(other.file, Path)
    assert one.file != other.file
    assert isinstance(bad.file, EdgeSegfaceError)
    assert bundled.name == "edge-256"


def test_benchmark_command_writes_every_report(tmp_path: Path, recorded_path: Path) -> None:
    tiny, out = write_tiny_onnx(tmp_path / "tiny.onnx"), tmp_path / "report.json"
    options = ("--json", out, "--markdown", tmp_path / "report.md", "--html", tmp_path / "report.html")
    result = run_cli("benchmark", tiny, tmp_path / "missing.onnx", "--rounds", 5, *options)
    assert result.returncode == 1  # one model failed
    assert "missing.onnx was not measured" in result.stderr
    assert "…" not in result.stdout  # numbers are not cut in a narrow terminal
    [measured] = load_report(out).models
    assert measured.model == "tiny"
    assert (tmp_path / "report.md").read_text().startswith("**latency, ms**")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    compared = run_cli("benchmark", "--compare", recorded_path, recorded_path)
    assert compared.returncode == 0, compared.stderr
    assert "speed-up" in compared.stdout
    assert "the long run is not comparable" in compared.stderr


def test_benchmark_command_rejects_bad_input_in_one_line(tmp_path: Path, recorded_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for arguments, words in (
        ((), "nothing to measure"),
        (("edge-256", "--sustain", "long"), "is not a valid duration"),
        (("edge-256", "--json", "/proc/r.json"), "cannot write /proc/r.json"),  # before anything is measured
        (("--compare", recorded_path, tmp_path / "other.json"), "is not a benchmark report"),
    ):
        assert_one_line_error(run_cli("benchmark", *arguments), words)
    assert run_cli("benchmark", "edge-256", "--rounds", 0).returncode == 2

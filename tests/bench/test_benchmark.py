"""The harness: what it adds, what it says of long runs, and its reports."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edge_segface.assets import FOLDER
from edge_segface.bench import measure as measuring
from edge_segface.bench.cold_start import cold_start
from edge_segface.bench.compare import compare
from edge_segface.bench.interleave import interleaved
from edge_segface.bench.measure import Settings, measure, parse_seconds, statistics, warnings
from edge_segface.bench.plots import bars, by_itself
from edge_segface.bench.report import load_report, markdown, page
from edge_segface.bench.sustain import Idle, slower_from, sustain, sustained
from edge_segface.bench.telemetry import Reading
from edge_segface.errors import EdgeSegfaceError, EngineError, ModelError
from edge_segface.models import load_engine, resolve
from tests.conftest import CHROMIUM, assert_one_line_error, run_cli


@pytest.fixture(scope="module")
def report() -> dict:
    models = [
        ("edge-256", resolve("edge-256").path),
        ("nothing", Path("nothing.onnx")),
        ("no weights", EdgeSegfaceError("they cannot be read")),
    ]
    return measure(models, Settings(rounds=10, batches=(1, 2), sustain_s=2))


def test_the_report(report: dict) -> None:
    assert report["schema"] == 2
    assert [(row["name"], row["batch"]) for row in report["models"]] == [("edge-256", 1), ("edge-256", 2)]
    failures = {failure["model"]: failure["error"] for failure in report["failures"]}
    assert set(failures) == {"nothing", "no weights"}
    assert "does not exist" in failures["nothing"]
    assert failures["no weights"] == "they cannot be read"
    for row in report["models"]:
        times = row["latency_ms"]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p95"] <= times["p99"] <= times["max"]
        assert row["fps"] == pytest.approx(1e3 * row["batch"] / times["mean"], rel=0.01)
        assert row["settings"]["rounds"] == len(row["samples_ms"]) == 10
        assert row["machine"]["cores"] > 0
        assert row["load_ms"] > 0
        assert row["import_ms"] > 0
        assert row["first_ms"] > 0
        assert row["peak_mb"] > row["peak_mb_above_start"] > 0
        assert row["sustain"]["steady_fps"] > 0
    one, two = report["models"]
    assert two["peak_mb"] > one["peak_mb"]  # each batch in a process of its own
    assert one["times_as_fast"] == 1
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_harness_adds_nothing() -> None:
    """Five milliseconds of work that keeps its own time."""
    own: list[float] = []

    def work() -> None:
        start = time.perf_counter()
        while time.perf_counter() - start < 0.005:
            pass
        own.append(time.perf_counter() - start)

    seconds = interleaved({"work": work}, 40)["work"]
    assert len(own) == 2 * (40 + 3)
    assert np.median(np.array(seconds) / np.array(own[7::2])) <= 1.01


def test_it_agrees_with_ten_lines_of_anybodys() -> None:
    """A loop of its own, in turns with the harness."""
    with load_engine("edge-256") as engine:
        picture = np.zeros((1, 256, 256, 3), np.uint8)
        ratios: list[float] = []
        for _ in range(120):
            time.sleep(0.03)
            engine.infer_all(picture)
            start = time.perf_counter()
            engine.infer_all(picture)
            anybody = time.perf_counter() - start
            [ours] = interleaved({"work": lambda: engine.infer_all(picture)}, 1, warm_up=0)["work"]
            ratios.append(ours / anybody)
    assert np.median(ratios) == pytest.approx(1, rel=0.05)


def test_statistics() -> None:
    numbers = statistics(np.arange(1, 102, dtype=float))
    assert (numbers["min"], numbers["p50"], numbers["p90"], numbers["max"], numbers["mean"]) == (1, 51, 91, 101, 51)
    assert numbers["cv_percent"] == pytest.approx(100 * np.arange(1, 102).std() / 51)


def readings(clock: Callable[[float], float], **others: float) -> list[Reading]:
    """A minute at 12 W."""
    return [
        Reading(at, {"power_w.board": 12.0, "clock_mhz.gpu": clock(at), "temperature_c.gpu": 40 + at / 2, **others})
        for at in np.arange(0, 60, 0.5).tolist()
    ]


def steadily(at: float) -> float:
    return 1000.0


def calls(*every_s: float, seconds: float = 60.0) -> np.ndarray:
    """When calls end that take so long, one part of the run after the other."""
    part = seconds / len(every_s)
    return np.cumsum(np.concatenate([np.full(round(part / each), each) for each in every_s]))


REST = Idle({"board": 2.0}, 40.0)


def test_a_board_that_gets_hot() -> None:
    hot = sustained(calls(0.01, 0.0125), 1, readings(lambda at: 1000.0 if at < 30 else 800.0), "gpu", REST)
    assert hot["cold_fps"] == pytest.approx(100, rel=0.01)
    assert hot["steady_fps"] == pytest.approx(80, rel=0.01)
    assert hot["slower_from_s"] == 30
    assert hot["comparable"] is False
    assert hot["clocks_mhz"]["gpu"] == {"first": 1000, "p5": 800, "p95": 1000, "moved_share": 0.5}
    assert hot["mj_per_frame"] == pytest.approx(150, rel=0.01)
    assert hot["mj_per_frame_above_idle"] == pytest.approx(125, rel=0.01)
    assert hot["temperature_c"]["gpu"][-1][1] == pytest.approx(69.75)
    assert hot["power_over_time_w"]["board"][0][1] == 12
    assert hot["clock_over_time_mhz"]["gpu"][0][1] == 1000
    cool = sustained(calls(0.01), 2, readings(steadily), "gpu", Idle({}, None))
    assert (cool["comparable"], cool["slower_from_s"], cool["mj_per_frame_above_idle"]) == (True, None, None)
    assert cool["steady_fps"] == pytest.approx(200, rel=0.01)
    unknown = sustained(calls(0.01, seconds=6), 1, [], "gpu", Idle({}, None))
    assert (unknown["comparable"], unknown["power_w"], unknown["mj_per_frame"]) == (None, None, None)


def test_what_is_not_comparable() -> None:
    def compared(
        *every_s: float, clock: Callable[[float], float] = steadily, unit: str = "gpu", **others: float
    ) -> object:
        return sustained(calls(*every_s), 1, readings(clock, **others), unit, REST)["comparable"]

    assert compared(0.01) is True
    assert compared(0.01, clock=lambda at: 600.0 if at > 20 and at % 5 < 2 else 1000.0) is False  # it comes and goes
    assert compared(0.01, 0.012) is False  # slower, whatever the clocks say
    assert compared(0.01, unit="cpu") is None  # the clock is that of another
    assert compared(0.01, unit="cpu", **{"clock_mhz.cpu": 1500.0}) is True
    assert compared(*(0.01, 0.01, 0.01, 0.0154) * 5) is False  # slower every now and then
    assert compared(0.01, clock=lambda at: 0.0) is None  # a clock that stands still tells nothing
    short = sustained(calls(0.01, seconds=3), 1, readings(steadily), "gpu", REST)
    assert short["comparable"] is None
    for cause, unit, comparable in (("oc3", "gpu", False), ("gpu", "gpu", False), ("gpu", "cpu", True)):
        held = readings(steadily, **{f"throttled.{cause}": 7.0, "clock_mhz.cpu": 1500.0})
        found = sustained(calls(0.01), 1, held, unit, REST)
        assert (found["comparable"], found["throttled"]) == (comparable, {} if comparable else {cause: 7})


@pytest.mark.parametrize(("every_s", "jitter"), [(0.2917, 0.0), (0.1, 0.05), (0.009, 0.3)])
def test_a_steady_machine_is_not_called_slower(every_s: float, jitter: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        count = round(60 / every_s)
        ends = np.cumsum(every_s * np.maximum(0.1, generator.normal(1, jitter, count)))
        found = sustained(ends, 1, [], "cpu", Idle({}, None))
        assert found["slower_from_s"] is None
        assert found["steady_fps"] == pytest.approx(1 / every_s, rel=0.05)
    rates = np.array([100.0] * 59 + [50.0])
    assert slower_from(np.arange(60.0), rates, 100.0, 60.0) is None  # by its last second alone


def test_few_long_calls() -> None:
    found = sustained(np.array([25.0, 61.0]), 4, readings(lambda at: 0.0), "gpu", REST)
    assert found["steady_fps"] == pytest.approx(4 / 36, rel=0.01)
    assert found["mj_per_frame"] > 0
    assert found["clocks_mhz"] == {}


def test_power_is_that_of_what_works() -> None:
    both = [Reading(at, {"power_w.gpu": 200.0, "power_w.package": 50.0}) for at in np.arange(0, 60, 0.5).tolist()]
    for unit, scope, watts in (("gpu", "gpu", 200), ("cpu", "package", 50)):
        found = sustained(calls(0.01), 1, both, unit, REST)
        assert (found["power_scope"], found["power_w"]) == (scope, watts)
    package = [Reading(1.0, {"power_w.package": 50.0})]
    assert sustained(calls(0.01), 1, package, "gpu", REST)["power_w"] is None


def test_what_is_warned_of(report: dict) -> None:
    [row, _] = report["models"]
    quick = {**row, "fps": 100.0, "throughput_fps": 140.0, "sustain": {"comparable": False}}
    moved = {"cpu": {"first": 2000.0, "p5": 1500.0, "p95": 2000.0, "moved_share": 0.4}}
    clock, hurried, lasting = warnings([quick], moved)
    assert "the cpu clock went from 1500 to 2000 MHz" in clock
    assert "1.40 times as fast one call after the other" in hurried
    assert "not comparable" in lasting
    still = {**row, "fps": 100.0, "throughput_fps": 101.0, "sustain": {"comparable": True}}
    assert warnings([still], {"gpu": moved["cpu"]}) == []  # nothing ran on it


class Breaks:
    """An engine whose runtime fails after some calls."""

    def __init__(self, good: int) -> None:
        self._engine, self._left = load_engine("edge-256"), good
        self.spec, self.description = self._engine.spec, self._engine.description

    def infer_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("out of memory\nat line 7")
        return self._engine.infer_all(images)

    def close(self) -> None:
        self._engine.close()


def test_a_long_run_that_breaks_off() -> None:
    def work() -> None:
        time.sleep(0.01)
        if time.monotonic() > until:
            raise EngineError("out of memory")

    until = time.monotonic() + 1
    found = sustain(work, 1, 30.0, "cpu", Idle({}, None))
    assert found["error"] == "out of memory"
    assert 0 < found["seconds"] < 30
    assert found["steady_fps"] > 0
    with pytest.raises(EngineError, match="out of memory"):  # at once
        sustain(work, 1, 30.0, "cpu", Idle({}, None))


def test_one_batch_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = measuring.cold_start

    def fresh(path: Path, batch: int, options: dict) -> dict:
        if batch == 4:
            raise ModelError("out of memory")
        return real(path, batch, options)

    monkeypatch.setattr(measuring, "in_a_fresh_process", fresh)
    found = measure([("edge-256", resolve("edge-256").path)], Settings(rounds=2, batches=(1, 4)))
    assert [row["batch"] for row in found["models"]] == [1]
    assert found["failures"] == [{"model": "edge-256, batch 4", "error": "out of memory"}]


@pytest.mark.parametrize("good", [0, 30])
def test_an_engine_that_fails_when_it_runs(good: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At once, or in the middle of the rounds: the others are measured, the first that can be is compared with."""
    shutil.copy(resolve("edge-256").path, tmp_path / "bad.onnx")
    real = measuring.load_engine
    monkeypatch.setattr(
        measuring, "load_engine", lambda path, **options: Breaks(good) if path.stem == "bad" else real(path, **options)
    )
    models = [("bad", tmp_path / "bad.onnx"), ("edge-256", resolve("edge-256").path)]
    found = measure(models, Settings(rounds=40))
    assert found["failures"] == [{"model": "bad, batch 1", "error": "bad could not run (found: out of memory)"}]
    [row] = found["models"]
    assert (row["name"], row["times_as_fast"]) == ("edge-256", 1)


def test_a_process_that_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no setting nonsense"):
        cold_start(resolve("edge-256").path, 1, {"nonsense": 1})
    nothing = tmp_path / "python"
    nothing.write_text("#!/bin/sh\nexit 3\n")
    nothing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(nothing))
    with pytest.raises(ModelError, match="ended its process"):
        cold_start(resolve("edge-256").path, 1, {})


def test_settings_that_measure_nothing() -> None:
    for settings in ({"rounds": 0}, {"batches": ()}, {"batches": (0,)}):
        with pytest.raises(EdgeSegfaceError, match="nothing to measure"):
            Settings(**settings)  # type: ignore[arg-type]


def test_lengths_of_time() -> None:
    assert [parse_seconds(text) for text in ("90s", "10m", "1h", "7")] == [90, 600, 3600, 7]
    for text in ("", "m", "-3s", "0", "nan"):
        with pytest.raises(EdgeSegfaceError, match="is not a valid duration"):
            parse_seconds(text)


def test_markdown_and_a_page_by_itself(report: dict) -> None:
    written = markdown(report)
    assert written.count("| edge-256 |") == 2 * 3  # latency, rates, a fresh process
    assert "95.96" in written
    assert "- nothing was not measured" in written
    text = page(report)
    assert text.count("<svg") >= 1 + 2 + 2  # bars, histograms, rates over time, and sensors if there are any
    assert "src=" not in text
    assert "http" not in text
    assert "<script" not in page({**report, "date": "<script>alert(1)</script>"})
    on_a_gpu = [{**row, "gpu_ms": {"all": 1.0, "up": 0.1, "compute": 0.8, "down": 0.1}} for row in report["models"]]
    assert "**on the GPU**" in markdown({**report, "models": on_a_gpu})
    drawn = ET.fromstring(by_itself(bars(["a & b", f"{'long/' * 30}c"], [1.0, 2.0], 95.96)))  # whole by itself
    assert all(float(each.get("width", "0")) > 0 for each in drawn.iter("{http://www.w3.org/2000/svg}rect"))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed here")
def test_the_page_in_a_real_browser(report: dict, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    (tmp_path / "report.html").write_text(page(report))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        requests: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((tmp_path / "report.html").as_uri())
        pictures = tab.locator("svg")
        assert pictures.count() >= 5
        assert tab.locator("table tr").count() == 3 * 3
        assert all(pictures.nth(at).bounding_box()["height"] > 50 for at in range(pictures.count()))
        assert len(requests) == 1
        browser.close()


def test_comparing(report: dict) -> None:
    faster = json.loads(json.dumps(report))
    for row in faster["models"]:
        row["latency_ms"]["p50"] /= 2
        row["samples_ms"] = [sample / 2 for sample in row["samples_ms"]]
        row["power_state"] = {"nvpmodel": "MAXN"}
    faster["models"][1]["engine"] = "another"
    faster["warnings"] = ["the long run is not comparable"]
    found = compare({**report, "warnings": []}, faster)
    one, other = found.ratios
    assert (one.faster, other.faster) == (2, 2)
    assert one.between[0] <= 2 <= one.between[1]
    assert one.differs["power_state.nvpmodel"] == (None, "MAXN")
    assert "power_state.nvpmodel differs: None and MAXN" in found.warnings  # once, as it is of all
    assert any(line.startswith("engine differs") and line.endswith("(edge-256, batch 2)") for line in found.warnings)
    assert "the second report warns: the long run is not comparable" in found.warnings
    assert compare(report, report).ratios[0].differs == {}
    alone = compare(report, {**report, "models": report["models"][:1]})
    assert "edge-256, batch 2, is only in the first report" in alone.warnings
    with pytest.raises(EdgeSegfaceError, match="no engine in common"):
        compare(report, {"models": []})
    with pytest.raises(EdgeSegfaceError, match="no engine in common"):  # a batch is not another
        compare({**report, "models": report["models"][:1]}, {**report, "models": report["models"][1:]})


def test_the_command(tmp_path: Path, report: dict) -> None:
    out = {kind: tmp_path / f"r.{kind}" for kind in ("json", "markdown", "html")}
    options = [word for kind, path in out.items() for word in (f"--{kind}", path)]
    (tmp_path / "bad.pt").write_text("no weights")
    result = run_cli("benchmark", "edge-256", tmp_path / "no.onnx", tmp_path / "bad.pt", "--rounds", 5, *options)
    assert result.returncode == 1  # of one that could not be measured, when all others are
    assert "no.onnx was not measured" in result.stderr
    assert "bad.pt was not measured" in result.stderr
    assert "…" not in result.stdout  # numbers are whole in a narrow terminal
    assert "edge-256" in result.stdout
    first = load_report(out["json"])
    assert len(first["models"]) == 1
    assert out["html"].read_text().startswith("<!doctype html>")
    (tmp_path / "s.json").write_text(json.dumps(report))
    compared = run_cli("benchmark", "--compare", out["json"], tmp_path / "s.json")
    assert compared.returncode == 0, compared.stderr
    assert "times as fast" in compared.stdout
    assert "settings.rounds differs: 5 and 10" in compared.stderr
    again = tmp_path / "again" / "edge.pt"  # of the same name
    again.parent.mkdir()
    shutil.copy(FOLDER / "edge.pt", again)
    sizes = ("--size", 128, "--rounds", 3, "--json", tmp_path / "sizes.json")
    sized = run_cli("benchmark", FOLDER / "edge.pt", again, *sizes)
    assert sized.returncode == 0, sized.stderr
    names = [row["name"] for row in load_report(tmp_path / "sizes.json")["models"]]
    assert names == [f"{path} at 128" for path in (FOLDER / "edge.pt", again)]


def test_bad_input_is_one_line(tmp_path: Path, report: dict) -> None:
    (tmp_path / "old.json").write_text(json.dumps({**report, "schema": 0}))
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    good = tmp_path / "good.json"
    good.write_text(json.dumps(report))
    (tmp_path / "cut.json").write_text(json.dumps({**report, "models": [{"name": "x"}, 1]}))
    for arguments, words in (
        ((), "nothing to measure"),
        (("edge-256", "--json", tmp_path), "a folder"),
        (("edge-256", "--sustain", "long"), "is not a valid duration"),
        (("--compare", good, tmp_path / "old.json"), "of another version (found: schema 0 instead of 2)"),
        (("--compare", good, tmp_path / "cut.json"), "is not a complete report (found: no batch"),
        (("edge-256", "--json", "/proc/r.json"), "cannot write /proc/r.json"),  # before anything is measured
        (("--compare", good, tmp_path / "other.json"), "is not a benchmark report"),
        (("--compare", good, tmp_path / "broken.json"), "is not a readable report"),
        (("--compare", good, tmp_path / "none.json"), "is not a readable report"),
    ):
        assert_one_line_error(run_cli("benchmark", *arguments), words)
    assert run_cli("benchmark", "edge-256", "--rounds", 0).returncode == 2

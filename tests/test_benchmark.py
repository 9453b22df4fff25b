"""The harness: what it adds, what it says of long runs, and its reports."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from edge_segface.bench.compare import compare
from edge_segface.bench.measure import Settings, measure, seconds_from, statistics, sustained
from edge_segface.bench.report import load_report, markdown, page
from edge_segface.bench.rounds import interleaved
from edge_segface.bench.telemetry import Reading
from edge_segface.engine import load_engine
from edge_segface.errors import EdgeSegfaceError
from edge_segface.weights import FOLDER, model_path
from tests.conftest import CHROMIUM, assert_one_line_error, run_cli


@pytest.fixture(scope="module")
def report() -> dict:
    models = [("edge-256", model_path("edge-256")), ("nothing", Path("nothing.onnx"))]
    return measure(models, Settings(rounds=10, batches=(1, 2), sustain_s=2))


def test_the_report(report: dict) -> None:
    assert report["schema"] == 1
    assert [(row["name"], row["batch"]) for row in report["models"]] == [("edge-256", 1), ("edge-256", 2)]
    [failure] = report["failures"]
    assert failure["model"] == "nothing"
    assert "does not exist" in failure["error"]
    for row in report["models"]:
        times = row["latency_ms"]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p95"] <= times["p99"] <= times["max"]
        assert row["fps"] == pytest.approx(1e3 * row["batch"] / times["mean"], rel=0.01)
        assert row["settings"]["rounds"] == len(row["samples_ms"]) == 10
        assert row["machine"]["cores"] > 0
        assert row["load_ms"] > 0
        assert row["first_ms"] > 0
        assert row["peak_mb"] > row["peak_mb_above_start"] > 0
        assert row["sustain"]["steady_fps"] > 0
    assert report["models"][0]["times_as_fast"] == 1
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
    with load_engine("edge-256") as engine:
        picture = np.zeros((1, 256, 256, 3), np.uint8)
        anybody: list[float] = []

        def work() -> None:
            start = time.perf_counter()
            engine.infer_all(picture)
            anybody.append(time.perf_counter() - start)

        seconds = interleaved({"work": work}, 30)["work"]
    assert np.median(seconds) == pytest.approx(np.median(anybody[7::2]), rel=0.01)


def test_statistics() -> None:
    numbers = statistics(np.arange(1, 102, dtype=float))
    assert (numbers["min"], numbers["p50"], numbers["p90"], numbers["max"], numbers["mean"]) == (1, 51, 91, 101, 51)
    assert numbers["cv_percent"] == pytest.approx(100 * np.arange(1, 102).std() / 51)


def readings(clock_late: float) -> list[Reading]:
    """A minute at 12 W, whose clock is another in the second half."""
    return [
        Reading(
            at,
            {
                "power_w": 12.0,
                "clock_mhz.gpu": 1000.0 if at < 30 else clock_late,
                "temperature_c.gpu": 40 + at / 2,
            },
        )
        for at in np.arange(0, 60, 0.5).tolist()
    ]


def test_a_board_that_gets_hot() -> None:
    starts = np.concatenate([np.arange(0, 30, 0.01), np.arange(30, 60, 0.0125)])  # 100 FPS, then 80
    hot = sustained(starts, 1, 60.0, readings(800.0), {}, 2.0)
    assert hot["cold_fps"] == pytest.approx(100, rel=0.01)
    assert hot["steady_fps"] == pytest.approx(80, rel=0.01)
    assert hot["slower_from_s"] == 30
    assert hot["comparable"] is False
    assert hot["moved_percent"] == {"gpu": -20.0}
    assert hot["mj_per_frame"] == pytest.approx(150, rel=0.01)
    assert hot["mj_per_frame_above_idle"] == pytest.approx(125, rel=0.01)
    assert hot["temperature_c"]["gpu"][-1][1] == pytest.approx(69.75)
    cool = sustained(np.arange(0, 60, 0.01), 2, 60.0, readings(1000.0), {"wobbly": 3}, None)
    assert (cool["comparable"], cool["slower_from_s"], cool["mj_per_frame_above_idle"]) == (True, None, None)
    assert cool["steady_fps"] == pytest.approx(200, rel=0.01)
    unknown = sustained(np.arange(0, 6, 0.01), 1, 6.0, [], {}, None)
    assert (unknown["comparable"], unknown["power_w"], unknown["mj_per_frame"]) == (None, None, None)


def test_lengths_of_time() -> None:
    assert [seconds_from(text) for text in ("90s", "10m", "1h", "7")] == [90, 600, 3600, 7]
    for text in ("", "m", "-3s", "0", "nan"):
        with pytest.raises(EdgeSegfaceError, match="is no length of time"):
            seconds_from(text)


def test_markdown_and_a_page_by_itself(report: dict) -> None:
    written = markdown(report)
    assert written.count("| edge-256 |") == 2
    assert "95.96" in written
    assert "- nothing was not measured" in written
    text = page(report)
    assert text.count("<svg") == 1 + 2 + 2  # bars, histograms, rates over time
    assert "src=" not in text
    assert "http" not in text
    assert "<script" not in page({**report, "date": "<script>alert(1)</script>"})


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed here")
def test_the_page_in_a_real_browser(report: dict, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    (tmp_path / "report.html").write_text(page(report))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        requests: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((tmp_path / "report.html").as_uri())
        assert tab.locator("svg").count() == 5
        assert tab.locator("table tr").count() == 3
        assert all(tab.locator("svg").nth(at).bounding_box()["height"] > 50 for at in range(5))
        assert len(requests) == 1
        browser.close()


def test_comparing(report: dict, tmp_path: Path) -> None:
    faster = json.loads(json.dumps(report))
    for row in faster["models"]:
        row["latency_ms"]["p50"] /= 2
        row["power_state"] = {"nvpmodel": "MAXN"}
    one, other = compare(report, faster)
    assert (one.faster, other.faster) == (2, 2)
    assert one.differs == {"power_state.nvpmodel": (None, "MAXN")}
    assert compare(report, report)[0].differs == {}
    with pytest.raises(EdgeSegfaceError, match="no engine in common"):
        compare(report, {"models": []})


def test_the_command(tmp_path: Path, report: dict) -> None:
    out = {kind: tmp_path / f"r.{kind}" for kind in ("json", "markdown", "html")}
    options = [word for kind, path in out.items() for word in (f"--{kind}", path)]
    result = run_cli("benchmark", "edge-256", tmp_path / "no.onnx", "--rounds", 5, *options)
    assert result.returncode == 1  # of one that could not be measured, when all others are
    assert "no.onnx was not measured" in result.stderr
    assert "edge-256" in result.stdout
    first = load_report(out["json"])
    assert len(first["models"]) == 1
    assert out["html"].read_text().startswith("<!doctype html>")
    (tmp_path / "s.json").write_text(json.dumps(report))
    compared = run_cli("benchmark", "--compare", out["json"], tmp_path / "s.json")
    assert compared.returncode == 0, compared.stderr
    assert "times as fast" in compared.stdout
    assert "settings.rounds differs: 5 and 10" in compared.stderr
    sized = run_cli("benchmark", FOLDER / "edge.pt", "--size", 128, "--size", 160, "--rounds", 3)
    assert sized.returncode == 0, sized.stderr
    assert "edge-128" in sized.stdout
    assert "edge-160" in sized.stdout


def test_bad_input_is_one_line(tmp_path: Path, report: dict) -> None:
    (tmp_path / "old.json").write_text(json.dumps({**report, "schema": 0}))
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    good = tmp_path / "good.json"
    good.write_text(json.dumps(report))
    for arguments, words in (
        ((), "nothing to measure"),
        (("edge-256", "--json", tmp_path), "a folder"),
        (("edge-256", "--sustain", "long"), "is no length of time"),
        (("--compare", good, tmp_path / "old.json"), "of another version (found: schema 0 instead of 1)"),
        (("--compare", good, tmp_path / "other.json"), "is no benchmark report"),
        (("--compare", good, tmp_path / "broken.json"), "is no report that can be read"),
        (("--compare", good, tmp_path / "none.json"), "is no report that can be read"),
    ):
        assert_one_line_error(run_cli("benchmark", *arguments), words)
    assert run_cli("benchmark", "edge-256", "--rounds", 0).returncode == 2

"""Reports: the recorded JSON, Markdown, the HTML page, plots, warnings and comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from edge_segface.bench.compare import compare
from edge_segface.bench.html_report import html_page
from edge_segface.bench.plots import Axis, bar_chart, histogram, line_chart, shared_range_ms, svg_file
from edge_segface.bench.report import markdown, sustained_lines
from edge_segface.bench.results import BenchmarkReport, Clock, load_report
from edge_segface.bench.statistics import report_warnings
from edge_segface.errors import EdgeSegfaceError
from tests.conftest import CHROMIUM


def test_recorded_report_is_read_and_written_unchanged(recorded: BenchmarkReport, recorded_path: Path) -> None:
    assert json.loads(json.dumps(recorded.to_json())) == json.loads(recorded_path.read_text())


def test_result_without_sustained_load_has_no_such_key(recorded: BenchmarkReport) -> None:
    result = replace(recorded.models[0], sustain=None)
    [row] = replace(recorded, models=[result]).to_json()["models"]
    assert "sustain" not in row


def test_keys_of_a_newer_version_are_ignored(recorded: BenchmarkReport) -> None:
    content = recorded.to_json()
    content["models"][0]["added_later"] = content["added_later"] = 1
    assert BenchmarkReport.from_json(content) == recorded


def changed(report: BenchmarkReport, **values: Any) -> str:
    return json.dumps({**report.to_json(), **values})


def test_unusable_reports_are_rejected(recorded: BenchmarkReport, tmp_path: Path) -> None:
    without_samples = recorded.to_json()
    without_samples["models"][0]["samples_ms"] = []
    for content, words in (
        ("{", "is not a readable report"),
        ("{}", "is not a benchmark report"),
        (changed(recorded, schema=0), r"has another schema \(found: schema 0 instead of 2\)"),
        (
            changed(recorded, models=[{"name": "x"}, 1]),
            r"is not a complete report \(found: models\[0\]\.model is missing",
        ),
        (changed(recorded, failures=[1]), "is not a complete report"),
        (json.dumps(without_samples), "no samples_ms"),
    ):
        path = tmp_path / "report.json"
        path.write_text(content)
        with pytest.raises(EdgeSegfaceError, match=words):
            load_report(path)
    with pytest.raises(EdgeSegfaceError, match="is not a readable report"):
        load_report(tmp_path / "missing.json")


def on_a_gpu(report: BenchmarkReport) -> BenchmarkReport:
    gpu_ms = {"all": 1.0, "up": 0.1, "compute": 0.8, "down": 0.1}
    return replace(report, models=[replace(result, gpu_ms=gpu_ms) for result in report.models])


def test_markdown_has_every_table_and_failure(recorded: BenchmarkReport) -> None:
    text = markdown(recorded)
    assert text.count("| edge-256 |") == 2 * 3  # latency, rates, cold start
    assert "95.96" in text
    assert "- missing.onnx was not measured" in text
    assert "- edge-256, batch 1, 2.1 s: 9.8 FPS cold, 9.2 steady; power not measured" in text
    assert "**on the GPU**" in markdown(on_a_gpu(recorded))


def test_page_is_self_contained_and_escaped(recorded: BenchmarkReport) -> None:
    page = html_page(recorded)
    assert page.count('role="img"') == 1 + 2 + 2  # bars, histograms, rates over time
    assert "src=" not in page
    assert "http" not in page
    assert "<script" not in html_page(replace(recorded, date="<script>alert(1)</script>"))


def test_svg_file_is_valid_xml() -> None:
    root = ET.fromstring(svg_file(bar_chart(["a & b", f"{'long/' * 30}c"], [1.0, 2.0], 95.96)))
    rectangles = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(rectangles) == 2
    assert all(float(each.get("width", "0").removesuffix("%")) > 0 for each in rectangles)


def test_all_histograms_share_a_range_that_a_few_slow_calls_do_not_widen(recorded: BenchmarkReport) -> None:
    quick, slow = [10.0 + 0.01 * index for index in range(200)], [20.0 + 0.01 * index for index in range(200)]
    low, high = shared_range_ms([quick, [*slow, 500.0]])
    assert low < 10
    assert 22 < high < 30
    assert shared_range_ms([[5.0]]) == pytest.approx((4.75, 5.25))  # calls that all take the same time
    page = html_page(recorded)
    samples = [result.samples_ms for result in recorded.models]
    for result, fill in zip(recorded.models, ("#23b391", "#4f8fe6"), strict=True):
        assert histogram(f"{result.name} × {result.batch}", result.samples_ms, shared_range_ms(samples), fill) in page


def test_histogram_marks_percentiles_and_names_what_lies_beyond() -> None:
    samples = [*(10.0 + 0.1 * index for index in range(101)), 90.0]
    plot = ET.fromstring(histogram("edge", samples, (9.0, 25.0), "#123456"))
    texts = [each.text for each in plot.iter("text")]
    assert {"p50 15.05 ms", "p99 20.00 ms", "latency, ms", "calls", "1 slower, up to 90.0 ms →"} <= set(texts)
    at = {each.text: float(each.get("x", "").removesuffix("%")) for each in plot.iter("text")}
    assert at["p50 15.05 ms"] == pytest.approx(Axis(9, 25, 10, 97)(15.05), abs=0.01)


def test_axis_has_round_ticks_inside_its_range() -> None:
    assert Axis(0, 26, 0, 100).ticks() == [(0, "0"), (10, "10"), (20, "20")]
    assert [text for _, text in Axis(28.9, 30.1, 0, 100).ticks()] == ["29.0", "29.5", "30.0"]
    assert [text for _, text in Axis(0.0, 0.05, 0, 1).ticks()] == ["0.00", "0.01", "0.02", "0.03", "0.04", "0.05"]


def test_lines_that_do_not_change_are_drawn_and_empty_ones_are_not() -> None:
    assert line_chart({"cpu": []}, "MHz") == ""
    root = ET.fromstring(line_chart({"cpu": [(0.0, 1500.0), (2.0, 1500.0)], "gpu": [(0.0, 0.0)]}, "MHz"))
    assert len(list(root.iter("polyline"))) == 2
    assert ET.fromstring(line_chart({"gpu": [(0.0, 0.0)]}, "°C")).get("aria-label") == "gpu in °C over time"


# Texts of plots that end outside of their plot.
OUTSIDE = """() => [...document.querySelectorAll("svg text")].filter((text) => {
  const inside = text.ownerSVGElement.getBoundingClientRect(), box = text.getBoundingClientRect();
  return box.left < inside.left - 1 || box.right > inside.right + 1;
}).map((text) => text.textContent)"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_in_a_real_browser(recorded: BenchmarkReport, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    (tmp_path / "report.html").write_text(html_page(recorded))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        requests: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((tmp_path / "report.html").as_uri())
        plots = tab.locator("svg[role=img]")
        assert plots.count() == 5
        assert tab.locator("table tr").count() == 3 * 3
        ground = "getComputedStyle(document.body).backgroundColor"
        light = tab.evaluate(ground)
        tab.emulate_media(color_scheme="dark")
        assert tab.evaluate(ground) != light
        assert plots.nth(1).bounding_box()["width"] > 0.9 * 1280
        tab.set_viewport_size({"width": 390, "height": 844})  # a phone
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert all(plots.nth(index).bounding_box()["height"] > 100 for index in range(plots.count()))
        assert tab.evaluate(OUTSIDE) == []
        assert len(requests) == 1
        browser.close()


def test_sustained_lines_give_the_reasons(recorded: BenchmarkReport) -> None:
    load = recorded.models[0].sustain
    assert load is not None
    moved = {"cpu": Clock(first=2000.0, p5=1500.0, p95=2000.0, moved_share=0.4)}
    hot = replace(
        load,
        power_w=12.0,
        power_scope="board",
        mj_per_frame=150.0,
        mj_per_frame_above_idle=125.0,
        temperature_c={"cpu": [(0.0, 40.0), (1.0, 71.0)]},
        clocks_mhz=moved,
        throttled={"oc3": 7.0},
        slower_from_s=30.0,
        waited_s=4.0,
        error="out of memory",
    )
    summary, interrupted, waited, reasons = sustained_lines(replace(recorded.models[0], sustain=hot))
    assert summary.endswith("12.00 W (board), 150.00 mJ per frame (125.00 above idle); at most cpu 71 °C")
    assert interrupted == "interrupted: out of memory"
    assert waited == "waited 4 s to cool down to 40 °C"
    assert reasons == (
        "NOT COMPARABLE: slower from second 30; cpu clock not at 2000 MHz for 40 % of the run (1500 to 2000); "
        "clocks throttled, oc3: 7"
    )
    unknown = replace(load, comparable=None)
    assert sustained_lines(replace(recorded.models[0], sustain=unknown))[1].startswith(
        "the cpu clock could not be read"
    )
    assert sustained_lines(replace(recorded.models[0], sustain=None)) == []


def test_warnings_name_what_limits_the_numbers(recorded: BenchmarkReport) -> None:
    result = recorded.models[0]
    moved = Clock(first=2000.0, p5=1500.0, p95=2000.0, moved_share=0.4)
    clock, burst, sustained = report_warnings([replace(result, fps=100.0, throughput_fps=140.0)], {"cpu": moved})
    assert "the cpu clock varied from 1500 to 2000 MHz" in clock
    assert "1.40 times as fast back to back" in burst
    assert "the sustained run is not comparable" in sustained
    steady = replace(result, fps=100.0, throughput_fps=101.0, sustain=None)
    assert report_warnings([steady], {"gpu": moved}) == []  # nothing ran on the GPU


def test_comparison_gives_speed_ups_and_every_difference(recorded: BenchmarkReport) -> None:
    faster = [
        replace(
            result,
            latency_ms=replace(result.latency_ms, p50=result.latency_ms.p50 / 2),
            samples_ms=[sample / 2 for sample in result.samples_ms],
            power_state={"nvpmodel": "MAXN"},
        )
        for result in recorded.models
    ]
    faster[1] = replace(faster[1], engine="another", settings=replace(faster[1].settings, rounds=6))
    found = compare(recorded, replace(recorded, models=faster, warnings=["the clock moved"]))
    one, other = found.speed_ups
    assert (one.ratio, other.ratio) == (2, 2)
    assert one.interval[0] <= 2 <= one.interval[1]
    assert one.differences == {"power_state.nvpmodel": (None, "MAXN")}
    assert "power_state.nvpmodel differs: None and MAXN" in found.warnings  # once, because it concerns all engines
    assert "settings.rounds differs: 5 and 6 (edge-256, batch 2)" in found.warnings
    assert any(line.startswith("engine differs") and line.endswith("(edge-256, batch 2)") for line in found.warnings)
    assert "warning in the second report: the clock moved" in found.warnings
    assert compare(recorded, recorded).speed_ups[0].differences == {}


def test_comparison_pairs_by_name_and_batch(recorded: BenchmarkReport) -> None:
    single, double = recorded.models
    missing_one = compare(recorded, replace(recorded, models=[single]))
    assert "edge-256, batch 2, is only in the first report" in missing_one.warnings
    renamed = replace(recorded, models=[replace(single, name="pico-256")])
    assert compare(replace(recorded, models=[single]), renamed).speed_ups[0].name == "edge-256 -> pico-256"
    for others in ([], [double]):  # different batches are never compared
        with pytest.raises(EdgeSegfaceError, match="no engine in common"):
            compare(replace(recorded, models=[single]), replace(recorded, models=others))

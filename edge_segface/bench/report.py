"""Benchmark reports for people: Markdown, and an HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge_segface.bench.plots import STYLE, bars, colour, histogram, lines_over_time, text
from edge_segface.bench.results import SCHEMA, BenchmarkReport, EngineRow
from edge_segface.bench.sustain import OFTEN, SLOWER
from edge_segface.errors import EdgeSegfaceError, first_line
from edge_segface.typed import value_of

PERCENTILES = ("min", "mean", "p50", "p90", "p95", "p99")
PAGE_STYLE = """
body { margin: 24px auto; max-width: 1080px; padding: 0 16px; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; } h2 { font-size: 17px; margin-top: 32px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { border-radius: 8px; max-width: 100%; height: auto; display: block; margin: 8px 0; }
.warning { color: #d07000; } small, .dim { color: var(--dim); }
"""


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def latency_cells(row: EngineRow) -> dict[str, str]:
    times = dict(row["latency_ms"])
    return {
        **{name: f"{times[name]:.2f}" for name in PERCENTILES},
        "cv %": f"{times['cv_percent']:.1f}",
    }


def rate_cells(row: EngineRow) -> dict[str, str]:
    return {
        "FPS": f"{row['fps']:.1f}",
        "× first": f"{row['times_as_fast']:.2f}",
        "× paper": f"{row['of_paper']:.2f}",
        "burst": f"{row['throughput_fps']:.1f}",
    }


def start_cells(row: EngineRow) -> dict[str, str]:
    return {
        "load ms": number(row["load_ms"], ".0f"),
        "first ms": number(row["first_ms"], ".0f"),
        "peak MB": number(row["peak_mb"], ".0f"),
        "GPU MB": number(row["gpu_mb"], ".0f"),
    }


def gpu_cells(row: EngineRow) -> dict[str, str]:
    return {} if row["gpu_ms"] is None else {f"{name} ms": f"{value:.3f}" for name, value in row["gpu_ms"].items()}


# The tables of a report: title, and the cells of a row.
TABLES: tuple[tuple[str, Callable[[EngineRow], dict[str, str]]], ...] = (
    ("latency, ms", latency_cells),
    ("images per second", rate_cells),
    ("cold start", start_cells),
    ("on the GPU", gpu_cells),
)


def tables(report: BenchmarkReport) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, columns and rows of each table that has content."""
    found = []
    for title, cells in TABLES:
        filled = [(row, cells(row)) for row in report["models"]]
        filled = [(row, values) for row, values in filled if values]
        if filled:
            columns = ["model", "side", "batch", *filled[0][1]]
            rows = [
                [row["name"], str(row["input_size"]), str(row["batch"]), *values.values()] for row, values in filled
            ]
            found.append((title, columns, rows))
    return found


def load_report(path: Path) -> BenchmarkReport:
    """Read a report, or raise with what is missing or wrong in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise EdgeSegfaceError(f"{path} is not a readable report", found=first_line(error)) from error
    if not isinstance(content, dict) or content.get("kind") != "benchmark":
        raise EdgeSegfaceError(
            f"{path} is not a benchmark report", remedy="make one with edge-segface benchmark --json"
        )
    if content.get("schema") != SCHEMA:
        raise EdgeSegfaceError(
            f"{path} has another schema",
            found=f"schema {content.get('schema')} instead of {SCHEMA}",
            remedy="measure again with this version",
        )
    try:
        report: BenchmarkReport = value_of(BenchmarkReport, content, "")
    except (TypeError, ValueError) as error:
        raise EdgeSegfaceError(f"{path} is not a complete report", found=error) from error
    if not all(row["samples_ms"] for row in report["models"]):
        raise EdgeSegfaceError(f"{path} is not a complete report", found="no samples_ms")
    return report


def as_json(report: BenchmarkReport) -> str:
    return json.dumps(report, indent=2) + "\n"


def where(report: BenchmarkReport) -> str:
    machine = report["machine"]
    state = ", ".join(f"{name} {value}" for name, value in report["power_state"].items())
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    clocks = ", ".join(
        f"{name} clock {clock['p5']:g} to {clock['p95']:g} MHz" for name, clock in report["clocks_mhz"].items()
    )
    what = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    return "; ".join(part for part in (what, state, clocks, versions, report["date"]) if part)


def engines(report: BenchmarkReport) -> list[str]:
    return list(dict.fromkeys(f"{row['name']}: {row['engine']}" for row in report["models"]))


def how(row: EngineRow) -> str:
    settings = row["settings"]
    return (
        f"{settings['rounds']} interleaved rounds; each timed call follows an untimed one and a pause of "
        f"{settings['pause_ms']:g} ms; FPS from the mean; × first: speed-up per image over the first engine, median "
        "over rounds; × paper: relative to its 95.96 FPS at 512, one image; burst: calls back to back; inputs are noise"
    )


def sustained_lines(row: EngineRow) -> list[str]:
    last = row["sustain"]
    power = (
        "power not measured"
        if last["power_w"] is None
        else f"{last['power_w']:.2f} W ({last['power_scope']}), {last['mj_per_frame']:.2f} mJ per frame"
        + ("" if last["mj_per_frame_above_idle"] is None else f" ({last['mj_per_frame_above_idle']:.2f} above idle)")
    )
    hottest = [f"{name} {max(value for _, value in points):.0f} °C" for name, points in last["temperature_c"].items()]
    lines = [
        f"{row['name']}, batch {row['batch']}, {last['seconds']:g} s: {last['cold_fps']:.1f} FPS cold, "
        f"{last['steady_fps']:.1f} steady; {power}" + (f"; at most {', '.join(hottest)}" if hottest else "")
    ]
    if last["error"] is not None:
        lines.append(f"interrupted: {last['error']}")
    if last["waited_s"] > 0:
        start = {name: points[0][1] for name, points in last["temperature_c"].items()}
        lines.append(f"waited {last['waited_s']:g} s to cool down to {max(start.values(), default=0):.0f} °C")
    reasons = []
    if last["slower_from_s"] is not None:
        reasons.append(f"slower from second {last['slower_from_s']:g}")
    elif last["steady_fps"] < SLOWER * last["cold_fps"]:
        reasons.append("slower at the end than at the start")
    reasons += [
        f"{name} clock not at {clock['first']:g} MHz for {100 * clock['moved_share']:.0f} % of the run "
        f"({clock['p5']:g} to {clock['p95']:g})"
        for name, clock in last["clocks_mhz"].items()
        if name == last["unit"] and clock["moved_share"] > OFTEN
    ]
    reasons += [f"clocks held down, {cause}: {count:g}" for cause, count in last["throttled"].items()]
    if last["comparable"] is False:
        lines.append(f"NOT COMPARABLE: {'; '.join(reasons)}")
    elif last["comparable"] is None:
        why = (
            "the run was short" if last["unit"] in last["clocks_mhz"] else f"the {last['unit']} clock could not be read"
        )
        lines.append(f"{why}, so comparability is unknown")
    return lines


def markdown(report: BenchmarkReport) -> str:
    lines: list[str] = []
    for title, columns, rows in tables(report):
        lines += [f"**{title}**", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(cells)} |" for cells in rows]
        lines.append("")
    lines += [f"- {line}" for line in engines(report)]
    lines += ["", f"Paper: {report['paper_fps']} FPS. {where(report)}."]
    if report["models"]:
        lines.append(f"{how(report['models'][0])[0].upper()}{how(report['models'][0])[1:]}.")
    for row in report["models"]:
        if "sustain" in row:
            lines += ["", *(f"- {line}" for line in sustained_lines(row))]
    lines += ["", *(f"- warning: {line}" for line in report["warnings"])]
    lines += ["", *(f"- {one['model']} was not measured: {one['error']}" for one in report["failures"])]
    return "\n".join(lines).rstrip() + "\n"


def page(report: BenchmarkReport) -> str:
    rows = report["models"]
    labels = [f"{row['name']} × {row['batch']}" for row in rows]
    parts = ["<h1>edge-segface benchmark</h1>", f"<p class=dim>{text(where(report))}</p>"]
    for title, columns, cells in tables(report):
        heads = "".join(f"<th>{text(name)}</th>" for name in columns)
        parts.append(f"<h2>{text(title)}</h2><div class=scroll><table><tr>{heads}</tr>")
        parts += ["<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in cells]
        parts.append("</table></div>")
    parts += [f"<p>{text(line)}</p>" for line in engines(report)]
    if rows:
        parts.append(f"<p><small>{text(how(rows[0]))}.</small></p>")
        parts += ["<h2>FPS beside the paper's</h2>", bars(labels, [row["fps"] for row in rows], report["paper_fps"])]
        parts += ["<h2>Latency</h2>"]
        parts += [
            histogram(label, row["samples_ms"], colour(at))
            for at, (label, row) in enumerate(zip(labels, rows, strict=True))
        ]
    for label, row in zip(labels, rows, strict=True):
        if "sustain" not in row:
            continue
        last = row["sustain"]
        parts.append(f"<h2>{text(label)} over time</h2>")
        style = "warning" if last["comparable"] is False else "dim"
        parts += [f"<p class={style}>{text(line)}</p>" for line in sustained_lines(row)]
        for unit, lines in (
            ("FPS", {"FPS": last["fps"]}),
            ("W", last["power_over_time_w"]),
            ("°C", last["temperature_c"]),
            ("MHz", last["clock_over_time_mhz"]),
        ):
            parts.append(lines_over_time(lines, unit))
    parts += [f"<p class=warning>{text(line)}</p>" for line in report["warnings"]]
    parts += [
        f"<p class=warning>{text(one['model'])} was not measured: {text(one['error'])}</p>"
        for one in report["failures"]
    ]
    head = f'<meta charset="utf-8"><title>edge-segface benchmark</title><style>{STYLE}{PAGE_STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}' + "\n".join(parts) + "</html>\n"

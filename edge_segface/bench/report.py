"""A benchmark's report for people: Markdown for a pull request, one HTML page without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_segface.bench.compare import SETTINGS
from edge_segface.bench.measure import SCHEMA
from edge_segface.bench.plots import STYLE, bars, colour, histogram, lines_over_time, text
from edge_segface.bench.sustain import OFTEN, SLOWER
from edge_segface.errors import EdgeSegfaceError

Row = dict[str, Any]
PERCENTILES = ("min", "mean", "p50", "p90", "p95", "p99")
ROW = {"name", "batch", "latency_ms", "samples_ms", *SETTINGS}
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


def latency_cells(row: Row) -> dict[str, str]:
    times = row["latency_ms"]
    return {
        **{name: f"{times[name]:.2f}" for name in PERCENTILES},
        "cv %": f"{times['cv_percent']:.1f}",
    }


def rate_cells(row: Row) -> dict[str, str]:
    return {
        "FPS": f"{row['fps']:.1f}",
        "× first": f"{row['times_as_fast']:.2f}",
        "× paper": f"{row['of_paper']:.2f}",
        "burst": f"{row['throughput_fps']:.1f}",
    }


def start_cells(row: Row) -> dict[str, str]:
    return {
        "load ms": number(row["load_ms"], ".0f"),
        "first ms": number(row["first_ms"], ".0f"),
        "peak MB": number(row["peak_mb"], ".0f"),
        "GPU MB": number(row["gpu_mb"], ".0f"),
    }


def gpu_cells(row: Row) -> dict[str, str]:
    return {} if row["gpu_ms"] is None else {f"{name} ms": f"{value:.3f}" for name, value in row["gpu_ms"].items()}


# What a report is laid out as: a title, and the cells of a row.
TABLES: tuple[tuple[str, Callable[[Row], dict[str, str]]], ...] = (
    ("latency, ms", latency_cells),
    ("pictures a second", rate_cells),
    ("in a fresh process", start_cells),
    ("on the GPU", gpu_cells),
)


def tables(report: Row) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, columns and rows of each table that there is something for."""
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


def load_report(path: Path) -> Row:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EdgeSegfaceError(f"{path} is no report that can be read", found=error) from error
    if not isinstance(report, dict) or report.get("kind") != "benchmark":
        raise EdgeSegfaceError(f"{path} is no benchmark report", remedy="make one with edge-segface benchmark --json")
    if report.get("schema") != SCHEMA:
        raise EdgeSegfaceError(
            f"{path} is of another version",
            found=f"schema {report.get('schema')} instead of {SCHEMA}",
            remedy="measure again with this version",
        )
    needed = {"machine", "power_state", "versions", "clocks_mhz", "models", "failures", "warnings"}
    rows = [row if isinstance(row, dict) else {} for row in report.get("models", ())]
    missing = {*needed - report.keys(), *(key for row in rows for key in ROW if not row.get(key))}
    if missing - {"power_state"}:  # which is empty on many machines
        raise EdgeSegfaceError(f"{path} is no whole report", found=f"no {', '.join(sorted(missing))}")
    return report


def as_json(report: Row) -> str:
    return json.dumps(report, indent=2) + "\n"


def where(report: Row) -> str:
    machine = report["machine"]
    state = ", ".join(f"{name} {value}" for name, value in report["power_state"].items())
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    clocks = ", ".join(
        f"{name} clock {clock['p5']:g} to {clock['p95']:g} MHz" for name, clock in report["clocks_mhz"].items()
    )
    what = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    return "; ".join(part for part in (what, state, clocks, versions, report["date"]) if part)


def engines(report: Row) -> list[str]:
    return list(dict.fromkeys(f"{row['name']}: {row['engine']}" for row in report["models"]))


def how(row: Row) -> str:
    settings = row["settings"]
    return (
        f"{settings['rounds']} interleaved rounds, each call after one that is not timed and a pause of "
        f"{settings['pause_ms']:g} ms; FPS from the mean; × first, how fast as the first, a "
        "picture, is the median over rounds; × paper beside its 95.96 FPS at 512, one picture; burst from calls one "
        "right after the other; the picture is noise"
    )


def sustained_lines(row: Row) -> list[str]:
    last = row["sustain"]
    power = (
        "no sensor of its power"
        if last["power_w"] is None
        else f"{last['power_w']:.2f} W ({last['power_scope']}), {last['mj_per_frame']:.2f} mJ a frame"
        + ("" if last["mj_per_frame_above_idle"] is None else f" ({last['mj_per_frame_above_idle']:.2f} above idle)")
    )
    hottest = [f"{name} {max(value for _, value in points):.0f} °C" for name, points in last["temperature_c"].items()]
    lines = [
        f"{row['name']}, batch {row['batch']}, {last['seconds']:g} s: {last['cold_fps']:.1f} FPS cold, "
        f"{last['steady_fps']:.1f} steady; {power}" + (f"; at most {', '.join(hottest)}" if hottest else "")
    ]
    if last["error"] is not None:
        lines.append(f"broke off: {last['error']}")
    if last["waited_s"] > 0:
        start = {name: points[0][1] for name, points in last["temperature_c"].items()}
        lines.append(f"after {last['waited_s']:g} s to cool down to {max(start.values(), default=0):.0f} °C")
    reasons = []
    if last["slower_from_s"] is not None:
        reasons.append(f"slower from second {last['slower_from_s']:g} on")
    elif last["steady_fps"] < SLOWER * last["cold_fps"]:
        reasons.append("slower at last than at first")
    reasons += [
        f"{name} clock elsewhere than {clock['first']:g} MHz for {100 * clock['moved_share']:.0f} % of it "
        f"({clock['p5']:g} to {clock['p95']:g})"
        for name, clock in last["clocks_mhz"].items()
        if name == last["unit"] and clock["moved_share"] > OFTEN
    ]
    reasons += [f"clocks held down, {cause}: {count:g}" for cause, count in last["throttled"].items()]
    if last["comparable"] is False:
        lines.append(f"NOT COMPARABLE: {'; '.join(reasons)}")
    elif last["comparable"] is None:
        why = (
            "the run was short"
            if last["unit"] in last["clocks_mhz"]
            else f"no clock of the {last['unit']} could be read"
        )
        lines.append(f"{why}, so whether it is comparable is not known")
    return lines


def markdown(report: Row) -> str:
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


def page(report: Row) -> str:
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

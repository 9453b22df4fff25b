"""A benchmark's report for people: Markdown for a pull request, one HTML page without anything from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_segface.bench.measure import SCHEMA
from edge_segface.errors import EdgeSegfaceError

COLUMNS = (
    *("model", "batch", "p50 ms", "p90 ms", "p99 ms", "cv %"),
    *("FPS", "× first", "of paper", "burst", "first ms", "peak MB"),
)
COLOURS = ("#39e4be", "#6aa9ff", "#f4da3c", "#ff7ad9", "#ff9a4d", "#b48cff", "#8be04e", "#ff6b6b")
WIDTH, HEIGHT, RIGHT = 640, 220, 20
STYLE = """
:root { color-scheme: light dark; --text: #1c2026; --dim: #626a76; --line: #d5d9df; --ground: #fff; --panel: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8eaee; --dim: #9aa2af; --line: #343943; --ground: #14161a; --panel: #1e2127; }
}
body { margin: 24px auto; max-width: 1080px; padding: 0 16px; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; } h2 { font-size: 17px; margin-top: 32px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { background: var(--panel); border-radius: 8px; max-width: 100%; height: auto; display: block; margin: 8px 0; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; } svg .dim { fill: var(--dim); }
svg .axis { stroke: var(--line); } .warning { color: #d07000; } small, .dim { color: var(--dim); }
"""


def load_report(path: Path) -> dict[str, Any]:
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
    return report


def cells(row: dict[str, Any]) -> list[str]:
    times = row["latency_ms"]
    peak = "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
    return [
        row["name"],
        str(row["batch"]),
        *(f"{times[name]:.2f}" for name in ("p50", "p90", "p99")),
        f"{times['cv_percent']:.1f}",
        f"{row['fps']:.1f}",
        f"{row['times_as_fast']:.2f}",
        f"{row['of_paper']:.2f}",
        f"{row['throughput_fps']:.1f}",
        f"{row['first_ms']:.0f}",
        peak,
    ]


def where(report: dict[str, Any]) -> str:
    machine = report["machine"]
    state = ", ".join(f"{name} {value}" for name, value in report["power_state"].items())
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    what = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    return "; ".join(part for part in (what, state, versions, report["date"]) if part)


def engines(report: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(f"{row['name']}: {row['engine']}" for row in report["models"]))


def how(row: dict[str, Any]) -> str:
    settings = row["settings"]
    return (
        f"{settings['rounds']} interleaved rounds, each call after one that is not timed and a pause of "
        f"{settings['pause_ms']:g} ms; FPS from the mean; × first, how fast as the first, a "
        "picture, is the median over rounds; burst from calls one right after the other; first "
        "inference and peak memory of a fresh process; the picture is noise"
    )


def sustained_lines(row: dict[str, Any]) -> list[str]:
    last = row["sustain"]
    power = "no sensor of power" if last["power_w"] is None else (
        f"{last['power_w']:.2f} W, {last['mj_per_frame']:.2f} mJ a frame"
        + ("" if last["mj_per_frame_above_idle"] is None else f" ({last['mj_per_frame_above_idle']:.2f} above idle)")
    )  # fmt: skip
    hottest = [f"{name} {max(value for _, value in points):.0f} °C" for name, points in last["temperature_c"].items()]
    lines = [
        f"{row['name']}, batch {row['batch']}, {last['seconds']:g} s: {last['cold_fps']:.1f} FPS cold, "
        f"{last['steady_fps']:.1f} steady; {power}" + (f"; at most {', '.join(hottest)}" if hottest else "")
    ]
    if last["slower_from_s"] is not None:
        lines.append(f"slower from second {last['slower_from_s']:g} on")
    if last["comparable"] is None:
        lines.append("no clock could be read, so whether it is comparable is not known")
    elif not last["comparable"]:
        moved = ", ".join(f"{name} {percent:+g} %" for name, percent in last["moved_percent"].items())
        lines.append(f"NOT COMPARABLE: clocks moved ({moved})")
    return lines


def markdown(report: dict[str, Any]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(cells(row))} |" for row in report["models"]]
    lines += ["", *(f"- {line}" for line in engines(report))]
    lines += ["", f"Paper: {report['paper_fps']} FPS. {where(report)}."]
    if report["models"]:
        lines.append(f"{how(report['models'][0])[0].upper()}{how(report['models'][0])[1:]}.")
    for row in report["models"]:
        if "sustain" in row:
            lines += ["", *(f"- {line}" for line in sustained_lines(row))]
    lines += ["", *(f"- {one['model']} was not measured: {one['error']}" for one in report["failures"])]
    return "\n".join(lines).rstrip() + "\n"


def page(report: dict[str, Any]) -> str:
    rows = report["models"]
    labels = [f"{row['name']} × {row['batch']}" for row in rows]
    parts = ["<h1>edge-segface benchmark</h1>", f"<p class=dim>{text(where(report))}</p>"]
    parts.append("<div class=scroll><table><tr>" + "".join(f"<th>{text(name)}</th>" for name in COLUMNS) + "</tr>")
    parts += ["<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells(row)) + "</tr>" for row in rows]
    parts.append("</table></div>")
    if rows:
        parts += [f"<p>{text(line)}</p>" for line in engines(report)]
        parts.append(f"<p><small>{text(how(rows[0]))}.</small></p>")
        parts += ["<h2>FPS beside the paper's</h2>", bars(labels, [row["fps"] for row in rows], report["paper_fps"])]
        parts += ["<h2>Latency</h2>"]
        for at, (label, row) in enumerate(zip(labels, rows, strict=True)):
            parts.append(histogram(label, row["samples_ms"], colour(at)))
    lasting = [(label, row) for label, row in zip(labels, rows, strict=True) if "sustain" in row]
    for label, row in lasting:
        last = row["sustain"]
        parts.append(f"<h2>{text(label)} over time</h2>")
        parts += [f"<p class={'warning' if 'NOT' in line else 'dim'}>{text(line)}</p>" for line in sustained_lines(row)]
        parts.append(lines_over_time({"FPS": last["fps"]}, "FPS"))
        if last["temperature_c"]:
            parts.append(lines_over_time(last["temperature_c"], "°C"))
    for one in report["failures"]:
        parts.append(f"<p class=warning>{text(one['model'])} was not measured: {text(one['error'])}</p>")
    head = f'<meta charset="utf-8"><title>edge-segface benchmark</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}' + "\n".join(parts) + "</html>\n"


def colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def text(value: object) -> str:
    return html.escape(str(value))


def svg(height: float, *parts: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def word(x: float, y: float, value: object, anchor: str = "start", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{text(value)}</text>'


def box(x: float, y: float, wide: float, high: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{fill}"/>'


def axis(left: float, bottom: float) -> str:
    return f'<line class="axis" x1="{left}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'


def bars(labels: Sequence[str], values: Sequence[float], paper: float) -> str:
    """One for each engine, with a line where the paper's figure is."""
    left, step = 190, 28
    scale = (WIDTH - left - 70) / (1.1 * max([*values, paper]))
    parts = []
    for at, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = 14 + at * step
        parts.append(word(left - 8, top + 13, label, "end"))
        parts.append(box(left, top, value * scale, 18, colour(at)))
        parts.append(word(left + value * scale + 6, top + 13, f"{value:.1f}"))
    bottom = 14 + len(labels) * step
    x = left + paper * scale
    parts.append(f'<line x1="{x:.1f}" y1="6" x2="{x:.1f}" y2="{bottom}" stroke="#c90" stroke-dasharray="5 4"/>')
    parts.append(word(x, bottom + 14, f"paper {paper}", "middle"))
    return svg(bottom + 24, *parts)


def histogram(label: str, samples_ms: Sequence[float], fill: str) -> str:
    counts, edges = np.histogram(samples_ms, bins=min(40, max(5, len(samples_ms) // 3)))
    left, bottom, top = 40, HEIGHT - 30, 30
    wide = (WIDTH - left - RIGHT) / len(counts)
    parts = [word(left, 18, label), axis(left, bottom)]
    for at, number in enumerate(counts):
        high = (bottom - top) * number / max(1, counts.max())
        parts.append(box(left + at * wide, bottom - high, wide - 1, high, fill))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        value = edges[0] + share * (edges[-1] - edges[0])
        parts.append(word(left + share * (WIDTH - left - RIGHT), HEIGHT - 10, f"{value:.2f} ms", anchor))
    return svg(HEIGHT, *parts)


def lines_over_time(named: dict[str, list[list[float]]], unit: str) -> str:
    points = [point for line in named.values() for point in line]
    if not points:
        return ""
    last = max(at for at, _ in points) or 1.0
    values = [value for _, value in points]
    least, most = 0.0 if unit == "FPS" else min(values), 1.05 * max(values)
    most = most if most > least else least + 1
    left, bottom, top = 48, HEIGHT - 28, 14

    def x(at: float) -> float:
        return left + (WIDTH - left - RIGHT) * at / last

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - least) / (most - least)

    parts = [axis(left, bottom)]
    for number, (name, line) in enumerate(named.items()):
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(number)}" stroke-width="1.6"/>')
        place = left + 8 + 120 * (number % 4), top + 10 + 15 * (number // 4)
        parts.append(word(*place, name, style=f"fill:{colour(number)}"))
    parts += [word(left - 6, y(value), f"{value:.0f}", "end") for value in (least, most)]
    parts += [word(WIDTH - RIGHT, HEIGHT - 10, f"{last:.0f} s", "end"), word(WIDTH - RIGHT, top + 10, unit, "end")]
    return svg(HEIGHT, *parts)

"""A benchmark report as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from edge_segface.bench.plots import STYLE, bar_chart, colour, histogram, line_chart, shared_range_ms
from edge_segface.bench.report import (
    ReportTable,
    engine_lines,
    machine_line,
    method_line,
    report_tables,
    sustained_lines,
)
from edge_segface.bench.results import BenchmarkReport, EngineResult, Point

PAGE_STYLE = """
:root { --warning: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --warning: #ffb454; } }
body { margin: 0; padding: 16px clamp(12px, 3vw, 40px) 40px; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 0 0 8px; } h2 { font-size: 17px; margin: 28px 0 8px; }
.scroll { overflow-x: auto; overflow-wrap: normal; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; } th { color: var(--dim); font-weight: 500; }
tr + tr > * { border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
figure { margin: 0 0 14px; } figcaption { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-bottom: 3px; }
figcaption i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 0 20px; }
svg { width: 100%; display: block; border-radius: 8px; } svg svg { border-radius: 0; }
.warning { color: var(--warning); } small, .dim { color: var(--dim); }
@media (max-width: 600px) { body { font-size: 14px; } th, td { padding: 4px 8px; font-size: 13px; } }
"""


def html_page(report: BenchmarkReport) -> str:
    parts = ["<h1>edge-segface benchmark</h1>", _paragraph(machine_line(report), "dim")]
    for table in report_tables(report):
        parts += _table(table)
    parts += [_paragraph(line) for line in engine_lines(report)]
    if report.models:
        parts.append(f"<p><small>{html.escape(method_line(report.models[0]))}.</small></p>")
        parts += _plots(report)
    for result in report.models:
        parts += _sustained(result)
    parts += [_paragraph(line, "warning") for line in report.warnings]
    parts += [
        _paragraph(f"{failure.model} was not measured: {failure.error}", "warning") for failure in report.failures
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>edge-segface benchmark</title><style>{STYLE}{PAGE_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en">{head}' + "\n".join(parts) + "</html>\n"


def _paragraph(text: str, style: str = "") -> str:
    return f"<p class={style}>{html.escape(text)}</p>" if style else f"<p>{html.escape(text)}</p>"


def _table(table: ReportTable) -> list[str]:
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows]
    return [
        f"<h2>{html.escape(table.title)}</h2><div class=scroll><table><tr>{heads}</tr>",
        *rows,
        "</table></div>",
    ]


def _plots(report: BenchmarkReport) -> list[str]:
    labels = [_short_label(result) for result in report.models]
    range_ms = shared_range_ms([result.samples_ms for result in report.models])
    return [
        "<h2>FPS beside the paper's</h2>",
        bar_chart(labels, [result.fps for result in report.models], report.paper_fps),
        "<h2>Latency of single calls</h2>",
        *(
            _figure({label: colour(index)}, histogram(label, result.samples_ms, range_ms, colour(index)))
            for index, (label, result) in enumerate(zip(labels, report.models, strict=True))
        ),
    ]


def _sustained(result: EngineResult) -> list[str]:
    load = result.sustain
    if load is None:
        return []
    style = "warning" if load.comparable is False else "dim"
    return [
        f"<h2>{html.escape(_short_label(result))} over time</h2>",
        *(_paragraph(line, style) for line in sustained_lines(result)),
        "<div class=side>",
        _over_time({"frames per second": load.fps}, "FPS"),
        _over_time(load.power_over_time_w, "W"),
        _over_time(load.temperature_c, "°C"),
        _over_time(load.clock_over_time_mhz, "MHz"),
        "</div>",
    ]


def _over_time(series: Mapping[str, Sequence[Point]], unit: str) -> str:
    plot = line_chart(series, unit)
    return _figure({name: colour(index) for index, name in enumerate(series)}, plot) if plot else ""


def _figure(legend: Mapping[str, str], plot: str) -> str:
    """Return a plot with its names and their colours above it."""
    names = "".join(
        f'<span><i style="background:{fill}"></i>{html.escape(name)}</span>' for name, fill in legend.items()
    )
    return f"<figure><figcaption>{names}</figcaption>{plot}</figure>"


def _short_label(result: EngineResult) -> str:
    return f"{result.name} × {result.batch}"

"""A benchmark report as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import html

from edge_segface.bench.plots import STYLE, bar_chart, colour, histogram, line_chart
from edge_segface.bench.report import (
    ReportTable,
    engine_lines,
    machine_line,
    method_line,
    report_tables,
    sustained_lines,
)
from edge_segface.bench.results import BenchmarkReport, EngineResult

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
    head = f'<meta charset="utf-8"><title>edge-segface benchmark</title><style>{STYLE}{PAGE_STYLE}</style>'
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
    return [
        "<h2>FPS beside the paper's</h2>",
        bar_chart(labels, [result.fps for result in report.models], report.paper_fps),
        "<h2>Latency</h2>",
        *(
            histogram(label, result.samples_ms, colour(index))
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
        line_chart({"FPS": load.fps}, "FPS"),
        line_chart(load.power_over_time_w, "W"),
        line_chart(load.temperature_c, "°C"),
        line_chart(load.clock_over_time_mhz, "MHz"),
    ]


def _short_label(result: EngineResult) -> str:
    return f"{result.name} × {result.batch}"

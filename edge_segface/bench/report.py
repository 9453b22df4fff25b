"""The tables and sentences of a benchmark report, and the report as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from edge_segface.bench.results import BenchmarkReport, EngineResult, SustainedLoad
from edge_segface.bench.sustain import SLOWER_THAN, UNSTABLE_SHARE

PERCENTILES = ("min", "mean", "p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class ReportTable:
    title: str
    columns: list[str]
    rows: list[list[str]]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _latency_cells(result: EngineResult) -> dict[str, str]:
    latency = asdict(result.latency_ms)
    return {**{name: f"{latency[name]:.2f}" for name in PERCENTILES}, "cv %": f"{latency['cv_percent']:.1f}"}


def _rate_cells(result: EngineResult) -> dict[str, str]:
    return {
        "FPS": f"{result.fps:.1f}",
        "× first": f"{result.times_as_fast:.2f}",
        "× paper": f"{result.of_paper:.2f}",
        "burst": f"{result.throughput_fps:.1f}",
    }


def _cold_start_cells(result: EngineResult) -> dict[str, str]:
    return {
        "load ms": _number(result.load_ms, ".0f"),
        "first ms": _number(result.first_ms, ".0f"),
        "peak MB": _number(result.peak_mb, ".0f"),
        "GPU MB": _number(result.gpu_mb, ".0f"),
    }


def _gpu_cells(result: EngineResult) -> dict[str, str]:
    return {f"{name} ms": f"{value:.3f}" for name, value in (result.gpu_ms or {}).items()}


TABLES: tuple[tuple[str, Callable[[EngineResult], dict[str, str]]], ...] = (  # title, and the cells of a row
    ("latency, ms", _latency_cells),
    ("images per second", _rate_cells),
    ("cold start", _cold_start_cells),
    ("on the GPU", _gpu_cells),
)


def report_tables(report: BenchmarkReport) -> list[ReportTable]:
    """Return the tables that have content."""
    tables = []
    for title, cells_of in TABLES:
        filled = [(result, cells) for result in report.models if (cells := cells_of(result))]
        if filled:
            columns = ["model", "size", "batch", *filled[0][1]]
            rows = [
                [result.name, str(result.input_size), str(result.batch), *cells.values()] for result, cells in filled
            ]
            tables.append(ReportTable(title, columns, rows))
    return tables


def machine_line(report: BenchmarkReport) -> str:
    """Describe machine, power state, clocks, versions and date in one line."""
    machine = report.machine
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    power = ", ".join(f"{name} {value}" for name, value in report.power_state.items())
    clocks = ", ".join(f"{name} clock {clock.p5:g} to {clock.p95:g} MHz" for name, clock in report.clocks_mhz.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return "; ".join(part for part in (hardware, power, clocks, versions, report.date) if part)


def engine_lines(report: BenchmarkReport) -> list[str]:
    return list(dict.fromkeys(f"{result.name}: {result.engine}" for result in report.models))


def method_line(result: EngineResult) -> str:
    """Explain how the numbers in the tables were measured."""
    return (
        f"{result.settings.rounds} interleaved rounds; each timed call follows an untimed one and a pause of "
        f"{result.settings.pause_ms:g} ms; FPS from the mean; × first: speed-up per image over the first engine, "
        "median over rounds; × paper: relative to its 95.96 FPS at 512, one image; burst: calls back to back; "
        "inputs are noise"
    )


def sustained_lines(result: EngineResult) -> list[str]:
    """Describe the sustained run of an engine, and why it is not comparable; empty if there was none."""
    load = result.sustain
    if load is None:
        return []
    lines = [
        f"{result.label}, {load.seconds:g} s: {load.cold_fps:.1f} FPS cold, {load.steady_fps:.1f} steady; "
        + "; ".join([_power(load), *_hottest(load)])
    ]
    if load.error is not None:
        lines.append(f"interrupted: {load.error}")
    if load.waited_s > 0:
        start_c = max((points[0][1] for points in load.temperature_c.values()), default=0.0)
        lines.append(f"waited {load.waited_s:g} s to cool down to {start_c:.0f} °C")
    if load.comparable is False:
        lines.append(f"NOT COMPARABLE: {'; '.join(_unstable_reasons(load))}")
    elif load.comparable is None:
        reason = "the run was short" if load.unit in load.clocks_mhz else f"the {load.unit} clock could not be read"
        lines.append(f"{reason}, so comparability is unknown")
    return lines


def _power(load: SustainedLoad) -> str:
    if load.power_w is None:
        return "power not measured"
    above = load.mj_per_frame_above_idle
    return f"{load.power_w:.2f} W ({load.power_scope}), {load.mj_per_frame:.2f} mJ per frame" + (
        "" if above is None else f" ({above:.2f} above idle)"
    )


def _hottest(load: SustainedLoad) -> list[str]:
    zones = [f"{zone} {max(value for _, value in points):.0f} °C" for zone, points in load.temperature_c.items()]
    return [f"at most {', '.join(zones)}"] if zones else []


def _unstable_reasons(load: SustainedLoad) -> list[str]:
    reasons = []
    if load.slower_from_s is not None:
        reasons.append(f"slower from second {load.slower_from_s:g}")
    elif load.steady_fps < SLOWER_THAN * load.cold_fps:
        reasons.append("slower at the end than at the start")
    clock = load.clocks_mhz.get(load.unit)
    if clock is not None and clock.moved_share > UNSTABLE_SHARE:
        reasons.append(
            f"{load.unit} clock not at {clock.first:g} MHz for {100 * clock.moved_share:.0f} % of the run "
            f"({clock.p5:g} to {clock.p95:g})"
        )
    return reasons + [f"clocks throttled, {cause}: {count:g}" for cause, count in load.throttled.items()]


def markdown(report: BenchmarkReport) -> str:
    lines: list[str] = []
    for table in report_tables(report):
        lines += [f"**{table.title}**", "", *markdown_table(table.columns, table.rows), ""]
    lines += [f"- {line}" for line in engine_lines(report)]
    lines += ["", f"Paper: {report.paper_fps} FPS. {machine_line(report)}."]
    if report.models:
        method = method_line(report.models[0])
        lines.append(f"{method[0].upper()}{method[1:]}.")
    for result in report.models:
        if result.sustain is not None:
            lines += ["", *(f"- {line}" for line in sustained_lines(result))]
    lines += ["", *(f"- warning: {line}" for line in report.warnings)]
    lines += ["", *(f"- {failure.model} was not measured: {failure.error}" for failure in report.failures)]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    head, *body = (f"| {' | '.join(map(str, cells))} |" for cells in (columns, *rows))
    return [head, "|" + "---|" * len(columns), *body]

"""The state of all sources as Prometheus reads it, in its text format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from edge_segface.telemetry import Values

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "edge_segface_"
QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}

Labels = dict[str, str]
Sample = tuple[Labels, float]
Report = Mapping[str, Any]  # of a source, as in the report of the loop


def counted(key: str) -> Callable[[Report], list[Sample]]:
    return lambda report: [] if report.get(key) is None else [({}, float(report[key]))]


def quantiles(name: str, times_ms: Mapping[str, Mapping[str, float]]) -> list[Sample]:
    """Return the samples of some times, each labelled `name`; without a name, of one time."""
    return [
        ({**({name: each} if name else {}), "quantile": quantile}, times[key] / 1e3)
        for each, times in times_ms.items()
        for key, quantile in QUANTILES.items()
        if key in times
    ]


# Name, type, help, and the samples in the report of a source.
FAMILIES: tuple[tuple[str, str, str, Callable[[Report], list[Sample]]], ...] = (
    ("results_total", "counter", "Frames whose result was delivered.", counted("frames")),
    ("dropped_frames_total", "counter", "Frames of a camera dropped for newer ones.", counted("dropped")),
    ("skipped_images_total", "counter", "Unreadable images.", counted("skipped")),
    ("unshown_results_total", "counter", "Results dropped because the sinks were busy.", counted("unshown")),
    ("reconnects_total", "counter", "Times the source was opened again.", counted("reconnects")),
    ("searches_total", "counter", "Searches of a whole frame for faces.", counted("searches")),
    ("faces_per_frame", "gauge", "Mean number of faces.", counted("faces_per_frame")),
    (
        "frames_per_second",
        "gauge",
        "Rates of the whole run.",
        lambda report: [
            ({"rate": rate}, report[key])
            for rate, key in (("engine_only", "engine_fps"), ("end_to_end", "glass_to_result_fps"))
            if report.get(key) is not None
        ],
    ),
    (
        "latency_seconds",
        "gauge",
        "From a frame's capture to its result.",
        lambda report: quantiles("", {"": report["latency_ms"]}),
    ),
    (
        "stage_seconds",
        "gauge",
        "Time of each stage for a frame.",
        lambda report: quantiles("stage", report["stages_ms"]),
    ),
    (
        "failed_sinks",
        "gauge",
        "Outputs that ended with an error.",
        lambda report: [({}, float(len(report["failed_sinks"])))],
    ),
)
SENSORS = {"power_w": ("power_watts", "scope"), "temperature_c": ("temperature_celsius", "zone")}


def metrics_text(reports: Mapping[str, Report], silent_s: Mapping[str, float], readings: Values) -> str:
    """Return all metrics: reports and seconds since the last result by the name of the source, and sensor values."""
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: list[Sample]) -> None:
        if samples:
            lines.extend((f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}"))
            lines.extend(f"{PREFIX}{name}{labels_text(labels)} {value:.10g}" for labels, value in samples)

    add("seconds_since_result", "gauge", "Time without a result.", [({"source": n}, s) for n, s in silent_s.items()])
    for name, kind, text, samples_of in FAMILIES:
        samples = [
            ({"source": source, **labels}, value)
            for source, report in reports.items()
            for labels, value in samples_of(report)
        ]
        add(name, kind, text, samples)
    for quantity, (name, label) in SENSORS.items():
        found = [
            ({label: scope}, value)
            for reading, value in readings.items()
            for kind, _, scope in [reading.partition(".")]
            if kind == quantity
        ]
        add(name, "gauge", "Of the sensors of this machine.", found)
    return "".join(f"{line}\n" for line in lines)


def labels_text(labels: Labels) -> str:
    """Return labels in braces; what would end a value or a line is escaped."""

    def escaped(value: str) -> str:
        return re.sub(r'[\\"\n]', lambda found: {"\\": r"\\", '"': r"\"", "\n": r"\n"}[found[0]], value)

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""

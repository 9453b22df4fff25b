"""Plots as SVG, for a page or as files. Their width is that of the page: x in percent, y and text in pixels."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

COLOURS = ("#23b391", "#4f8fe6", "#c9a800", "#e05bb4", "#e07b2e", "#8f63d9", "#63b02a", "#e05252")
WIDTH = 640  # of a file
LEFT, RIGHT = 10.0, 97.0  # percent of the width, between which a plot draws
BINS = 80
LIGHT = "--text: #1c2026; --dim: #5b6470; --line: #d5d9df; --ground: #fff; --panel: #f5f6f8; --paper: #8f6a00;"
DARK = "--text: #e8eaee; --dim: #a3abb8; --line: #343943; --ground: #14161a; --panel: #1e2127; --paper: #f4da3c;"
STYLE = f"""
:root {{ color-scheme: light dark; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
svg {{ background: var(--panel); }} svg svg {{ background: none; }}
svg text {{ fill: var(--text); font: 12px system-ui, sans-serif; paint-order: stroke; stroke: var(--panel);
  stroke-width: 4px; stroke-linejoin: round; }} svg .dim {{ fill: var(--dim); }}
svg .axis {{ stroke: var(--line); }} svg .mark {{ stroke: var(--text); }}
svg line.paper {{ stroke: var(--paper); stroke-dasharray: 5 4; }} svg text.paper {{ fill: var(--paper); }}
"""

Range = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` to positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Return about `count` round values and their texts."""
        step = round_step((self.high - self.low) / count)
        digits = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(index * step, f"{index * step:.{digits}f}") for index in range(first, last + 1)]


def round_step(rough: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def svg_file(svg: str) -> str:
    """Return the content of an SVG file; it follows the reader's light or dark mode."""
    tag, _, rest = svg.partition(">")
    return f'{tag} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n'


def bar_chart(labels: Sequence[str], values: Sequence[float], paper: float, colours: int = len(COLOURS)) -> str:
    """Draw one bar per engine, its label above it, and a line at the paper's value.

    Colours repeat after the first `colours`.
    """
    step, top = 42, 22
    bottom = top + step * len(labels)
    x = Axis(0, 1.2 * max([*values, paper]), 2, RIGHT)
    bars, texts = [], [_text(x(paper), 14, f"paper {paper}", "middle", style="paper")]
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        y = top + index * step
        bars.append(_bar(2, y + 19, x(value) - 2, 16, colour(index % colours)))
        texts.append(_text(2, y + 14, _shortened(label)))
        texts.append(_text(x(value), y + 31, f"{value:.1f}", shift=6))
    line = _line(x(paper), top - 4, x(paper), bottom, "paper")
    parts = [*_x_axis(x, bottom, top, "frames per second"), *bars, line, *texts]
    return _svg(bottom + 36, f"Frames per second: {', '.join(labels)}, and the paper", *parts)


def shared_range_ms(all_samples_ms: Sequence[Sequence[float]]) -> Range:
    """Return the range of latencies that holds almost all calls of all engines; a few slow calls do not widen it."""
    low = min(min(samples) for samples in all_samples_ms)
    longest = max(max(samples) for samples in all_samples_ms)
    high = min(longest, 1.2 * max(float(np.percentile(samples, 99)) for samples in all_samples_ms))
    margin = 0.03 * (high - low) or 0.05 * high
    return max(0.0, low - margin), high + margin


def histogram(label: str, samples_ms: Sequence[float], range_ms: Range, fill: str) -> str:
    """Draw how often each latency occurred, with marks at p50 and p99."""
    counts, edges = np.histogram(samples_ms, bins=BINS, range=range_ms)
    top, bottom = 40, 150
    x = Axis(*range_ms, LEFT, RIGHT)
    y = Axis(0, max(1, int(counts.max())), bottom, top)
    parts = [*_x_axis(x, bottom, top, "latency, ms"), *_y_axis(y, "calls", whole=True)]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            parts.append(_bar(x(left), y(float(count)), x(right) - x(left), bottom - y(float(count)), fill))
    for row, percent in enumerate((50, 99)):
        value = float(np.percentile(samples_ms, percent))
        at = min(x(value), RIGHT)
        anchor, shift = ("start", 5) if at < 70 else ("end", -5)
        parts.append(_line(at, 8 + 15 * row, at, bottom, "mark", dash="" if percent == 50 else "4 3"))
        parts.append(_text(at, 17 + 15 * row, f"p{percent} {value:.2f} ms", anchor, shift=shift))
    beyond = [sample for sample in samples_ms if sample > range_ms[1]]
    if beyond:
        text = f"{len(beyond)} slower, up to {max(beyond):.1f} ms →"
        parts.append(_text(RIGHT, bottom - 6, text, "end", style="dim"))
    return _svg(bottom + 36, f"Histogram of the latency of {label}", *parts)


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Draw named series of (second, value), or nothing if all are empty. `colour` gives their colours in order."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    values = [value for _, value in points]
    margin = 0.08 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    low, high = 0.0 if unit in ("FPS", "W") else min(values) - margin, max(values) + margin
    top, bottom = 24, 170
    x = Axis(0, max(second for second, _ in points) or 1.0, LEFT, RIGHT)
    y = Axis(low, high, bottom, top)
    parts = [*_x_axis(x, bottom, top, "seconds"), *_y_axis(y, unit)]
    parts += [_polyline(line, x, y, colour(index)) for index, line in enumerate(series.values())]
    return _svg(bottom + 36, f"{', '.join(series)} in {unit} over time", *parts)


def growth_charts(charts: Mapping[str, tuple[str, str, Sequence[tuple[float, float]]]]) -> str:
    """Draw one chart below the other, each with the titles of its axes and its points, from zero."""
    height, top, bottom = 170, 26, 120
    parts = []
    for index, (name, (across, up, points)) in enumerate(charts.items()):
        x = Axis(0, max(value for value, _ in points), LEFT, RIGHT)
        y = Axis(0, 1.1 * max(value for _, value in points), bottom, top)
        marks = [
            f'<circle cx="{x(value):.2f}%" cy="{y(cost):.1f}" r="3" fill="{colour(index)}"/>' for value, cost in points
        ]
        axes = [*_x_axis(x, bottom, top, across), *_y_axis(y, f"{name}: {up}")]
        drawn = "".join([*axes, _polyline(points, x, y, colour(index)), *marks])
        parts.append(f'<svg y="{index * height}" width="100%" height="{height}">{drawn}</svg>')
    return _svg(height * len(charts), ", ".join(f"{up} by {across}" for across, up, _ in charts.values()), *parts)


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _x_axis(x: Axis, bottom: float, top: float, title: str) -> list[str]:
    parts = [_line(x.start, bottom, x.end, bottom, "axis")]
    for value, text in x.ticks():
        parts.append(_line(x(value), top, x(value), bottom + 4, "axis"))
        parts.append(_text(x(value), bottom + 17, text, "middle", style="dim"))
    return [*parts, _text((x.start + x.end) / 2, bottom + 31, title, "middle", style="dim")]


def _y_axis(y: Axis, title: str, *, whole: bool = False) -> list[str]:
    parts = [_text(0, y.end - 8, title, style="dim", shift=6)]
    for value, text in y.ticks(3):
        if whole and value != round(value):
            continue
        parts.append(_line(LEFT, y(value), RIGHT, y(value), "axis"))
        parts.append(_text(LEFT, y(value) + 4, text, "end", style="dim", shift=-5))
    return parts


def _svg(height: float, title: str, *parts: str) -> str:
    name = html.escape(title)
    return f'<svg width="{WIDTH}" height="{height:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _text(x: float, y: float, content: object, anchor: str = "start", *, style: str = "", shift: float = 0) -> str:
    """Write text at x percent, moved by `shift` pixels."""
    attributes = f'x="{x:.2f}%" y="{y:.1f}" dx="{shift:g}" text-anchor="{anchor}"'
    return f'<text {attributes} class="{style}">{html.escape(str(content))}</text>'


def _bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.2f}%" y="{y:.1f}" width="{width:.2f}%" height="{height:.1f}" fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str, dash: str = "") -> str:
    attributes = f'x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"'
    return f'<line {attributes} class="{style}"' + (f' stroke-dasharray="{dash}"/>' if dash else "/>")


def _polyline(points: Sequence[tuple[float, float]], x: Axis, y: Axis, stroke: str) -> str:
    """Draw in a nested image that is stretched to the width, because a polyline has no percentages."""
    path = " ".join(f"{x(second):.2f},{y(value):.1f}" for second, value in points)
    line = f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.8"'
    box = f'width="100%" height="{y.start:g}" viewBox="0 0 100 {y.start:g}" preserveAspectRatio="none"'
    return f'<svg {box}>{line} vector-effect="non-scaling-stroke"/></svg>'


def _shortened(label: str) -> str:
    """Shorten a label at its start, because paths differ at their end."""
    most = 54  # characters that a phone has room for
    return label if len(label) <= most else f"…{label[1 - most :]}"

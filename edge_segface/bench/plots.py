"""Plots as SVG, for a page or as files."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

COLOURS = ("#23b391", "#4f8fe6", "#c9a800", "#e05bb4", "#e07b2e", "#8f63d9", "#63b02a", "#e05252")
WIDTH, HEIGHT, RIGHT = 640, 220, 20
CHARACTER = 7  # average width of a character
LIGHT = "--text: #1c2026; --dim: #626a76; --line: #d5d9df; --ground: #fff; --panel: #f5f6f8;"
DARK = "--text: #e8eaee; --dim: #9aa2af; --line: #343943; --ground: #14161a; --panel: #1e2127;"
STYLE = f"""
:root {{ color-scheme: light dark; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
svg {{ background: var(--panel); }} svg text {{ fill: var(--text); font: 12px system-ui, sans-serif; }}
svg .axis {{ stroke: var(--line); }}
"""


def svg_file(svg: str) -> str:
    """Return the content of an SVG file; it follows the reader's light or dark mode."""
    tag, _, rest = svg.partition(">")
    return f'{tag} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n'


def bar_chart(labels: Sequence[str], values: Sequence[float], paper: float, colours: int = len(COLOURS)) -> str:
    """Draw one bar per engine, and a line at the paper's value. Colours repeat after the first `colours`."""
    labels = [_shortened(label) for label in labels]
    left, step = round(CHARACTER * max(map(len, labels))) + 12, 28
    scale = (WIDTH - left - 70) / (1.1 * max([*values, paper]))
    parts = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = 14 + index * step
        parts.append(_text(left - 8, top + 13, label, "end"))
        parts.append(_rectangle(left, top, value * scale, 18, colour(index % colours)))
        parts.append(_text(left + value * scale + 6, top + 13, f"{value:.1f}"))
    bottom = 14 + len(labels) * step
    x = left + paper * scale
    parts.append(f'<line x1="{x:.1f}" y1="6" x2="{x:.1f}" y2="{bottom}" stroke="#c90" stroke-dasharray="5 4"/>')
    parts.append(_text(x, bottom + 14, f"paper {paper}", "middle"))
    return _svg(bottom + 24, *parts)


def histogram(label: str, samples_ms: Sequence[float], fill: str) -> str:
    counts, edges = np.histogram(samples_ms, bins=min(40, max(5, len(samples_ms) // 3)))
    left, bottom, top = 40, HEIGHT - 30, 30
    bar_width = (WIDTH - left - RIGHT) / len(counts)
    parts = [_text(left, 18, label), _axis(left, bottom)]
    for index, count in enumerate(counts):
        height = (bottom - top) * count / max(1, counts.max())
        parts.append(_rectangle(left + index * bar_width, bottom - height, bar_width - 1, height, fill))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        value = edges[0] + share * (edges[-1] - edges[0])
        parts.append(_text(left + share * (WIDTH - left - RIGHT), HEIGHT - 10, f"{value:.2f} ms", anchor))
    return _svg(HEIGHT, *parts)


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Draw named series of (second, value), or nothing if all are empty."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    last_s = max(second for second, _ in points) or 1.0
    values = [value for _, value in points]
    least, most = 0.0 if unit in ("FPS", "W") else min(values), 1.05 * max(values)
    most = most if most > least else least + 1
    left, bottom, top = 48, HEIGHT - 28, 14 + 15 * (1 + (len(series) - 1) // 4)

    def x(second: float) -> float:
        return left + (WIDTH - left - RIGHT) * second / last_s

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - least) / (most - least)

    parts = [_axis(left, bottom)]
    for index, (name, line) in enumerate(series.items()):
        path = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(index)}" stroke-width="1.6"/>')
        legend_xy = left + 140 * (index % 4), 14 + 15 * (index // 4)
        parts.append(_text(*legend_xy, name, style=f"fill:{colour(index)}"))
    parts += [_text(left - 6, y(value), f"{value:.0f}", "end") for value in (least, most)]
    parts += [_text(WIDTH - RIGHT, HEIGHT - 10, f"{last_s:.0f} s", "end"), _text(WIDTH - RIGHT, 14, unit, "end")]
    return _svg(HEIGHT, *parts)


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _svg(height: float, *parts: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def _text(x: float, y: float, content: object, anchor: str = "start", style: str = "") -> str:
    escaped = html.escape(str(content))
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{escaped}</text>'


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _axis(left: float, bottom: float) -> str:
    return f'<line class="axis" x1="{left}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'


def _shortened(label: str) -> str:
    """Shorten a label at its start, because paths differ at their end."""
    most = int(0.6 * WIDTH / CHARACTER)
    return label if len(label) <= most else f"…{label[1 - most :]}"

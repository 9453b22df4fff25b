"""Plots as SVG, for a page or as files."""

from __future__ import annotations

import html
from collections.abc import Sequence

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


def by_itself(picture: str) -> str:
    """Return an SVG file that follows the reader's light or dark mode."""
    beginning, _, rest = picture.partition(">")
    return f'{beginning} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n'


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


def bars(labels: Sequence[str], values: Sequence[float], paper: float, kinds: int = len(COLOURS)) -> str:
    """Draw one bar per engine, and a line at the paper's figure. Colours repeat every `kinds` bars."""
    labels = [shortened(label) for label in labels]
    left, step = round(CHARACTER * max(map(len, labels))) + 12, 28
    scale = (WIDTH - left - 70) / (1.1 * max([*values, paper]))
    parts = []
    for at, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = 14 + at * step
        parts.append(word(left - 8, top + 13, label, "end"))
        parts.append(box(left, top, value * scale, 18, colour(at % kinds)))
        parts.append(word(left + value * scale + 6, top + 13, f"{value:.1f}"))
    bottom = 14 + len(labels) * step
    x = left + paper * scale
    parts.append(f'<line x1="{x:.1f}" y1="6" x2="{x:.1f}" y2="{bottom}" stroke="#c90" stroke-dasharray="5 4"/>')
    parts.append(word(x, bottom + 14, f"paper {paper}", "middle"))
    return svg(bottom + 24, *parts)


def shortened(label: str) -> str:
    """Shorten a label from its start: the end of a path tells it apart."""
    most = int(0.6 * WIDTH / CHARACTER)
    return label if len(label) <= most else f"…{label[1 - most :]}"


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
    least, most = 0.0 if unit in ("FPS", "W") else min(values), 1.05 * max(values)
    most = most if most > least else least + 1
    left, bottom, top = 48, HEIGHT - 28, 14 + 15 * (1 + (len(named) - 1) // 4)

    def x(at: float) -> float:
        return left + (WIDTH - left - RIGHT) * at / last

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - least) / (most - least)

    parts = [axis(left, bottom)]
    for number, (name, line) in enumerate(named.items()):
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(number)}" stroke-width="1.6"/>')
        place = left + 140 * (number % 4), 14 + 15 * (number // 4)
        parts.append(word(*place, name, style=f"fill:{colour(number)}"))
    parts += [word(left - 6, y(value), f"{value:.0f}", "end") for value in (least, most)]
    parts += [word(WIDTH - RIGHT, HEIGHT - 10, f"{last:.0f} s", "end"), word(WIDTH - RIGHT, 14, unit, "end")]
    return svg(HEIGHT, *parts)

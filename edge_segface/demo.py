"""The camera loop on the built-in clip: what it sees, and how fast."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_segface.bench.interleave import on_every_runtime
from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.sinks import FrameResult
from edge_segface.camera.sources import DemoSource
from edge_segface.draw import side_by_side
from edge_segface.engine import Runtime
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.image_io import write_image
from edge_segface.models import resolve


@dataclass(frozen=True, eq=False)
class DemoResult:
    report: dict[str, Any]
    picture: Path
    json: Path


class KeepLastSink:
    """Keeps what was shown last."""

    name = "demo.png"
    draws = True

    def __init__(self) -> None:
        self.shown: FrameResult | None = None

    def show(self, shown: FrameResult) -> None:
        self.shown = shown

    def close(self) -> None:
        pass


def run_demo(model: str, out: Path, frames: int, runtime: Runtime | None = None, **engine_options: Any) -> DemoResult:
    """Runs the loop, drawing every frame. Without `runtime` the fastest here is taken, which is tried out first."""
    chosen = runtime or fastest(model, engine_options.get("threads"))
    last = KeepLastSink()

    def sinks(source: SourceReader) -> list[KeepLastSink]:  # noqa: ARG001
        return [last]

    with FaceParser(model, runtime=chosen, **engine_options) as parser:
        report = CameraLoop(parser, DemoSource, sinks, LoopSettings(frames)).run()
    assert last.shown is not None
    shares = last.shown.class_map.shares()
    report |= {"shares": {part: round(share, 4) for part, share in shares.items()}}
    picture, json_path = out / "demo.png", out / "demo.json"
    write_image(side_by_side(last.shown.frame.image_bgr, last.shown.class_map), picture)
    write_text(json.dumps(report, indent=2) + "\n", json_path)
    return DemoResult(report, picture, json_path)


def fastest(model: str, threads: int | None) -> Runtime | None:
    """The fastest installed runtime for this model; None where there is no choice."""
    found = resolve(model)
    if len(found.format.runtimes) < 2:
        return None
    timed = on_every_runtime({"model": found.path}, rounds=6, threads=threads)
    return min(timed, key=lambda one: one.median_ms).runtime

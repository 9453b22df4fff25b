"""The camera loop on the built-in clip: what it sees, and how fast."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_segface.bench.rounds import on_every_runtime
from edge_segface.camera.grabber import Grabber
from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.sinks import Shown
from edge_segface.camera.sources import DemoSource
from edge_segface.draw import side_by_side
from edge_segface.engine import RUNTIMES, Runtime
from edge_segface.files import write_text
from edge_segface.frames import RoI
from edge_segface.parser import FaceParser
from edge_segface.pictures import write_picture
from edge_segface.weights import model_path

PORTRAIT_ROI = RoI((180.0, 110.0), 240.0)  # the head in the built-in picture


@dataclass(frozen=True, eq=False)
class DemoResult:
    report: dict[str, Any]
    picture: Path
    json: Path


class Last:
    """Keeps what was shown last."""

    name = "demo.png"
    draws = True

    def __init__(self) -> None:
        self.shown: Shown | None = None

    def show(self, shown: Shown) -> None:
        self.shown = shown

    def close(self) -> None:
        pass


def run_demo(model: str, out: Path, frames: int, runtime: Runtime | None = None, **engine_options: Any) -> DemoResult:
    """Runs the loop, drawing every frame. Without `runtime` the fastest here is taken, which is tried out first."""
    chosen = runtime or fastest(model_path(model), engine_options.get("threads"))
    last = Last()

    def sinks(source: Grabber) -> list[Last]:  # noqa: ARG001
        return [last]

    with FaceParser(model, runtime=chosen, **engine_options) as parser:
        report = CameraLoop(parser, DemoSource, sinks, LoopSettings(frames)).run()
    assert last.shown is not None
    shares = last.shown.class_map.shares()
    report |= {"shares": {part: round(share, 4) for part, share in shares.items()}}
    picture, json_path = out / "demo.png", out / "demo.json"
    write_picture(side_by_side(last.shown.frame.image_bgr, last.shown.class_map), picture)
    write_text(json.dumps(report, indent=2) + "\n", json_path)
    return DemoResult(report, picture, json_path)


def fastest(path: Path, threads: int | None) -> Runtime | None:
    """Of the runtimes that are installed here for this file; None where there is no choice."""
    if len(RUNTIMES.get(path.suffix.lower(), ())) < 2:
        return None
    timed = on_every_runtime({"model": path}, rounds=6, threads=threads)
    return min(timed, key=lambda one: one.median_ms).runtime

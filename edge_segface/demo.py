"""The camera loop on the built-in clip, with its frame rates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sources import DemoSource
from edge_segface.draw import side_by_side
from edge_segface.engine import Runtime
from edge_segface.errors import EdgeSegfaceError
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.image_io import write_image
from edge_segface.models import load_loop_engine


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The loop's report, and the two files written from it."""

    report: dict[str, Any]
    image: Path
    json: Path


class KeepLastSink:
    """Keeps the last result."""

    name = "demo.png"
    draws = True

    def __init__(self) -> None:
        self.result: FrameResult | None = None

    def show(self, result: FrameResult) -> None:
        self.result = result

    def close(self) -> None:
        pass


def run_demo(model: str, out: Path, frames: int, runtime: Runtime | None = None, **engine_options: Any) -> DemoResult:
    """Run the loop and draw every frame."""
    last = KeepLastSink()

    def open_sinks(reader: SourceReader) -> list[KeepLastSink]:  # noqa: ARG001
        return [last]

    with load_loop_engine(model, runtime=runtime, **engine_options) as engine:
        parser = FaceParser(engine)
        report = CameraLoop(parser, DemoSource, open_sinks, LoopSettings(frames)).run()
    result = last.result
    if result is None:
        raise EdgeSegfaceError("the demo produced no frame", remedy="give --frames 2 or more")
    shares = result.class_map.shares()
    report |= {"shares": {part: round(share, 4) for part, share in shares.items()}}
    image, json_path = out / "demo.png", out / "demo.json"
    squares = [face.roi for face in result.faces]
    write_image(side_by_side(result.image_bgr, result.class_map, squares=squares), image)
    write_text(json.dumps(report, indent=2) + "\n", json_path)
    return DemoResult(report, image, json_path)

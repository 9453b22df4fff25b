"""The built-in picture through an engine: what it sees, and how fast."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_segface.bench.stopwatch import PAPER_FPS, Stopwatch, machine
from edge_segface.draw import overlay, side_by_side
from edge_segface.files import write_text
from edge_segface.frames import ClassMap, RoI, crop, pasted
from edge_segface.parser import FaceParser
from edge_segface.pictures import read_picture, write_picture
from edge_segface.weights import PORTRAIT

WARM_UP = 5
PORTRAIT_ROI = RoI((180.0, 110.0), 240.0)  # the head in the built-in picture; the camera loop will find its own


@dataclass(frozen=True, eq=False)
class DemoResult:
    report: dict[str, Any]
    class_map: ClassMap
    picture: Path
    json: Path


def run_demo(model: str, out: Path, frames: int, **engine_options: Any) -> DemoResult:
    """Parses the picture `frames` times, each time from its JPEG bytes to a drawn overlay, as a camera loop would."""
    encoded = np.frombuffer(PORTRAIT.read_bytes(), dtype=np.uint8)
    with FaceParser(model, **engine_options) as parser:
        for _ in range(WARM_UP):
            _parse_once(parser, encoded, Stopwatch())
        watch = Stopwatch()
        for _ in range(frames):
            watch.lap()
            class_map = _parse_once(parser, encoded, watch)
        watch.lap()
        report = {
            "model": parser.spec.name,
            "engine": parser.engine.description,
            "source": f"built-in picture, {len(encoded) // 1024} KiB of JPEG, RoI given, {frames} times",
            "engine_fps": round(watch.stage_fps("infer"), 2),
            "glass_to_result_fps": round(watch.fps(), 2),
            "paper_fps": PAPER_FPS,
            "stages_ms": watch.stages_ms(),
            "dropped": 0,
            "shares": {part: round(share, 4) for part, share in class_map.shares().items()},
            "machine": machine(),
        }
    picture_path, json_path = out / "demo.png", out / "demo.json"
    write_picture(side_by_side(read_picture(PORTRAIT), class_map), picture_path)
    write_text(json.dumps(report, indent=2) + "\n", json_path)
    return DemoResult(report, class_map, picture_path, json_path)


def _parse_once(parser: FaceParser, encoded: np.ndarray[Any, np.dtype[np.uint8]], watch: Stopwatch) -> ClassMap:
    with watch.stage("decode"):
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
    with watch.stage("crop"):
        square = crop(image, PORTRAIT_ROI, parser.spec.input_size)
    with watch.stage("infer"):
        labels = parser.parse_squares(square[None])[0]
    with watch.stage("paste"):
        class_map = ClassMap(pasted(labels, PORTRAIT_ROI, image.shape[:2]), parser.space)
    with watch.stage("draw"):
        overlay(image, class_map)
    return class_map

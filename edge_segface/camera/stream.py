"""The faces of a source, frame by frame, for programs that do something else with them than show them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from edge_segface.camera.sources import CameraRequest, open_source
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import MAX_FACES, FaceTracker, TrackedFace, class_map_of
from edge_segface.frames import ClassMap, UInt8Array
from edge_segface.timing import Stopwatch


class Seen(NamedTuple):
    image_bgr: UInt8Array
    class_map: ClassMap  # background outside the faces
    faces: list[TrackedFace]


def parse_stream(
    source: str, parser: FaceParser, *, max_faces: int = MAX_FACES, wanted: CameraRequest | None = None
) -> Iterator[Seen]:
    """Every frame of a source as `edge-segface webcam` names it, until it ends or breaks off.

    >>> for image, class_map, faces in parse_stream("0", FaceParser()):
    ...     hair = class_map.mask("hair")
    """
    stream, tracker, watch = open_source(source, wanted), FaceTracker(parser, max_faces=max_faces), Stopwatch()
    try:
        for index in count():
            if (image := stream.read()) is None:
                return
            now_s = time.monotonic() if stream.live else index / stream.fps
            faces = tracker.update(image, now_s, watch, alone=stream.frames_independent)
            yield Seen(image, class_map_of(faces, image.shape[:2], parser.space), faces)
    finally:
        stream.close()

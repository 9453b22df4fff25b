"""The faces of a source, frame by frame, for programs of your own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

from edge_segface.camera.result import FrameResult
from edge_segface.camera.sources import CameraRequest, open_source
from edge_segface.errors import FrameError
from edge_segface.face.merge import merged_class_map
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import MAX_FACES, FaceTracker
from edge_segface.frames import Frame
from edge_segface.timing import Stopwatch


def parse_stream(
    source: str, parser: FaceParser, *, max_faces: int = MAX_FACES, request: CameraRequest | None = None
) -> Iterator[FrameResult]:
    """Yield every frame of a source, named as for `edge-segface webcam`, until the source ends or fails.

    An unreadable one of several images is skipped with a warning.

    Examples:
        >>> result = next(parse_stream("demo", FaceParser("edge-256")))
        >>> result.class_map.labels.shape
        (480, 640)
        >>> image_bgr, class_map, faces = result
    """
    stream, tracker, watch = open_source(source, request), FaceTracker(parser, max_faces=max_faces), Stopwatch()
    index = 0
    try:
        while True:
            try:
                image = stream.read()
            except FrameError as error:
                warnings.warn(f"skipped: {error}", stacklevel=2)
                continue
            if image is None:
                return
            captured_at_s = time.monotonic()
            now_s = captured_at_s if stream.live else index / stream.fps
            faces = tracker.update(image, now_s, watch, frames_independent=stream.frames_independent)
            class_map = merged_class_map(faces, image.shape[:2], parser.space)
            yield FrameResult(Frame(image, index, captured_at_s, stream.frame_name), class_map, faces)
            index += 1
    finally:
        stream.close()

"""The faces of a source, frame by frame, for programs of your own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

from edge_segface.camera.reader import SourceReader
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sources import CameraRequest, open_source
from edge_segface.face.merge import merged_class_map
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import MAX_FACES, FaceTracker
from edge_segface.timing import Stopwatch

POLL_S = 0.1


def parse_stream(
    source: str, parser: FaceParser, *, max_faces: int = MAX_FACES, request: CameraRequest | None = None
) -> Iterator[FrameResult]:
    """Yield the frames of a source, named as for `edge-segface webcam`, until the source ends or fails.

    A video or image gives every frame, a camera the newest at each step. An unreadable one of several images is skipped
    with a warning.

    Examples:
        >>> result = next(parse_stream("demo", FaceParser("edge-256")))
        >>> result.class_map.labels.shape
        (480, 640)
        >>> image_bgr, class_map, faces = result
    """
    watch = Stopwatch()
    reader = SourceReader(partial(open_source, source, request), watch, warn, reconnect=False)
    tracker = FaceTracker(parser, max_faces=max_faces)
    try:
        while True:
            frame = reader.next(POLL_S)
            if frame is None:
                if reader.ended:
                    return
                continue
            now_s = reader.time_of(frame)
            faces = tracker.update(frame.image_bgr, now_s, watch, frames_independent=reader.frames_independent)
            yield FrameResult(frame, merged_class_map(faces, frame.image_bgr.shape[:2], parser.space), faces)
    finally:
        reader.close()


def warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)

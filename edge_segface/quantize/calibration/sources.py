"""Where pictures for calibration come from: a labelled dataset, or frames whose faces the parser finds by itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge_segface.camera.sources import is_image_source, open_source
from edge_segface.data import Dataset
from edge_segface.data.augment.augment import letterboxed
from edge_segface.errors import CalibrationError
from edge_segface.face.finder import FaceFinder
from edge_segface.face.parser import FaceParser
from edge_segface.frames import RoI, UInt8Array, crop
from edge_segface.image_io import find_images, read_image
from edge_segface.warp.running import warp_image

Square = tuple[str, UInt8Array, UInt8Array]  # name, picture (s s 3), labels (s s)

BLACK = 12  # a frame nowhere brighter than this shows nothing
FLAT = 2.0  # nor does one whose values spread less than this
CAMERA_WARM_UP = 15  # frames, until exposure has settled


def from_dataset(
    dataset: Dataset, parser: FaceParser, on_picture: Callable[[], None] = lambda: None
) -> Iterator[Square]:
    """Every picture, whole in the square, with the labels of the dataset in the model's space."""
    dataset = dataset.to_space(parser.space)
    size = parser.spec.input_size
    for index in range(len(dataset)):
        name = dataset.names[index]
        square, labels, landmarks = letterboxed(dataset[index], size)
        on_picture()
        if parser.spec.warp is not None:
            if landmarks is None:
                raise CalibrationError(f"{parser.spec.name} looks through landmarks", found=f"{dataset.kind} has none")
            square = warp_image(square, landmarks)
        if shows_something(square):
            yield name, square, labels


def from_frames(frames: Iterator[tuple[str, UInt8Array]], parser: FaceParser) -> Iterator[Square]:
    """Of each frame the squares around its faces, and the whole of it, as a camera loop looks at it first."""
    if parser.spec.warp is not None:
        raise CalibrationError(f"{parser.spec.name} looks through landmarks", remedy="calibrate it on LaPa")
    finder, size = FaceFinder(parser), parser.spec.input_size
    seen = 0
    for name, frame in frames:
        seen += 1
        if not shows_something(frame):
            continue
        rois = [RoI.whole((frame.shape[0], frame.shape[1])), *(face.roi for face in finder(frame))]
        squares = np.stack([crop(frame, roi, size) for roi in rois])
        for number, (square, labels) in enumerate(zip(squares, parser.parse_squares(squares), strict=True)):
            yield f"{name}#{number}" if number else name, square, labels
    if not seen:
        raise CalibrationError("there are no frames to calibrate on", remedy="give pictures, a video or a camera")


def frames_of(
    source: str, seconds: float, every: int, on_frame: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, UInt8Array]]:
    """Pictures of a folder or glob, every n-th frame of a video, or those of a camera or stream for some seconds."""
    if is_image_source(source):
        for path in find_images([source]):
            on_frame()
            yield path.stem, read_image(path)
        return
    stream = open_source(source)
    name, first = ("camera", CAMERA_WARM_UP) if stream.live else (Path(source).stem, 0)
    until = time.monotonic() + seconds
    try:
        for number in itertools.count():
            frame = stream.read()
            if frame is None or (stream.live and time.monotonic() > until):
                break
            if number >= first and number % every == 0:
                on_frame()
                yield f"{name}-{number:06d}", frame
    finally:
        stream.close()


def shows_something(image_bgr: UInt8Array) -> bool:
    return bool(image_bgr.max() > BLACK and image_bgr.std() > FLAT)

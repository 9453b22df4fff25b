"""Sources of calibration images: a labelled dataset, or unlabelled frames in which the parser finds the faces."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from edge_segface.camera.sources import is_image_source, open_source
from edge_segface.data import Dataset
from edge_segface.data.augment import letterboxed
from edge_segface.errors import CalibrationError
from edge_segface.face.finder import FaceFinder
from edge_segface.face.parser import FaceParser
from edge_segface.frames import RoI, UInt8Array, crop
from edge_segface.image_io import find_images, read_image
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.warp.running import warp_image

LabelledCrop = tuple[str, UInt8Array, UInt8Array]  # name, crop (s s 3), labels (s s)
NamedFrame = tuple[str, UInt8Array]

MAX_BLACK = 12  # an image with no brighter value is blank
MIN_DEVIATION = 2.0  # so is one whose standard deviation is smaller
CAMERA_WARM_UP = 15  # frames until the exposure has settled


def from_dataset(dataset: Dataset, parser: FaceParser, *, progress: Progress = NO_PROGRESS) -> Iterator[LabelledCrop]:
    """Yield every image, letterboxed, with the labels of the dataset in the model's label space."""
    dataset = dataset.to_space(parser.space)
    progress.stage("reading images", len(dataset))
    for name in dataset.names:
        image, labels, landmarks = letterboxed(dataset.read(name), parser.spec.input_size)
        if parser.spec.warp is not None:
            if landmarks is None:
                raise CalibrationError(
                    f"{parser.spec.name} needs landmarks",
                    found=f"none in a {dataset.kind} dataset",
                    remedy="calibrate it on LaPa",
                )
            image = warp_image(image, landmarks)
        if not is_blank(image):
            yield name, image, labels
        progress.advance()


def from_frames(frames: Iterable[NamedFrame], parser: FaceParser) -> Iterator[LabelledCrop]:
    """Yield each frame as a whole and the crops around its faces, labelled by the parser, as in a camera loop."""
    if parser.spec.warp is not None:
        raise CalibrationError(f"{parser.spec.name} needs landmarks", remedy="calibrate it on LaPa")
    finder, size = FaceFinder(parser), parser.spec.input_size
    count = 0
    for name, frame in frames:
        count += 1
        if is_blank(frame):
            continue
        rois = [RoI.whole((frame.shape[0], frame.shape[1])), *(face.roi for face in finder(frame))]
        crops = np.stack([crop(frame, roi, size) for roi in rois])
        for number, (image, labels) in enumerate(zip(crops, parser.parse_crops(crops), strict=True)):
            yield f"{name}#{number}" if number else name, image, labels
    if not count:
        raise CalibrationError("there are no frames to calibrate on", remedy="give images, a video or a camera")


def frames_of(source: str, seconds: float, every: int, *, progress: Progress = NO_PROGRESS) -> Iterator[NamedFrame]:
    """Yield images of a folder or glob, every n-th frame of a video, or those of a live source for some seconds."""
    if is_image_source(source):
        paths = find_images([source])
        progress.stage("reading images", len(paths))
        for path in paths:
            yield path.stem, read_image(path)
            progress.advance()
        return
    stream = open_source(source)
    progress.stage("reading frames")
    name, first = ("camera", CAMERA_WARM_UP) if stream.live else (Path(source).stem, 0)
    deadline = time.monotonic() + seconds
    try:
        for number in itertools.count():
            frame = stream.read()
            if frame is None or (stream.live and time.monotonic() > deadline):
                break
            if number >= first and number % every == 0:
                yield f"{name}-{number:06d}", frame
                progress.advance()
    finally:
        stream.close()


def is_blank(image_bgr: UInt8Array) -> bool:
    """Return whether an image is black or of a single colour."""
    return bool(image_bgr.max() <= MAX_BLACK or image_bgr.std() <= MIN_DEVIATION)

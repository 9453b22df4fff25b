"""What `--source` accepts, and which source opens it."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from edge_segface.camera.sources.base import CameraRequest, Credentials, Source
from edge_segface.camera.sources.demo import DemoSource
from edge_segface.camera.sources.files import ImageSource, VideoSource, is_image_source
from edge_segface.camera.sources.gstreamer import GstSource, has_element
from edge_segface.camera.sources.opencv import check_video_device, open_opencv_camera, open_opencv_stream
from edge_segface.camera.sources.pipelines import csi_pipelines, rtsp_pipelines, usb_pipeline, user_pipeline
from edge_segface.errors import SourceError, did_you_mean, first_line
from edge_segface.frames import MAX_SIDE, MIN_SIDE
from edge_segface.redaction import redact

MAX_LENGTH = 1000  # characters of a file name or pattern
GRAMMAR = "a number or /dev/videoN, csi://N, rtsp://, http://, gst:PIPELINE, a video, images, or demo"


def open_source(text: str, request: CameraRequest | None = None) -> Source:
    """Open the source that `text` names; `request` applies to cameras."""
    request = request or CameraRequest()
    if text == "demo":
        return DemoSource(request.size_wh)
    if text.startswith("gst:"):
        pipeline = user_pipeline(text.removeprefix("gst:"))
        return GstSource("the pipeline", [pipeline], endless=False, stop=request.stop)
    if match := re.fullmatch(r"csi://(\d+)", text):
        return GstSource(f"CSI camera {match[1]}", csi_pipelines(int(match[1]), request), stop=request.stop)
    if text.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        return open_network(text, request)
    if match := re.fullmatch(r"(?:v4l2://)?/dev/video(\d+)|(\d+)", text):
        return open_usb(int(match[1] or match[2]), request)
    if not text or len(text) > MAX_LENGTH or ("://" in text and not text.startswith("file://")):
        raise SourceError(f"{text[:80]!r} is not a valid source", remedy=f"use {GRAMMAR}")
    return open_files(text.removeprefix("file://"))


def open_usb(number: int, request: CameraRequest) -> Source:
    """Open a USB camera with hardware decoding on Jetson boards, otherwise, or if that fails, with OpenCV."""
    if has_element("nvv4l2decoder"):
        check_video_device(Path(f"/dev/video{number}"))
        try:
            return GstSource(f"/dev/video{number}", [usb_pipeline(number, request)], stop=request.stop)
        except SourceError:
            return open_opencv_camera(number, request)
    return open_opencv_camera(number, request)


def open_network(url: str, request: CameraRequest) -> Source:
    """Open a network camera or stream."""
    if len(url) > MAX_LENGTH or not url.isprintable() or " " in url:
        raise SourceError(f"{url[:80]!r} is not a valid address", remedy="write spaces in it as %20")
    if credentials := request.credentials or Credentials.load(None):
        url = credentials.added_to(url)
    return open_rtsp(url, request.stop) if url.startswith("rtsp") else open_opencv_stream(url)


def open_rtsp(url: str, stop: threading.Event) -> Source:
    """Open an RTSP stream with GStreamer, or with FFmpeg if GStreamer is not installed or fails."""
    try:
        return GstSource(redact(url), rtsp_pipelines(url), stop=stop)
    except SourceError as gstreamer_error:
        if stop.is_set():
            raise
        try:
            return open_opencv_stream(url)
        except SourceError as error:
            raise SourceError(error.what, found=gstreamer_error, remedy=error.remedy) from gstreamer_error


def open_files(text: str) -> Source:
    """Open a video, an image, or a folder or glob of images."""
    path = Path(text)
    try:
        is_missing = not path.exists() and not any(character in text for character in "*?[")
    except (OSError, ValueError) as error:  # a name that no file can have
        raise SourceError(f"{text[:80]!r} is not a valid source", found=first_line(error)) from error
    if is_missing:
        raise SourceError(f"{text} does not exist", remedy=f"{similar_file(path)}use {GRAMMAR}")
    return ImageSource(text) if is_image_source(text) else VideoSource(path)


def similar_file(path: Path) -> str:
    """Return `did you mean X? ` for the file beside a missing one whose name is most similar, or nothing."""
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, [item.name for item in path.parent.iterdir()])


def size_from(text: str) -> tuple[int, int]:
    """Parse a frame size written as WIDTHxHEIGHT."""
    if not (match := re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)):
        raise SourceError(f"{text!r} is not a valid size", remedy="type WIDTHxHEIGHT, for example 1280x720")
    size_wh = int(match[1]), int(match[2])
    if not MIN_SIDE <= min(size_wh) <= max(size_wh) <= MAX_SIDE:
        raise SourceError(f"{text} is not a valid size", remedy=f"use {MIN_SIDE} to {MAX_SIDE} pixels a side")
    return size_wh

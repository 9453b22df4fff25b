"""Cameras and streams, read with GStreamer."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from edge_segface.camera.sources.gstreamer_process import GStreamerProcess
from edge_segface.camera.sources.pipelines import Pipeline
from edge_segface.errors import SourceError
from edge_segface.frames import UInt8Array

NEXT_CANDIDATE_S = 2.0  # without a first frame, after which the next pipeline is tried
FIRST_FRAME_S = 10.0  # for the last pipeline: a distant stream may be slow to start
STALL_S = 5.0


class GstSource:
    """Frames of the first of several pipelines that works.

    An `endless` source is a camera or stream: reaching the end of it is an error, and old frames are dropped. A user's
    own pipeline loses none unless it is live, and then they are counted.
    """

    frames_independent = False
    frame_name: str | None = None

    def __init__(
        self,
        title: str,
        pipelines: Sequence[Pipeline],
        *,
        endless: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        self._title, self._endless = title, endless
        usable = usable_pipelines(title, pipelines)
        self._process, first = start_first_working(usable, stop or threading.Event(), leaky=endless)
        self.live, self.fps = endless or self._process.is_live(), self._process.fps
        self._first: UInt8Array | None = first
        height, width = first.shape[:2]
        self.description = f"{title}, {width}x{height}, by GStreamer ({self._process.name})"

    def read(self) -> UInt8Array | None:
        frame, self._first = self._first, None
        if frame is not None:
            return frame
        frame = self._process.read_frame(STALL_S)
        if frame is None and self._endless:
            raise SourceError(f"{self._title} stopped delivering frames", found="the end of the stream")
        return frame

    def close(self) -> None:
        self._process.close()


def usable_pipelines(title: str, pipelines: Sequence[Pipeline]) -> list[Pipeline]:
    """Return the pipelines whose elements are all installed; raise if there are none."""
    if shutil.which("gst-launch-1.0") is None:
        raise SourceError(
            f"{title} needs GStreamer, but gst-launch-1.0 is not installed",
            remedy="run: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-good",
        )
    usable = [pipeline for pipeline in pipelines if all(map(has_element, pipeline.elements))]
    if not usable:
        missing = {name for pipeline in pipelines for name in pipeline.elements if not has_element(name)}
        raise SourceError(
            f"{title} cannot be opened",
            found=f"no GStreamer element {' or '.join(sorted(missing))}",
            remedy="install the plugin that contains it",
        )
    return usable


def start_first_working(
    pipelines: Sequence[Pipeline], stop: threading.Event, *, leaky: bool
) -> tuple[GStreamerProcess, UInt8Array]:
    """Start one pipeline after another until one delivers a frame; raise the error of the last."""
    *others, last = pipelines
    for pipeline in others:
        with suppress(SourceError):
            return start(pipeline, stop, NEXT_CANDIDATE_S, leaky=leaky)
    return start(last, stop, FIRST_FRAME_S, leaky=leaky)


def start(
    pipeline: Pipeline, stop: threading.Event, timeout_s: float, *, leaky: bool = True
) -> tuple[GStreamerProcess, UInt8Array]:
    """Start a pipeline and wait for its first frame."""
    process = GStreamerProcess(pipeline, stop, leaky=leaky)
    try:
        frame = process.read_frame(timeout_s)
        if frame is None:
            raise SourceError(f"{pipeline.name} ended before its first frame")
    except BaseException:
        process.close()
        raise
    return process, frame


@cache
def has_element(name: str) -> bool:
    """Whether a GStreamer element is installed."""
    tool = shutil.which("gst-inspect-1.0")
    if tool is None:
        return False
    command = [tool, "--exists", name]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603

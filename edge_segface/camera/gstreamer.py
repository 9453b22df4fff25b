"""Frames of a GStreamer pipeline, by gst-launch-1.0 in a process of its own that writes them into a pipe.

OpenCV as pip installs it has no GStreamer, and a driver that hangs or crashes must not take this process along. No
shell is involved: arguments go to the program one by one.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np

from edge_segface.errors import SourceError
from edge_segface.frames import UInt8Array

PIPE_BYTES = 1 << 20
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which fcntl names from Python 3.10 on, and not everywhere
FIRST_FRAME_S = 2.0  # for all but the last candidate
LAST_FRAME_S = 10.0  # a stream far away may take its time
STALL_S = 5.0
ENDING_S = 5.0
SLICE_S = 0.1  # of any wait, after which it is seen whether to stop
SAID = 60  # lines
CAPS = re.compile(r"GstFdSink:\S+sink: caps = video/x-raw.*?width=\(int\)(\d+), height=\(int\)(\d+)")
OURS = ["!", "queue", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0", "leaky=downstream"]


@dataclass(frozen=True)
class Pipeline:
    """What stands before our own sink: a name for people, the elements it needs, and the words of gst-launch-1.0."""

    name: str
    elements: tuple[str, ...]
    words: tuple[str, ...]


def user_pipeline(text: str) -> Pipeline:
    """What a user wrote behind `gst:`; an appsink at its end, as OpenCV wants it, gives way to ours."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SourceError(f"gst:{text} cannot be read", found=error, remedy="close its quotes") from error
    if "!" in words:
        last = len(words) - words[::-1].index("!")
        if words[last : last + 1] and words[last] in ("appsink", "fakesink", "autovideosink", "fdsink"):
            words = words[: last - 1]
    if not words:
        raise SourceError("gst: needs a pipeline", remedy="such as gst:'v4l2src ! videoconvert'")
    return Pipeline("your pipeline", (), tuple(words))


class GstSource:
    """The first of several pipelines that gives a frame in time. The end of one that is `endless` is a failure."""

    live = True
    apart = False
    fps = 30.0

    def __init__(
        self,
        title: str,
        pipelines: Sequence[Pipeline],
        *,
        endless: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        self._title, self._endless = title, endless
        if shutil.which("gst-launch-1.0") is None:
            raise SourceError(
                f"{title} needs GStreamer, and there is no gst-launch-1.0 here",
                remedy="run: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-good",
            )
        usable = [pipeline for pipeline in pipelines if all(map(has_element, pipeline.elements))]
        if not usable:
            lacking = sorted({name for each in pipelines for name in each.elements if not has_element(name)})
            raise SourceError(f"{title} cannot be opened", found=f"no GStreamer element {' or '.join(lacking)}")
        failures = []
        for pipeline in usable:
            self._child = Child(pipeline, stop or threading.Event())
            timeout = LAST_FRAME_S if pipeline is usable[-1] else FIRST_FRAME_S
            try:
                self._first: UInt8Array | None = self._child.frame(timeout)
                if self._first is None:
                    raise SourceError(f"{pipeline.name} ended before its first frame")
            except SourceError as error:
                self._child.close()
                failures.append(error)
                continue
            except BaseException:
                self._child.close()
                raise
            height, width = self._first.shape[:2]
            self.description = f"{title}, {width}x{height}, by GStreamer ({pipeline.name})"
            return
        raise failures[-1]

    def read(self) -> UInt8Array | None:
        frame, self._first = self._first, None
        if frame is not None:
            return frame
        frame = self._child.frame(STALL_S)
        if frame is None and self._endless:
            raise SourceError(f"{self._title} broke off", found="the end of the stream")
        return frame

    def close(self) -> None:
        self._child.close()


class Child:
    """One gst-launch-1.0 and the pipe that its frames come through."""

    def __init__(self, pipeline: Pipeline, stop: threading.Event) -> None:
        self._name, self._stop = pipeline.name, stop
        ours, its = os.pipe()
        with suppress(ImportError, OSError):  # a frame at a time instead of 64 KB; not where users may not
            import fcntl

            fcntl.fcntl(its, SET_PIPE_SIZE, PIPE_BYTES)
        sink = [*OURS, "!", "videoconvert", "!", "video/x-raw,format=BGR", "!", "fdsink", f"fd={its}", "sync=false"]
        try:
            self.process = subprocess.Popen(  # noqa: S603
                ["gst-launch-1.0", "-v", *pipeline.words, *sink],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(its,),
                start_new_session=True,  # Ctrl-C is for us: we end it
                text=True,
                errors="replace",
            )
        finally:
            os.close(its)
        self._pipe = open(ours, "rb", buffering=0)  # noqa: SIM115
        self._said: deque[str] = deque(maxlen=SAID)
        self._size_wh: tuple[int, int] | None = None
        self._sized = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="gstreamer", daemon=True)
        self._listener.start()

    def frame(self, timeout_s: float) -> UInt8Array | None:
        """The next frame; None at the end of the stream; an error if it breaks off, or nothing comes in time."""
        until = time.monotonic() + timeout_s
        while not self._sized.wait(SLICE_S):
            self._check(until, timeout_s)
        if self._size_wh is None:
            raise self._failed("did not start")
        width, height = self._size_wh
        stride = (3 * width + 3) // 4 * 4  # GStreamer's rows begin at multiples of four bytes
        content = np.empty(stride * height, dtype=np.uint8)
        view, filled = content.data, 0
        while filled < len(content):
            ready, _, _ = select.select([self._pipe], [], [], SLICE_S)
            if not ready:
                self._check(until, timeout_s)
                continue
            count = self._pipe.readinto(view[filled:])
            if not count:
                if self._exit_code() == 0 and filled == 0:
                    return None
                raise self._failed("broke off")
            filled += count
        if (width, height) != self._size_wh:
            raise self._failed("changed its size")
        return content.reshape(height, stride)[:, : 3 * width].reshape(height, width, 3)

    def close(self) -> None:
        self._pipe.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._listener.join(2)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _exit_code(self) -> int | None:
        """Of a process that has closed its pipe, and so is about to end."""
        try:
            return self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            return None

    def _check(self, until: float, timeout_s: float) -> None:
        if self._stop.is_set():
            raise SourceError(f"{self._name} was stopped")
        if time.monotonic() > until:
            raise self._failed(f"gave no frame in {timeout_s:g} s")

    def _listen(self) -> None:
        """Reads what it says until its end: the size of its frames, and the last words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := CAPS.search(line):
                self._size_wh = int(found[1]), int(found[2])
                self._sized.set()
            elif not line.startswith("/Gst"):
                self._said.append(line.strip())
        self._sized.set()  # whoever waits need not wait longer

    def _failed(self, what: str) -> SourceError:
        if self.process.poll() is not None:
            self._listener.join(1)
        words = [line for line in self._said if line.startswith(("ERROR", "WARNING", "erroneous"))] or list(self._said)
        return SourceError(f"{self._name} {what}", found=" ".join(words[:2])[:300] or "it said nothing")


@cache
def has_element(name: str) -> bool:
    tool = shutil.which("gst-inspect-1.0")
    return (
        tool is not None
        and subprocess.run([tool, "--exists", name], capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603
    )

"""Frames of a GStreamer pipeline, by gst-launch-1.0 in a process of its own that writes them into a pipe.

OpenCV as pip installs it has no GStreamer, and a driver that hangs or crashes must not take this process along. No
shell is involved: arguments go to the program one by one.

They come as YUV4MPEG: it says its size, while the caps that `gst-launch-1.0 -v` prints do not always come; and cameras
and decoders give 4:2:0 anyway, which is half the bytes of BGR.
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

import cv2
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
HEADER, FRAME = b"YUV4MP", b"FRAME\n"  # how the stream and each frame begin, in as many bytes
SIZE = re.compile(rb" W(\d+) H(\d+)")
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
            self._child = GStreamerProcess(pipeline, stop or threading.Event())
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


class GStreamerProcess:
    """One gst-launch-1.0 and the pipe that its frames come through."""

    def __init__(self, pipeline: Pipeline, stop: threading.Event) -> None:
        self._name, self._stop = pipeline.name, stop
        ours, its = os.pipe()
        with suppress(ImportError, OSError):  # a frame at a time instead of 64 KB; not where users may not
            import fcntl

            fcntl.fcntl(its, SET_PIPE_SIZE, PIPE_BYTES)
        caps = "video/x-raw,format=I420,colorimetry=bt601"
        sink = [*OURS, "!", "videoconvert", "!", caps, "!", "y4menc", "!", "fdsink", f"fd={its}", "sync=false"]
        try:
            self.process = subprocess.Popen(  # noqa: S603
                ["gst-launch-1.0", *pipeline.words, *sink],  # noqa: S607
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
        self._size_wh = (0, 0)
        self._listener = threading.Thread(target=self._listen, name="gstreamer", daemon=True)
        self._listener.start()

    def frame(self, timeout_s: float) -> UInt8Array | None:
        """The next frame; None at the end of the stream; an error if it breaks off, or nothing comes in time."""
        until = time.monotonic() + timeout_s
        while True:
            head = self._read(len(FRAME), until, timeout_s)
            if head is None:
                return None
            if head.tobytes() == FRAME:
                break
            if head.tobytes() != HEADER:
                raise self._failed(f"gives rows of another length: ask for a width other than {self._size_wh[0]}")
            self._size_wh = self._read_size(until, timeout_s)
        width, height = self._size_wh
        wide, narrow = (
            round_up(width, 4),
            round_up((width + 1) // 2, 4),
        )  # GStreamer's rows begin at multiples of four bytes
        rows = round_up(height, 2)
        content = self._read(rows * (wide + narrow), until, timeout_s)
        return None if content is None else bgr_from_i420(content, (width, height), wide, narrow)

    def _read_size(self, until: float, timeout_s: float) -> tuple[int, int]:
        line = b""
        while not line.endswith(b"\n"):
            letter = self._read(1, until, timeout_s)
            line += b"\n" if letter is None else letter.tobytes()
        found = SIZE.search(line)
        if found is None:
            raise self._failed("says no size")
        return int(found[1]), int(found[2])

    def _read(self, count: int, until: float, timeout_s: float) -> UInt8Array | None:
        """So many bytes; None if the stream has ended."""
        content = np.empty(count, dtype=np.uint8)
        view, filled = content.data, 0
        while filled < count:
            ready, _, _ = select.select([self._pipe], [], [], SLICE_S)
            if not ready:
                self._check(until, timeout_s)
                continue
            got = self._pipe.readinto(view[filled:])
            if not got:
                if self._exit_code() == 0:
                    return None
                raise self._failed("broke off" if self._size_wh[0] else "did not start")
            filled += got
        return content

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
        """Reads what it says until its end, for its last words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line.strip())

    def _failed(self, what: str) -> SourceError:
        if self.process.poll() is not None:
            self._listener.join(1)
        words = [line for line in self._said if line.startswith(("ERROR", "WARNING", "erroneous"))] or list(self._said)
        return SourceError(f"{self._name} {what}", found=" ".join(words[:2])[:300] or "it said nothing")


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def bgr_from_i420(content: UInt8Array, size_wh: tuple[int, int], wide: int, narrow: int) -> UInt8Array:
    """Of odd sizes without the last row or column, as OpenCV takes even ones."""
    width, height = (side - side % 2 for side in size_wh)
    if (wide, 2 * narrow) != (width, width):
        rows = round_up(size_wh[1], 2)
        luma = content[: rows * wide].reshape(rows, wide)[:height, :width]
        chroma = content[rows * wide :].reshape(2, rows // 2, narrow)[:, : height // 2, : width // 2]
        content = np.concatenate([luma.ravel(), chroma.ravel()])
    whole = content[: height * width * 3 // 2].reshape(height * 3 // 2, width)
    return np.asarray(cv2.cvtColor(whole, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)


@cache
def has_element(name: str) -> bool:
    tool = shutil.which("gst-inspect-1.0")
    return (
        tool is not None
        and subprocess.run([tool, "--exists", name], capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603
    )

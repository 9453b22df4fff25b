"""A process that runs a GStreamer pipeline (gst_program.py) and writes its frames into a pipe.

OpenCV from PyPI is built without GStreamer, and in a process of its own a driver that hangs or crashes cannot take
this program down.

Frames arrive as YUV4MPEG because its header always carries the frame size, while `gst-launch-1.0 -v` does not always
print the caps. Cameras and decoders deliver 4:2:0 anyway, which is half the bytes of BGR.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np

from edge_segface.camera.sources.pipelines import Pipeline
from edge_segface.camera.sources.y4m import FRAME_START, STREAM_START, I420Layout, fps_from_header, size_from_header
from edge_segface.errors import SourceError
from edge_segface.frames import UInt8Array
from edge_segface.isolation import isolated_python
from edge_segface.redaction import redact

PIPE_BYTES = 1 << 20
EXIT_S = 5.0  # for a process to exit after it has closed its pipe
POLL_S = 0.1  # between checks for `stop` and for the timeout
STATE_S = 2.0  # for the program to print whether the pipeline is live, which it does before the first frame
LIVE, NOT_LIVE = "Pipeline is live", "Pipeline is PREROLLING"
OUTPUT_LINES = 60  # of the process's own output that are kept
QUEUE = ["!", "queue", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0"]
NEWEST_ONLY = ["leaky=downstream"]
ENCODER = ["!", "videoconvert", "!", "video/x-raw,format=I420,colorimetry=bt601", "!", "y4menc"]


class GStreamerProcess:
    """One running pipeline. `stop` ends any wait for a frame. With `leaky`, frames that nobody waits for are lost."""

    def __init__(self, pipeline: Pipeline, stop: threading.Event, *, leaky: bool = True) -> None:
        self.name = pipeline.name
        self._stop = stop
        read_end, write_end = os.pipe()
        enlarge_pipe(write_end)
        sink = [*QUEUE, *(NEWEST_ONLY if leaky else []), *ENCODER, "!", "fdsink", f"fd={write_end}", "sync=false"]
        try:
            self.popen = subprocess.Popen(  # noqa: S603
                isolated_python("edge_segface.camera.sources.gst_program"),
                stdin=subprocess.PIPE,  # which stays open: when it closes, so does the pipeline
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,  # so that Ctrl-C reaches this program only, which ends the process
                env={**os.environ, "LANGUAGE": "C"},  # messages in English
                text=True,
                errors="replace",
            )
        finally:
            os.close(write_end)
        self._send({"words": [*pipeline.arguments, *sink], "properties": pipeline.properties})
        self._pipe = open(read_end, "rb", buffering=0)  # noqa: SIM115
        self.fps = 30.0
        self._layout: I420Layout | None = None
        self._live = True
        self._state_known = threading.Event()
        self._timeout_s = self._deadline_s = 0.0
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._output_reader = threading.Thread(target=self._collect_output, name="gstreamer", daemon=True)
        self._output_reader.start()

    def read_frame(self, timeout_s: float) -> UInt8Array | None:
        """Return the next frame, or None at the end of the stream. Raise if the process fails or times out."""
        self._timeout_s, self._deadline_s = timeout_s, time.monotonic() + timeout_s
        start = self._read(len(FRAME_START))
        if start is not None and start.tobytes() == STREAM_START:
            self._layout = self._read_header()
            start = self._read(len(FRAME_START))
        if start is None:
            return None
        if self._layout is None:
            raise self._error("does not report a frame size")
        if start.tobytes() != FRAME_START:
            raise self._error("pads rows in an unknown way", f"request a width other than {self._layout.width}")
        content = self._read(self._layout.frame_bytes)
        return None if content is None else self._layout.bgr_from(content)

    def is_live(self) -> bool:
        """Return whether the pipeline runs by a clock of its own, as cameras do; GStreamer says so when it starts."""
        self._state_known.wait(STATE_S)
        return self._live

    def close(self) -> None:
        self._pipe.close()
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self._output_reader.join(2)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                with suppress(OSError):  # a pipe that the process has closed
                    stream.close()

    def _send(self, task: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        with suppress(OSError):  # a process that has ended already: reading its frames says why
            self.popen.stdin.write(json.dumps(task) + "\n")
            self.popen.stdin.flush()

    def _read_header(self) -> I420Layout:
        line = b""
        while not line.endswith(b"\n"):
            character = self._read(1)
            line += b"\n" if character is None else character.tobytes()
        size_wh = size_from_header(line)
        if size_wh is None:
            raise self._error("does not report a frame size")
        self.fps = fps_from_header(line) or self.fps
        return I420Layout(*size_wh)

    def _read(self, count: int) -> UInt8Array | None:
        """Return `count` bytes, or None if the stream has ended."""
        content = np.empty(count, dtype=np.uint8)
        view, filled = content.data, 0
        while filled < count:
            ready, _, _ = select.select([self._pipe], [], [], POLL_S)
            if not ready:
                self._check_waiting()
                continue
            received = self._pipe.readinto(view[filled:])
            if not received:
                if self._exit_code() == 0:
                    return None
                raise self._error("did not start" if self._layout is None else "stopped unexpectedly")
            filled += received
        return content

    def _check_waiting(self) -> None:
        if self._stop.is_set():
            raise SourceError(f"{self.name} was stopped")
        if time.monotonic() > self._deadline_s:
            raise self._error(f"delivered no frame within {self._timeout_s:g} s")

    def _exit_code(self) -> int | None:
        """Return the exit code of a process that has closed its pipe, or None if it does not exit."""
        try:
            return self.popen.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return None

    def _collect_output(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._output.append(redact(line.strip()))
            if line.startswith((LIVE, NOT_LIVE)):
                self._live = line.startswith(LIVE)
                self._state_known.set()
        self._state_known.set()

    def _error(self, what: str, remedy: str = "") -> SourceError:
        """An error that quotes the first lines that the process printed about it."""
        if self.popen.poll() is not None:
            self._output_reader.join(1)
        output = list(self._output)
        lines = [line for line in output if line.startswith(("ERROR", "WARNING", "erroneous"))] or output
        return SourceError(f"{self.name} {what}", found=" ".join(lines[:2])[:300] or "no output", remedy=remedy)


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold a whole frame instead of 64 KB, where the system and its limits allow it."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

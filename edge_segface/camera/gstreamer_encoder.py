"""Hardware encoders that GStreamer reaches and FFmpeg does not: those of Jetson boards.

A gst-launch-1.0 process takes raw frames and returns an H.264 byte stream. FFmpeg's parser cuts it into frames, which
get their time stamps back here.
"""

from __future__ import annotations

import os
import queue
import select
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from edge_segface.camera.encoders import Shape, i420_from_bgr, mux_stream, packet_of
from edge_segface.camera.sources.gstreamer import has_element
from edge_segface.camera.sources.gstreamer_process import enlarge_pipe
from edge_segface.frames import UInt8Array

STUCK_S = 5.0  # in which an encoder takes a frame, or delivers its last ones
TRIAL_S = 10.0
READ_BYTES = 1 << 16
IDR = 5  # type of the units of a key frame
BYTE_STREAM = "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"


@dataclass(frozen=True)
class GstCodec:
    """An encoder element and the pipeline from I420 through it, with {bit_rate} and {interval} to fill in."""

    element: str
    pipeline: str

    def arguments(self, shape: Shape) -> list[str]:
        return shlex.split(self.pipeline.format(bit_rate=shape.bit_rate, interval=shape.key_interval))


JETSON = GstCodec(
    "nvv4l2h264enc",
    "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate={bit_rate} iframeinterval={interval} "
    "idrinterval={interval} insert-sps-pps=true maxperf-enable=true",
)


def works(codec: GstCodec, shape: Shape) -> bool:
    """Return whether the encoder delivers here: the element is also installed on boards without the hardware."""
    if not has_element(codec.element):
        return False
    caps = f"video/x-raw,format=I420,{size_and_rate(shape)}"
    source = ["videotestsrc", "num-buffers=4", "!", caps, "!", *codec.arguments(shape), "!", "fakesink"]
    try:
        tried = subprocess.run(["gst-launch-1.0", *source], capture_output=True, timeout=TRIAL_S, check=False)  # noqa: S603, S607
    except subprocess.TimeoutExpired:
        return False
    return tried.returncode == 0


class GstEncoder:
    """An encoder of GStreamer. Its errors are OSErrors: of a broken pipe, or of one that nobody empties."""

    def __init__(self, container: OutputContainer, codec: GstCodec, shape: Shape) -> None:
        self.name, self._tick_s = f"H.264 by {codec.element}", shape.tick_s
        self._stream = mux_stream(container, "h264", shape)
        self._parser = av.CodecContext.create("h264", "r")
        self._ticks: deque[int] = deque()
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        read_end, write_end = os.pipe()
        try:
            self._popen = start(codec, shape, write_end)
        finally:
            os.close(write_end)
        assert self._popen.stdin is not None
        self._input = self._popen.stdin.fileno()
        os.set_blocking(self._input, False)
        enlarge_pipe(self._input)
        self._reader = threading.Thread(target=self._read, args=(read_end,), name="encoder", daemon=True)
        self._reader.start()

    def encode(self, image_bgr: UInt8Array, tick: int, *, key_frame: bool) -> Sequence[Packet[Stream]]:  # noqa: ARG002
        self._ticks.append(tick)
        self._send(i420_from_bgr(image_bgr).ravel().data)
        return self._packets()

    def finish(self) -> Sequence[Packet[Stream]]:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._reader.join(STUCK_S)
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        return [*self._packets(), *map(self._stamped, self._parser.parse())]

    def _send(self, content: memoryview) -> None:
        deadline_s = time.monotonic() + STUCK_S
        while content:
            _, ready, _ = select.select([], [self._input], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the encoder took no frame within {STUCK_S:g} s")
            content = content[os.write(self._input, content) :]

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as pipe:
            while content := pipe.read(READ_BYTES):
                self._received.put(content)

    def _packets(self) -> list[Packet[Stream]]:
        packets: list[Packet[Stream]] = []
        while not self._received.empty():
            packets += map(self._stamped, self._parser.parse(self._received.get()))
        return packets

    def _stamped(self, parsed: Packet[Stream]) -> Packet[Stream]:
        if not self._ticks:
            raise OSError("the encoder returned more frames than it was given")
        content, tick = bytes(parsed), self._ticks.popleft()
        return packet_of(self._stream, content, tick, self._tick_s, key_frame=IDR in unit_types(content))


def start(codec: GstCodec, shape: Shape, output: int) -> subprocess.Popen[bytes]:
    """Start the process that reads raw frames from its stdin and writes H.264 to the descriptor `output`."""
    width, height = shape.size_wh
    source = ["fdsrc", "fd=0", f"blocksize={width * height * 3 // 2}", "!", "rawvideoparse", "format=i420"]
    source += size_and_rate(shape).split(",")
    sink = [*shlex.split(BYTE_STREAM), "!", "fdsink", f"fd={output}", "sync=false"]
    return subprocess.Popen(  # noqa: S603
        ["gst-launch-1.0", "-q", *source, "!", *codec.arguments(shape), "!", *sink],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(output,),
        start_new_session=True,  # so that Ctrl-C reaches this program only, which finishes the file
    )


def size_and_rate(shape: Shape) -> str:
    (width, height), rate = shape.size_wh, shape.rate
    return f"width={width},height={height},framerate={rate.numerator}/{rate.denominator}"


def unit_types(content: bytes) -> set[int]:
    """Return the types of the units in an H.264 byte stream, each of which follows the bytes 0, 0, 1."""
    starts = (part[:1] for part in content.split(b"\0\0\1")[1:])
    return {start[0] & 31 for start in starts if start}

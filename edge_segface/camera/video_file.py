"""A video file that plays up to its last second, however its writing ends."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from edge_segface.camera import encoders, gstreamer_encoder
from edge_segface.camera.encoders import Encoder, FFmpegEncoder, JpegEncoder, Shape
from edge_segface.camera.gstreamer_encoder import GstEncoder
from edge_segface.errors import first_line
from edge_segface.frames import UInt8Array

# Fragments of a second until the file is finished, then an index, as seeking and editing need it. The header follows
# the first key frame, because some hardware encoders tell their parameters only there.
FRAGMENTS = {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov+default_base_moof"}
MUXERS: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("mp4", FRAGMENTS),
    ".mov": ("mov", FRAGMENTS),
    ".mkv": ("matroska", {"cluster_time_limit": "1000"}),
    ".avi": ("avi", {}),
}
TICK_S = Fraction(1, 90_000)
KEY_FRAME_S = 1.0  # most that a crash loses
SYNC_S = 1.0


class VideoFileError(Exception):
    """The encoder, FFmpeg or the disk refuses to go on. What has been written stays."""


class VideoFile:
    """Frames of one size with their times, as H.264 in MP4, MKV or MOV, or as Motion JPEG in AVI."""

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float) -> None:
        self._path, self._suffix = path, path.suffix.lower()
        rate = Fraction(fps).limit_denominator(1001)
        self._shape = Shape(size_wh, rate, 1 / rate if self._suffix == ".avi" else TICK_S)
        self._tick = self._key_tick = -1
        self._last: Packet[Stream] | None = None
        muxer, options = MUXERS[self._suffix]
        try:
            self._file = DurableFile(path)
        except OSError as error:
            raise VideoFileError(first_line(error)) from error
        try:
            self._container = av.open(self._file, "w", format=muxer, options={**options, "flush_packets": "1"})
            self._encoder = self._open_encoder()
        except (FFmpegError, OSError, ValueError) as error:
            self._file.close()
            raise VideoFileError(first_line(error)) from error

    @property
    def codec(self) -> str:
        return self._encoder.name

    def write(self, image_bgr: UInt8Array, at_s: float) -> None:
        """Add a frame that appears `at_s` seconds after the start. Raise if it, or an earlier one, was not written."""
        tick = max(round(at_s / self._shape.tick_s), self._tick + 1)
        key_frame = self._tick < 0 or (tick - self._key_tick) * self._shape.tick_s >= KEY_FRAME_S
        if key_frame:
            self._key_tick = tick
        self._tick = tick
        try:
            for packet in self._encoder.encode(image_bgr, tick, key_frame=key_frame):
                self._mux(packet)
            self._file.check()
        except (FFmpegError, OSError, ValueError) as error:
            self._abandon()
            raise VideoFileError(first_line(error)) from error

    def close(self) -> None:
        """Finish the file, and look whether it can be read."""
        try:
            for packet in self._encoder.finish():
                self._mux(packet)
            self._container.close()
            self._file.check()
            self._file.close()
            check_readable(self._path)
        except (FFmpegError, OSError, ValueError) as error:
            self._abandon()
            raise VideoFileError(first_line(error)) from error

    def _open_encoder(self) -> Encoder:
        """Open the first encoder that works here; only trying tells."""
        container, shape = self._container, self._shape
        if self._suffix == ".avi":
            return JpegEncoder(container, shape)
        in_band = self._suffix != ".mkv"
        for codec in encoders.HARDWARE:
            if (in_band or not codec.in_band) and encoders.works(codec, shape):
                return FFmpegEncoder(container, codec, shape)
        if in_band and gstreamer_encoder.works(gstreamer_encoder.JETSON, shape):
            return GstEncoder(container, gstreamer_encoder.JETSON, shape)
        return FFmpegEncoder(container, encoders.X264, shape)

    def _mux(self, packet: Packet[Stream]) -> None:
        if self._suffix == ".avi":
            self._repeat_until(packet)
        packet.duration = max(1, round(1 / self._shape.rate / self._shape.tick_s))  # counts for the last one only
        self._container.mux(packet)
        self._file.mark()

    def _repeat_until(self, packet: Packet[Stream]) -> None:
        """Show the last frame until the next one comes: AVI has no times, only a rate."""
        if (last := self._last) is not None:
            assert last.pts is not None
            assert packet.pts is not None
            for tick in range(last.pts + 1, packet.pts):
                again = encoders.packet_of(last.stream, bytes(last), tick, self._shape.tick_s, key_frame=True)
                self._container.mux(again)
        self._last = encoders.packet_of(
            packet.stream, bytes(packet), packet.pts or 0, self._shape.tick_s, key_frame=True
        )

    def _abandon(self) -> None:
        """Leave the file as it was: half a fragment or index, for which the disk has no room, must not stay in it."""
        self._file.freeze()
        with suppress(FFmpegError, OSError, ValueError):
            self._encoder.finish()
        with suppress(FFmpegError, OSError, ValueError):
            self._container.close()
        with suppress(OSError):
            self._file.close()


def check_readable(path: Path) -> None:
    """Raise unless the file holds a frame that can be decoded: FFmpeg reports few of its own failures to write."""
    with av.open(str(path)) as container:
        if next(container.decode(video=0), None) is None:
            raise ValueError("no frame of it can be read back")


class DurableFile:
    """A new file for FFmpeg to write that reaches the disk every second, so that a power cut loses little.

    After a failed write nothing is added any more, and `freeze` takes back what was added after the last `mark`.
    FFmpeg does not pass the failure on, so `check` raises it.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - `x`: never through a link that somebody put there
        self._frozen: OSError | None = None
        self._marked = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sync, name="disk", daemon=True)
        self._thread.start()

    def write(self, content: bytes) -> int:
        if self._frozen is not None:
            raise self._frozen
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._frozen = error
            raise
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def check(self) -> None:
        """Raise the error of a write that failed."""
        if self._frozen is not None:
            raise self._frozen

    def mark(self) -> None:
        """Remember that what has been written plays."""
        self._marked = self._file.tell()

    def freeze(self) -> None:
        self._frozen = self._frozen or OSError("the file is not written any more")
        with suppress(OSError, ValueError):  # which leaves a longer file
            self._file.truncate(self._marked)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        with self._file:
            os.fsync(self._file.fileno())

    def _sync(self) -> None:
        while not self._done.wait(SYNC_S):
            with suppress(OSError):  # a full disk: the next write fails and reports it
                os.fsync(self._file.fileno())

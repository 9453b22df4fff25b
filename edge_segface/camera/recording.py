"""The sink that records: H.264 by FFmpeg (PyAV), in files that survive a power cut."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from edge_segface.camera.result import FrameResult
from edge_segface.errors import SinkError, first_line
from edge_segface.files import make_folder
from edge_segface.frames import UInt8Array

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

H264 = ("h264_nvenc", "h264_v4l2m2m", "libx264")  # hardware first
CODECS = {".mp4": H264, ".mkv": H264, ".mov": H264, ".avi": ("mjpeg",)}
# What has been written plays even if the file is never finished: it is made of fragments of about a second.
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
MUXER = {".mp4": FRAGMENTED, ".mov": FRAGMENTED, ".mkv": {"cluster_time_limit": "1000"}, ".avi": {}}
ENCODER = {"libx264": {"preset": "superfast", "tune": "zerolatency", "crf": "21"}, "mjpeg": {"qmin": "3", "qmax": "5"}}
TICKS_PER_S = 90_000
KEY_FRAME_S = 1.0  # most that a crash loses
LONGEST_S = 5.0  # longest time that one frame stays in a recording
RESERVE_BYTES = 64 << 20  # disk space left free, so that the recording can still be finished
CHECK_EVERY = 15  # frames
BT709 = 1  # FFmpeg's number of these primaries, transfer and matrix


class Recording:
    """A video of the drawn frames, in the size of the first; later frames of another size are fitted into it.

    Frames of a live source carry the times at which they were captured, so the video plays at real-time speed; pauses
    are cut to five seconds.
    """

    name = "recording"
    draws = True

    def __init__(
        self, path: Path, fps: float, *, live: bool, overwrite: bool = False, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        suffix = path.suffix.lower()
        if suffix not in CODECS:
            raise SinkError(
                f"cannot record {path}", found=path.suffix or "no suffix", remedy=f"name one of {', '.join(CODECS)}"
            )
        if path.exists() and not overwrite:
            raise SinkError(f"{path} already exists", remedy="name another file, or add --overwrite")
        make_folder(path.parent)
        self.path, self.frames, self._reserve = path, 0, reserve_bytes
        self._live, self._fps = live, fps
        self._ticks_per_s = round(fps) if suffix == ".avi" else TICKS_PER_S  # AVI knows whole frames only
        self._container: OutputContainer | None = None
        self._size_wh = (0, 0)
        self._captured_at_s = self._at_s = 0.0
        self._tick, self._key_tick = -1, 0
        self._check_room()

    def show(self, result: FrameResult) -> None:
        image = result.drawn
        if self.frames % CHECK_EVERY == 0:
            self._check_room()
        try:
            if self._container is None:
                self._open(image)
            self._write(letterbox(image, self._size_wh), self._time_of(result))
        except (OSError, ValueError) as error:  # FFmpeg's errors are of these kinds: a full disk, a refused size
            with suppress(OSError, ValueError):
                self.close()
            raise SinkError(f"the recording {self.path} ends", found=first_line(error)) from error
        self.frames += 1

    def close(self) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        with container:
            for packet in self._stream.encode():
                container.mux(packet)

    def _time_of(self, result: FrameResult) -> float:
        """Return when a frame appears in the video, in seconds from its start."""
        if not self._live:
            return self.frames / self._fps
        captured_at_s = result.frame.captured_at_s
        if self.frames:
            self._at_s += min(captured_at_s - self._captured_at_s, LONGEST_S)
        self._captured_at_s = captured_at_s
        return self._at_s

    def _write(self, image_bgr: UInt8Array, at_s: float) -> None:
        from av import VideoFrame
        from av.video.frame import PictureType

        frame = VideoFrame.from_ndarray(image_bgr, format="bgr24")
        if self.path.suffix.lower() != ".avi":
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
        self._tick = max(round(at_s * self._ticks_per_s), self._tick + 1)
        frame.pts, frame.time_base = self._tick, Fraction(1, self._ticks_per_s)
        if not self.frames or self._tick - self._key_tick >= KEY_FRAME_S * self._ticks_per_s:
            frame.pict_type, self._key_tick = PictureType.I, self._tick
        assert self._container is not None
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _open(self, image: UInt8Array) -> None:
        import av

        height, width = image.shape[:2]
        self._size_wh = (width - width % 2, height - height % 2)  # codecs need even sides
        suffix = self.path.suffix.lower()
        self._container = av.open(str(self.path), "w", options={**MUXER[suffix], "flush_packets": "1"})
        self._stream = self._first_that_opens(CODECS[suffix])

    def _first_that_opens(self, codecs: Sequence[str]) -> VideoStream:
        """Add a stream by the first encoder that this machine can open, which only trying tells."""
        for name in codecs[:-1]:
            if can_encode(name, self._size_wh):
                return self._add_stream(name)
        return self._add_stream(codecs[-1])

    def _add_stream(self, codec: str) -> VideoStream:
        assert self._container is not None
        rate = Fraction(self._fps).limit_denominator(1001)
        options = ENCODER.get(codec, {})
        stream = cast("VideoStream", self._container.add_stream(codec, rate=rate, options=options))
        stream.width, stream.height = self._size_wh
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, self._ticks_per_s)
        context.gop_size = max(1, round(self._fps * KEY_FRAME_S))
        if codec != "mjpeg":
            context.color_primaries = context.color_trc = context.colorspace = BT709
        return stream

    def _check_room(self) -> None:
        """End the recording while there is still room to finish it."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise SinkError(f"the recording {self.path} ends", found=error.strerror or error) from error
        if free < self._reserve:
            ends = f"stops after {self.frames} frames" if self.frames else "does not begin"
            raise SinkError(
                f"the recording {self.path} {ends} because the disk is nearly full", found=f"{free >> 20} MB free"
            )


def can_encode(codec: str, size_wh: tuple[int, int]) -> bool:
    """Return whether an encoder opens here; hardware encoders are compiled in, but most machines lack the hardware."""
    from av import CodecContext
    from av.error import FFmpegError

    try:
        context = cast("VideoCodecContext", CodecContext.create(codec, "w"))
        context.width, context.height = size_wh
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 30)
        context.open()
    except (FFmpegError, ValueError, OSError):
        return False
    return True


def letterbox(image: UInt8Array, size_wh: tuple[int, int]) -> UInt8Array:
    """Fit an image into a size, keeping its aspect ratio, on black."""
    height, width = image.shape[:2]
    if (width - width % 2, height - height % 2) == size_wh:
        return np.ascontiguousarray(image[: size_wh[1], : size_wh[0]])
    scale = min(size_wh[0] / width, size_wh[1] / height)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    whole = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    top, left = (size_wh[1] - small.shape[0]) // 2, (size_wh[0] - small.shape[1]) // 2
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole

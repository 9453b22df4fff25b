"""Video encoders: the machine's hardware if it works, which only trying tells, otherwise software."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, cast

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from edge_segface.frames import UInt8Array

BITS_PER_PIXEL = 0.2  # for encoders that need a bit rate: 1.8 Mbit/s at 640x480 and 30 FPS
BT601 = 6  # FFmpeg's number of the primaries, transfer and matrix by which OpenCV converts
MOST_THREADS = 4
TRIAL_FRAMES = 8  # after which an encoder in working order has delivered a packet
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Shape:
    """What is encoded: a size with even sides, the nominal frame rate, and the unit of time stamps."""

    size_wh: tuple[int, int]
    rate: Fraction
    tick_s: Fraction

    @property
    def bit_rate(self) -> int:
        width, height = self.size_wh
        return round(width * height * min(60, float(self.rate)) * BITS_PER_PIXEL)

    @property
    def key_interval(self) -> int:
        """Frames between key frames for encoders that take no orders: half a second at the nominal rate."""
        return max(1, round(self.rate / 2))


@dataclass(frozen=True)
class Codec:
    """An H.264 encoder of FFmpeg. If `in_band`, its parameter sets come with its frames only, which MKV cannot hold."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    in_band: bool = False


X264 = Codec("libx264", {"preset": "superfast", "tune": "zerolatency", "crf": "21"})
NVENC = Codec(
    "h264_nvenc", {"preset": "p4", "tune": "ll", "rc": "vbr", "cq": "23", "bf": "0", "delay": "0", "forced-idr": "1"}
)
V4L2 = Codec("h264_v4l2m2m", in_band=True)  # Raspberry Pi 4 and other boards
HARDWARE = (NVENC, V4L2)


class Encoder(Protocol):
    """Turns frames into packets of a stream. A foreign error of either method ends the recording."""

    name: str

    def encode(self, image_bgr: UInt8Array, tick: int, *, key_frame: bool) -> Sequence[Packet[Stream]]: ...

    def finish(self) -> Sequence[Packet[Stream]]:
        """Return the packets that are still inside."""
        ...


class FFmpegEncoder:
    """An H.264 encoder of the FFmpeg that is part of PyAV."""

    def __init__(self, container: OutputContainer, codec: Codec, shape: Shape) -> None:
        self.name, self._shape = f"H.264 by {codec.name}", shape
        self._stream = cast("VideoStream", container.add_stream(codec.name, rate=shape.rate, options=codec.options))
        self._stream.time_base = shape.tick_s
        configure(self._stream.codec_context, codec, shape)
        if codec.in_band:
            self._stream.codec_context.flags &= ~int(Flags.global_header)

    def encode(self, image_bgr: UInt8Array, tick: int, *, key_frame: bool) -> Sequence[Packet[Stream]]:
        return self._stream.encode(video_frame(image_bgr, tick, self._shape.tick_s, key_frame=key_frame))

    def finish(self) -> Sequence[Packet[Stream]]:
        return self._stream.encode()


class JpegEncoder:
    """Motion JPEG by OpenCV, in which every frame is a key frame."""

    name = "Motion JPEG"

    def __init__(self, container: OutputContainer, shape: Shape) -> None:
        self._stream = mux_stream(container, "mjpeg", shape)
        self._tick_s = shape.tick_s

    def encode(self, image_bgr: UInt8Array, tick: int, *, key_frame: bool) -> Sequence[Packet[Stream]]:  # noqa: ARG002
        _, content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return [packet_of(self._stream, content.tobytes(), tick, self._tick_s, key_frame=True)]

    def finish(self) -> Sequence[Packet[Stream]]:
        return []


def works(codec: Codec, shape: Shape) -> bool:
    """Return whether an encoder delivers here. Hardware encoders are compiled in wherever PyAV runs."""
    grey = np.full((shape.size_wh[1], shape.size_wh[0], 3), 128, dtype=np.uint8)
    try:
        context = cast("VideoCodecContext", av.CodecContext.create(codec.name, "w"))
        context.options = codec.options
        configure(context, codec, shape)
        for index in range(TRIAL_FRAMES):
            tick = round(index / shape.rate / shape.tick_s)
            if context.encode(video_frame(grey, tick, shape.tick_s, key_frame=not index)):
                return True
        return bool(context.encode())
    except (FFmpegError, ValueError, OSError):
        return False


def configure(context: VideoCodecContext, codec: Codec, shape: Shape) -> None:
    """Set up an encoder that has not been opened yet."""
    context.width, context.height = shape.size_wh
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", shape.tick_s, shape.rate
    context.bit_rate = 0 if {"crf", "cq"} & set(codec.options) else shape.bit_rate
    context.gop_size = shape.key_interval if codec.in_band else 10 * shape.key_interval  # for others each frame says
    context.color_primaries = context.color_trc = context.colorspace = BT601
    context.thread_count = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))


def video_frame(image_bgr: UInt8Array, tick: int, tick_s: Fraction, *, key_frame: bool) -> VideoFrame:
    """Return a frame in I420. OpenCV converts it several times faster than FFmpeg does."""
    frame = VideoFrame.from_ndarray(i420_from_bgr(image_bgr), format="yuv420p")
    frame.pts, frame.time_base = tick, tick_s
    frame.pict_type = PictureType.I if key_frame else PictureType.NONE
    return frame


def i420_from_bgr(image_bgr: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)


def mux_stream(container: OutputContainer, codec: str, shape: Shape) -> Stream:
    """Add a stream for packets that FFmpeg did not encode itself."""
    width, height = shape.size_wh
    stream = container.add_mux_stream(codec, rate=shape.rate, width=width, height=height)
    stream.time_base = shape.tick_s
    return stream


def packet_of(stream: Stream, content: bytes, tick: int, tick_s: Fraction, *, key_frame: bool) -> Packet[Stream]:
    packet = Packet(content)
    packet.stream, packet.time_base, packet.pts, packet.dts = stream, tick_s, tick, tick
    packet.is_keyframe = key_frame
    return packet

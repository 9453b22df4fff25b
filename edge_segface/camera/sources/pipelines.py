"""GStreamer pipelines for each kind of camera, in the language of gst-launch-1.0."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from edge_segface.camera.sources.base import CameraRequest
from edge_segface.errors import SourceError

SINKS = ("appsink", "autovideosink", "fakesink", "fdsink")
I420 = "video/x-raw,format=I420"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline without its sink: a name for messages, the elements it requires, and its arguments.

    GStreamer parses the arguments; `properties` of named elements, such as an address, are set without being parsed.
    """

    name: str
    elements: tuple[str, ...]
    arguments: tuple[str, ...]
    properties: dict[str, dict[str, str]] = field(default_factory=dict)


def user_pipeline(text: str) -> Pipeline:
    """Parse the text after `gst:`. A sink at its end, such as OpenCV's appsink, is removed to make room for ours."""
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise SourceError(f"cannot parse gst:{text[:200]}", found=error, remedy="close its quotes") from error
    if "!" in arguments:
        last = len(arguments) - arguments[::-1].index("!")
        if arguments[last : last + 1] and arguments[last] in SINKS:
            arguments = arguments[: last - 1]
    if not arguments:
        raise SourceError("gst: needs a pipeline", remedy="type for example gst:'v4l2src ! videoconvert'")
    return Pipeline("your pipeline", (), tuple(arguments))


def csi_pipelines(number: int, request: CameraRequest) -> list[Pipeline]:
    """CSI cameras: NVIDIA's source on Jetson boards, libcamera's on others."""
    nvidia_caps = f"video/x-raw(memory:NVMM),{size_and_rate(request)},format=NV12"
    return [
        Pipeline(
            "nvarguscamerasrc",
            ("nvarguscamerasrc", "nvvidconv"),
            ("nvarguscamerasrc", f"sensor-id={number}", "!", nvidia_caps, "!", "nvvidconv", "!", I420),
        ),
        Pipeline("libcamerasrc", ("libcamerasrc",), ("libcamerasrc", "!", f"video/x-raw,{size_and_rate(request)}")),
    ]


def usb_pipeline(number: int, request: CameraRequest) -> Pipeline:
    """A USB camera's MJPEG, decoded by the hardware of Jetson boards."""
    source = ("v4l2src", f"device=/dev/video{number}", "!", f"image/jpeg,{size_and_rate(request)}", "!", "jpegparse")
    decoder = ("nvv4l2decoder", "mjpeg=1", "!", "nvvidconv", "!", I420)
    return Pipeline(
        "hardware MJPEG by nvv4l2decoder", ("v4l2src", "nvv4l2decoder", "nvvidconv"), (*source, "!", *decoder)
    )


def rtsp_pipelines(url: str) -> list[Pipeline]:
    """An RTSP stream, decoded by the hardware of Jetson boards if possible, otherwise in software."""
    source = ("rtspsrc", "name=source", "latency=100", "protocols=tcp")
    properties = {"source": {"location": url}}
    decoder = ("nvv4l2decoder", "enable-max-performance=1", "!", "nvvidconv", "!", I420)
    return [
        *(
            Pipeline(
                f"hardware {codec.upper()} by nvv4l2decoder",
                ("nvv4l2decoder", "nvvidconv"),
                (*source, "!", f"rtp{codec}depay", "!", f"{codec}parse", "!", *decoder),
                properties,
            )
            for codec in ("h264", "h265")
        ),
        Pipeline("software", ("rtspsrc",), (*source, "!", "decodebin"), properties),
    ]


def size_and_rate(request: CameraRequest) -> str:
    width, height = request.size_wh
    return f"width={width},height={height},framerate={round(request.fps)}/1"

"""Sources of frames: cameras, network streams, videos, images and a built-in clip."""

from edge_segface.camera.sources.base import CameraRequest, Source
from edge_segface.camera.sources.demo import DemoSource
from edge_segface.camera.sources.files import ImageSource, VideoSource, is_image_source
from edge_segface.camera.sources.grammar import open_source, size_from
from edge_segface.camera.sources.gstreamer import GstSource

__all__ = [
    "CameraRequest",
    "DemoSource",
    "GstSource",
    "ImageSource",
    "Source",
    "VideoSource",
    "is_image_source",
    "open_source",
    "size_from",
]

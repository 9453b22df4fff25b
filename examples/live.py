"""Shared by the examples: their options, the stream of results, and where images go."""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from edge_segface import FaceParser, FrameResult, parse_stream


def open_stream(arguments: argparse.ArgumentParser) -> tuple[argparse.Namespace, Iterator[FrameResult]]:
    """Add the common options, parse all options, and open the source."""
    arguments.add_argument("--source", default="0", help="Source, as for `edge-segface webcam` (default: 0).")
    arguments.add_argument("--model", default="edge-256", help="Model (default: edge-256).")
    arguments.add_argument("--frames", type=int, help="Stop after this many frames (default: run until the end).")
    arguments.add_argument("--out", type=Path, help="Write this video instead of opening a window.")
    options = arguments.parse_args()
    return options, islice(parse_stream(options.source, FaceParser(options.model)), options.frames)


def show(images: Iterable[np.ndarray], options: argparse.Namespace) -> None:
    """Show images in a window until `q` is pressed, or write them to a video."""
    writer = None
    for image in images:
        if options.out is None:
            cv2.imshow("edge-segface", image)
            if cv2.waitKey(1) & 0xFF == ord("q"):
                break
            continue
        if writer is None:
            size_wh = image.shape[1::-1]
            writer = cv2.VideoWriter(str(options.out), cv2.VideoWriter.fourcc(*"mp4v"), 30, size_wh)
        writer.write(image)
    if writer is not None:
        writer.release()

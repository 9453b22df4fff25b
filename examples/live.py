"""What the examples share: their options, and where their pictures go."""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from edge_segface.camera.stream import Seen, parse_stream
from edge_segface.face.parser import FaceParser


def frames(options: argparse.ArgumentParser) -> tuple[argparse.Namespace, Iterator[Seen]]:
    options.add_argument("--source", default="0", help="as of `edge-segface webcam`")
    options.add_argument("--model", default="edge-256")
    options.add_argument("--frames", type=int, help="stop after so many")
    options.add_argument("--out", type=Path, help="a video to write, instead of a window")
    asked = options.parse_args()
    return asked, islice(parse_stream(asked.source, FaceParser(asked.model)), asked.frames)


def show(pictures: Iterable[np.ndarray], asked: argparse.Namespace) -> None:
    writer = None
    for picture in pictures:
        if asked.out is None:
            cv2.imshow("edge-segface", picture)
            if cv2.waitKey(1) & 0xFF == ord("q"):
                break
            continue
        if writer is None:
            writer = cv2.VideoWriter(str(asked.out), cv2.VideoWriter.fourcc(*"mp4v"), 30, picture.shape[1::-1])
        writer.write(picture)
    if writer is not None:
        writer.release()

"""Records until it is killed, and prints the time of each frame in the video."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import numpy as np

from edge_segface.camera.recording import Recording
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sources import DemoSource
from edge_segface.frames import ClassMap, Frame
from edge_segface.labels import CELEBAMASK19

source, recording = DemoSource((320, 240)), Recording(Path(sys.argv[1]), 30, live=False)
nothing = ClassMap(np.zeros((240, 320), np.uint8), CELEBAMASK19)
for index in count():
    recording.show(FrameResult(Frame(source.read(), index, 0.0), nothing, []))
    print(index / 30, flush=True)  # noqa: T201

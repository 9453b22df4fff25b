"""Says when somebody puts on or takes off glasses, a hat, earrings or a necklace.

    python examples/alarm.py --source 0 [--seconds 0.5]

A thing counts as worn once it has been seen on a face for a while, and as gone once it has not.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from live import frames

from edge_segface.face.tracker import TrackedFace
from edge_segface.labels import LabelSpace

WATCHED = ("glasses", "hat", "earring", "necklace")
LEAST = 0.002  # of the square around a face


class Alarm:
    def __init__(self, space: LabelSpace, seconds: float) -> None:
        self.ids = {part: space.id_of(part) for part in WATCHED if part in space.parts}
        self.seconds = seconds
        self.worn: dict[tuple[int, str], bool] = defaultdict(bool)
        self.since: dict[tuple[int, str], float] = {}

    def __call__(self, faces: list[TrackedFace], now_s: float) -> list[str]:
        said = []
        for face in faces:
            counts = np.bincount(face.labels.ravel(), minlength=256) / face.labels.size
            for part, label in self.ids.items():
                key, seen = (face.number, part), counts[label] > LEAST
                if seen == self.worn[key]:
                    self.since.pop(key, None)
                elif now_s - self.since.setdefault(key, now_s) >= self.seconds:
                    self.worn[key] = bool(seen)
                    del self.since[key]
                    said.append(f"face {face.number}: {part} {'on' if seen else 'off'}")
        return said


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=0.5)
    asked, stream = frames(options)
    alarm: Alarm | None = None
    for _, classes, faces in stream:
        alarm = alarm or Alarm(classes.space, asked.seconds)
        for line in alarm(faces, time.monotonic()):
            print(line, flush=True)

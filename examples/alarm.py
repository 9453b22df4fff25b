"""Report when somebody puts on or takes off glasses, a hat, earrings or a necklace.

    python examples/alarm.py --source 0 [--seconds 0.5]

A change is reported once it has lasted for --seconds.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from live import open_stream

from edge_segface import LabelSpace
from edge_segface.face.tracker import TrackedFace

ACCESSORIES = ("glasses", "hat", "earring", "necklace")
MIN_SHARE = 0.002  # of the crop around a face, for an accessory to count as visible


class Alarm:
    """Remembers what each tracked face wears."""

    def __init__(self, space: LabelSpace, seconds: float) -> None:
        self.ids = {part: space.id_of(part) for part in ACCESSORIES if part in space.parts}
        self.seconds = seconds
        self.worn: dict[tuple[int, str], bool] = defaultdict(bool)
        self.changed_at_s: dict[tuple[int, str], float] = {}

    def update(self, faces: Sequence[TrackedFace], now_s: float) -> list[str]:
        """Return a message for each accessory that was put on or taken off."""
        messages = []
        for face in faces:
            shares = np.bincount(face.labels.ravel(), minlength=256) / face.labels.size
            for part, label in self.ids.items():
                key, visible = (face.number, part), bool(shares[label] > MIN_SHARE)
                if visible == self.worn[key]:
                    self.changed_at_s.pop(key, None)
                elif now_s - self.changed_at_s.setdefault(key, now_s) >= self.seconds:
                    self.worn[key] = visible
                    del self.changed_at_s[key]
                    messages.append(f"face {face.number}: {part} {'on' if visible else 'off'}")
        return messages


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=0.5, help="Duration of a change (default: 0.5).")
    options, stream = open_stream(arguments)
    alarm: Alarm | None = None
    for result in stream:
        alarm = alarm or Alarm(result.class_map.space, options.seconds)
        for message in alarm.update(result.faces, time.monotonic()):
            print(message, flush=True)

"""Does the parser find its own faces? Held-out heads in composed 640x480 frames, with none to four faces each.

    python benchmarks/scenes.py MODEL --data DIR [--labels NAME] [--frames 400] [--json results/scenes.json]

A face counts as found if the RoI of a face that FaceFinder reports (one wide look, one close look at what may be a
face) overlaps its own RoI by half or more, intersection over union. Heads and what is quilted behind them come from the
validation split of the dataset, and all is drawn from seeds that training does not use.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_segface.data import Dataset, open_dataset
from edge_segface.data.augment.photometric import distort_colours
from edge_segface.data.synthetic.backdrops import BackdropPool
from edge_segface.data.synthetic.scenes import Scene, compose_scene
from edge_segface.draw import overlay as picture_of
from edge_segface.evaluate import to_model_space
from edge_segface.face.finder import FaceFinder
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.image_io import write_image
from edge_segface.labels import label_space
from edge_segface.machine import machine_info
from edge_segface.regions import Box, Face, overlap

SIZE_WH = (640, 480)
TALL = (80.0, 400.0)  # faces, in pixels of the frame
BANDS = (80, 120, 180, 270, 400)
SEED = 1_000_003


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", default="edge-256")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--dataset", default="folder")
    options.add_argument("--labels", default="celebamask19")
    options.add_argument("--split", default="val")
    options.add_argument("--frames", type=int, default=400)
    options.add_argument("--json", type=Path)
    options.add_argument("--pictures", type=Path, help="Write some frames with what was found here.")
    asked = options.parse_args()
    space = label_space(asked.labels) if asked.dataset == "folder" else None
    heads = open_dataset(asked.dataset, asked.data, asked.split, space)
    with FaceParser(asked.model) as parser:
        report = measured(parser, to_model_space(heads, parser.space), asked.frames, asked.pictures)
    print(json.dumps(report, indent=2))
    if asked.json:
        write_text(json.dumps(report, indent=2) + "\n", asked.json)


def measured(parser: FaceParser, heads: Dataset, frames: int, pictures: Path | None) -> dict[str, Any]:
    finder = FaceFinder(parser)
    faces: list[tuple[float, bool]] = []  # height, found
    false: list[tuple[int, bool]] = []  # how many in a frame, and whether that frame has no face
    for number in range(frames):
        scene = held_out_scene(heads, number)
        found = finder(scene.image_bgr)
        hits, wrong = matched(found, scene)
        heights = (scene.face_boxes_xyxy[:, 3] - scene.face_boxes_xyxy[:, 1]).tolist()
        faces += [(height, hit) for height, hit in zip(heights, hits, strict=True) if TALL[0] <= height <= TALL[1]]
        false.append((wrong, not heights))
        if pictures and number < 48:
            seen = drawn(scene, picture_of(scene.image_bgr, parser(scene.image_bgr)), found)
            write_image(seen, pictures / f"{number:03d}.jpg")
    return {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "model": parser.spec.name,
        "engine": parser.engine.description,
        "frames": frames,
        "faces": len(faces),
        "found_percent": percent([hit for _, hit in faces]),
        "false_per_frame": round(float(np.mean([wrong for wrong, _ in false])), 4),
        "false_per_empty_frame": round(float(np.mean([wrong for wrong, empty in false if empty])), 4),
        "found_percent_by_height": {
            f"{low} to {high} px": percent([hit for height, hit in faces if low <= height < high])
            for low, high in itertools.pairwise(BANDS)
        },
        "machine": machine_info(),
    }


def percent(hits: list[bool]) -> float:
    return round(100 * float(np.mean(hits)), 1) if hits else float("nan")


def held_out_scene(heads: Dataset, number: int) -> Scene:
    rng = np.random.default_rng([SEED, number])
    count = int(rng.choice([0, 1, 2, 3, 4], p=[0.15, 0.4, 0.25, 0.12, 0.08]))
    tallest = TALL[1] if count <= 1 else TALL[1] / 2
    tall = [math.exp(rng.uniform(math.log(TALL[0]), math.log(tallest))) for _ in range(count)]
    some = [heads[int(index)] for index in rng.integers(0, len(heads), count + 3)]
    scene = compose_scene(some[:count], tall, SIZE_WH, rng, BackdropPool(heads.space, some[count:]))
    return Scene(distort_colours(scene.image_bgr, rng), scene.labels, scene.face_boxes_xyxy)


def matched(found: list[Face], scene: Scene) -> tuple[list[bool], int]:
    """For each true face whether it was found, and how many found ones are none."""
    true = [Face((box[0], box[1], box[2], box[3]), 1.0) for box in scene.face_boxes_xyxy.tolist()]
    table = np.array([[overlap(square(one), square(other)) for other in true] for one in found]).reshape(
        len(found), len(true)
    )
    hits, used = [], set()
    for column in range(len(true)):
        best = max(range(len(found)), key=lambda row: table[row, column] if row not in used else -1.0, default=None)
        hit = best is not None and best not in used and table[best, column] >= 0.5
        if hit:
            used.add(best)
        hits.append(bool(hit))
    return hits, len(found) - len(used)


def square(face: Face) -> Box:
    """Its RoI as a box."""
    (left, top), (right, bottom) = face.roi.corners_xy()[[0, 2]].tolist()
    return left, top, right, bottom


def drawn(scene: Scene, picture: np.ndarray, found: list[Face]) -> np.ndarray:
    """True boxes white, found ones yellow."""
    for boxes, paint in (
        (scene.face_boxes_xyxy.tolist(), (255, 255, 255)),
        ([f.box_xyxy for f in found], (0, 255, 255)),
    ):
        for left, top, right, bottom in boxes:
            cv2.rectangle(picture, (int(left), int(top)), (int(right) - 1, int(bottom) - 1), paint, 1)
    return picture


def table(report: dict[str, Any]) -> str:
    where = report["machine"]
    by_height = report["found_percent_by_height"]
    return (
        f"| faces | {' | '.join(by_height)} | all |\n|---|{'---|' * (len(by_height) + 1)}\n"
        f"| found, % | {' | '.join(map(str, by_height.values()))} | {report['found_percent']} |\n\n"
        f"{report['faces']} faces in {report['frames']} frames; {report['false_per_frame']:.3f} false faces a frame, "
        f"{report['false_per_empty_frame']:.3f} in frames without any. {report['model']}, {report['engine']}, "
        f"{where['cpu']}, {report['date']}. Made by `benchmarks/scenes.py`.\n"
    )


if __name__ == "__main__":
    main()

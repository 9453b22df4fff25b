"""Detection rate of FaceFinder: held-out heads in composed 640x480 frames with zero to four faces.

    python benchmarks/scenes.py MODEL --data DIR [--labels NAME] [--frames 400] [--save]

A face counts as found if the RoI of a reported face overlaps its own RoI by half or more (intersection over union).
Heads and the patches behind them come from the validation split of the dataset; frames are composed from seeds that
training does not use.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import common
import cv2
import numpy as np
from common import Report, percent

from edge_segface.data import Dataset
from edge_segface.data.augment.photometric import distort_colours
from edge_segface.data.synthetic.backdrops import BackdropPool
from edge_segface.data.synthetic.scenes import Scene, compose_scene
from edge_segface.draw import overlay
from edge_segface.evaluate import to_model_space
from edge_segface.face.finder import FaceFinder
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array
from edge_segface.image_io import write_image
from edge_segface.regions import Box, Face, overlap

SIZE_WH = (640, 480)
FACE_HEIGHTS = (80.0, 400.0)  # in pixels of the frame
BANDS = (80, 120, 180, 270, 400)
FRAMES = 400
DRAWN_FRAMES = 48
MIN_OVERLAP = 0.5
SEED = 1_000_003
TRUE_BGR, FOUND_BGR = (255, 255, 255), (0, 255, 255)


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("model", nargs="?", default="edge-256", help="Default: edge-256.")
    common.add_dataset(arguments)
    arguments.add_argument("--frames", type=int, default=FRAMES, help=f"Default: {FRAMES}.")
    arguments.add_argument("--save", action="store_true", help="Write results/scenes.json.")
    arguments.add_argument("--images", type=Path, help="Folder for some frames with true and found boxes.")
    options = arguments.parse_args()
    heads = common.open_split(options, "val")
    with FaceParser(options.model, runtime="onnxruntime") as parser:
        report = measure(parser, to_model_space(heads, parser.space), options.frames, options.images)
    print(json.dumps(report, indent=2))
    if options.save:
        common.write_result("scenes", report)


def measure(parser: FaceParser, heads: Dataset, frames: int, images: Path | None) -> Report:
    """Search composed frames for faces and compare with where they were placed."""
    finder = FaceFinder(parser)
    faces: list[tuple[float, bool]] = []  # height, found
    false_faces: list[tuple[int, bool]] = []  # number in a frame, and whether that frame is empty
    for number in range(frames):
        scene = held_out_scene(heads, number)
        found = finder(scene.image_bgr)
        matches = match_faces(found, scene)
        hits = [match is not None for match in matches]
        false_count = len(found) - sum(hits)
        heights = (scene.face_boxes_xyxy[:, 3] - scene.face_boxes_xyxy[:, 1]).tolist()
        lowest, tallest = FACE_HEIGHTS
        faces += [(height, hit) for height, hit in zip(heights, hits, strict=True) if lowest <= height <= tallest]
        false_faces.append((false_count, not heights))
        if images and number < DRAWN_FRAMES:
            drawn = draw_boxes(overlay(scene.image_bgr, parser(scene.image_bgr)), scene, found)
            write_image(drawn, images / f"{number:03d}.jpg")
    return {
        **common.new_report("onnxruntime"),
        "model": parser.spec.name,
        "engine": parser.engine.description,
        "frames": frames,
        "faces": len(faces),
        "found_percent": percent([hit for _, hit in faces]),
        "false_per_frame": round(float(np.mean([count for count, _ in false_faces])), 4),
        "false_per_empty_frame": round(float(np.mean([count for count, empty in false_faces if empty])), 4),
        "found_percent_by_height": {
            f"{low} to {high} px": percent([hit for height, hit in faces if low <= height < high])
            for low, high in itertools.pairwise(BANDS)
        },
    }


def held_out_scene(heads: Dataset, number: int) -> Scene:
    """Compose a frame; the same number gives the same frame."""
    rng = np.random.default_rng([SEED, number])
    count = int(rng.choice([0, 1, 2, 3, 4], p=[0.15, 0.4, 0.25, 0.12, 0.08]))
    lowest, tallest = FACE_HEIGHTS
    tallest = tallest if count <= 1 else tallest / 2
    heights = [math.exp(rng.uniform(math.log(lowest), math.log(tallest))) for _ in range(count)]
    samples = [heads[int(index)] for index in rng.integers(0, len(heads), count + 3)]
    scene = compose_scene(samples[:count], heights, SIZE_WH, rng, BackdropPool(heads.space, samples[count:]))
    return Scene(distort_colours(scene.image_bgr, rng), scene.labels, scene.face_boxes_xyxy)


def match_faces(found: list[Face], scene: Scene) -> list[Face | None]:
    """Return the found face for each true one, if there is any."""
    true = [Face((box[0], box[1], box[2], box[3]), 1.0) for box in scene.face_boxes_xyxy.tolist()]
    unmatched = set(range(len(found)))
    matches: list[Face | None] = []
    for face in true:
        overlaps = {index: overlap(roi_box(found[index]), roi_box(face)) for index in sorted(unmatched)}
        best = max(overlaps, key=lambda index: overlaps[index], default=None)
        if best is None or overlaps[best] < MIN_OVERLAP:
            matches.append(None)
        else:
            unmatched.remove(best)
            matches.append(found[best])
    return matches


def roi_box(face: Face) -> Box:
    (left, top), (right, bottom) = face.roi.corners_xy()[[0, 2]].tolist()
    return left, top, right, bottom


def draw_boxes(image: UInt8Array, scene: Scene, found: list[Face]) -> UInt8Array:
    """Draw true boxes in white and found ones in yellow."""
    boxes = [(box, TRUE_BGR) for box in scene.face_boxes_xyxy.tolist()]
    boxes += [(face.box_xyxy, FOUND_BGR) for face in found]
    for (left, top, right, bottom), colour_bgr in boxes:
        cv2.rectangle(image, (int(left), int(top)), (int(right) - 1, int(bottom) - 1), colour_bgr, 1)
    return image


def table(report: Report) -> str:
    by_height = report["found_percent_by_height"]
    return common.markdown_table(
        ["faces", *by_height, "all"], [["found, %", *by_height.values(), report["found_percent"]]]
    ) + common.footer(
        "scenes",
        report,
        f"{report['faces']} faces in {report['frames']} frames; {report['false_per_frame']:.3f} false faces per frame, "
        f"{report['false_per_empty_frame']:.3f} per frame without faces. `{report['model']}`, {report['engine']}.",
        packages=(),
    )


if __name__ == "__main__":
    main()

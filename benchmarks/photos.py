"""Whole photos: how many faces of composed group photos are found, and how many photos a second are parsed.

    python benchmarks/photos.py MODEL --data DIR [--labels NAME] [--save]

Group photos hold six held-out heads, 150 to 260 px tall, at random places in 1600x1200. The rate counts everything:
decoding a 640x480 JPEG with one face, finding it, parsing it, and writing class ids, record and overlay.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import common
import numpy as np
from common import Report
from scenes import match_faces

from edge_segface.assets import PHOTO_MODEL
from edge_segface.data import Dataset
from edge_segface.data.synthetic.backdrops import BackdropPool
from edge_segface.data.synthetic.scenes import Scene, compose_scene
from edge_segface.evaluate import to_model_space
from edge_segface.face.parse_images import ParseOptions, parse_images
from edge_segface.face.parser import FaceParser
from edge_segface.image_io import write_image

HEADS = 6
HEAD_HEIGHTS = (150.0, 260.0)
FACE_SHARE = 0.5  # of a head's height: from brows' skin to chin, beside hair and neck
GROUP_WH, SINGLE_WH = (1600, 1200), (640, 480)
PHOTOS = 60
SEED = 1_000_033


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("model", nargs="?", default=PHOTO_MODEL, help=f"Default: {PHOTO_MODEL}.")
    common.add_dataset(arguments)
    arguments.add_argument("--photos", type=int, default=PHOTOS, help=f"Photos of each kind. Default: {PHOTOS}.")
    arguments.add_argument("--save", action="store_true", help="Write results/photos.json.")
    common.add_rounds(arguments, 5)
    options = arguments.parse_args()
    with FaceParser(options.model) as parser:
        heads = to_model_space(common.open_split(options, "val"), parser.space)
        report = {
            **common.new_report("onnxruntime"),
            "model": parser.spec.name,
            "engine": parser.engine.description,
            "groups": measure_groups(parser, heads, options.photos),
            "rate": measure_rate(parser, heads, options.photos, options.rounds),
        }
    print(json.dumps(report, indent=2))
    if options.save:
        common.write_result("photos", report)


def measure_groups(parser: FaceParser, heads: Dataset, photos: int) -> Report:
    """Count the faces of group photos that are found, and those that are found but are none."""
    found, placed, false_faces, complete = 0, 0, 0, 0
    for number in range(photos):
        scene = compose(heads, number, HEADS, GROUP_WH)
        faces = [face.face for face in parser(scene.image_bgr).faces]
        hits = [match is not None for match in match_faces(faces, scene)]
        found, placed, false_faces = found + sum(hits), placed + len(hits), false_faces + len(faces) - sum(hits)
        complete += all(hits)
    return {
        "photos": photos,
        "faces": placed,
        "found_percent": round(100 * found / placed, 1),
        "all_found_percent": round(100 * complete / photos, 1),
        "false_per_photo": round(false_faces / photos, 3),
    }


def measure_rate(parser: FaceParser, heads: Dataset, photos: int, rounds: int) -> Report:
    """Time `parse` on a folder of photos with one face each."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(photos):
            path = Path(folder) / f"{number:03d}.jpg"
            write_image(compose(heads, number, 1, SINGLE_WH).image_bgr, path)
            paths.append(path)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            parse_images(parser, paths, Path(folder) / "parsed", ParseOptions(parser.space))
            seconds.append(time.perf_counter() - start)
    return {"photos": photos, "rounds": rounds, "images_per_s": round(photos / float(np.median(seconds)), 1)}


def compose(heads: Dataset, number: int, count: int, size_wh: tuple[int, int]) -> Scene:
    """Compose a photo; the same number gives the same photo."""
    rng = np.random.default_rng([SEED, count, number])
    heights = FACE_SHARE * rng.uniform(*HEAD_HEIGHTS, count)
    samples = [heads[int(index)] for index in rng.integers(0, len(heads), count + 3)]
    return compose_scene(samples[:count], heights.tolist(), size_wh, rng, BackdropPool(heads.space, samples[count:]))


def table(report: Report) -> str:
    groups, rate = report["groups"], report["rate"]
    columns = ("faces found", "photos with all six found", "false faces a photo", "photos parsed a second")
    row = (
        f"{groups['found_percent']} %",
        f"{groups['all_found_percent']} %",
        groups["false_per_photo"],
        rate["images_per_s"],
    )
    return common.markdown_table(columns, [row]) + common.footer(
        "photos",
        report,
        f"{groups['faces']} faces in {groups['photos']} group photos. Rate: median of {rate['rounds']} runs over "
        f"{rate['photos']} photos, from decoding to writing. `{report['model']}`, {report['engine']}.",
        packages=(),
    )


if __name__ == "__main__":
    main()

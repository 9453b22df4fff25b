"""FaceFinder on photographs without people and on small heads in large frames, and what its scores mean.

    python benchmarks/finder.py [MODEL ...] --data DIR --no-faces DIR [--labels NAME] [--fit] [--save]

`--no-faces` is a folder of photographs without people that no training has seen. Small heads, 60 to 120 px tall, come
from the validation split of the dataset and are composed into 1280x720 frames, one to four in each, half of them before
such photographs.

The score of a face is a logistic regression, fitted on the candidates in these images. So that no image judges a fit
that it took part in, photographs and heads are halved: the score fitted on each half is measured on the other one.
`--fit` fits the score on all images and writes it into the package.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import common
import cv2
import numpy as np
import numpy.typing as npt
from common import Report, percent
from scenes import match_faces

from edge_segface.assets import DEFAULT_MODEL, FACE_SCORE, MIN_FACE_SCORE, PHOTO_MODEL
from edge_segface.data import Dataset, Sample
from edge_segface.data.augment.photometric import distort_colours
from edge_segface.data.synthetic.backdrops import BackdropPool
from edge_segface.data.synthetic.scenes import Scene, compose_scene, face_box
from edge_segface.evaluate import to_model_space
from edge_segface.face.finder import FaceFinder
from edge_segface.face.parser import FaceParser
from edge_segface.face_score import FEATURES, FaceScore
from edge_segface.files import write_text
from edge_segface.image_io import find_images, read_image
from edge_segface.labels import LabelSpace
from edge_segface.regions import Face, head_box

FRAME_WH = (1280, 720)
HEAD_HEIGHTS = (60.0, 120.0)  # from hair to chin, in pixels of the frame
BANDS = (60, 80, 100, 120)
FRAMES = 240
SEED = 1_000_037
RIDGE = 1.0  # strength of the penalty on the coefficients
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of scores
QUARTERS = ("darkest", "darker", "lighter", "lightest")  # of the heads, by the lightness of their skin
HALVES = 2
NO_BOXES = np.zeros((0, 4))

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Item:
    """An image, and the faces in it."""

    scene: Scene
    half: int
    heads: Sequence[tuple[float, float]] = ()  # height, and lightness of the skin, in the order of the scene's faces


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the finder took into account in one image."""

    half: int
    values: FloatArray  # (n, features)
    true: npt.NDArray[np.bool_]


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("models", nargs="*", default=[DEFAULT_MODEL, PHOTO_MODEL], metavar="MODEL")
    common.add_dataset(arguments)
    arguments.add_argument("--no-faces", type=Path, required=True, help="Folder of photographs without people.")
    arguments.add_argument("--frames", type=int, default=FRAMES, help=f"Composed frames (default: {FRAMES}).")
    arguments.add_argument("--fit", action="store_true", help="Fit the score on all images and store it.")
    arguments.add_argument("--save", action="store_true", help="Write results/finder.json.")
    options = arguments.parse_args()
    photos = find_images([str(options.no_faces)])
    report: Report = {
        **common.new_report("onnxruntime"),
        "min_score": MIN_FACE_SCORE,
        "photographs_without_people": len(photos),
        "frames": options.frames,
        "models": {},
    }
    for model in options.models:
        with FaceParser(model, runtime="onnxruntime") as parser:
            heads = to_model_space(common.open_split(options, "val"), parser.space)
            report["engine"] = parser.engine.description
            report["models"][model] = measure(parser, heads, photos, options.frames, fit=options.fit)
    print(json.dumps(report, indent=2))
    if options.save:
        common.write_result("finder", report)


def measure(parser: FaceParser, heads: Dataset, photos: list[Path], frames: int, *, fit: bool) -> Report:
    halves = [[heads[index] for index in range(half, len(heads), HALVES)] for half in range(HALVES)]

    def items() -> Iterator[Item]:
        return itertools.chain(photographs(photos), composed(halves, photos, frames, parser.space))

    seen = [candidates(parser, item) for item in items()]
    scores = [fit_score([each for each in seen if each.half != half]) for half in range(HALVES)]
    if fit:
        store(fit_score(seen), parser.spec.name)
    return judged(parser, items(), scores)


def photographs(paths: list[Path]) -> Iterator[Item]:
    for number, path in enumerate(paths):
        image = read_image(path)
        yield Item(Scene(image, np.zeros(image.shape[:2], np.uint8), NO_BOXES), number % HALVES)


def composed(halves: list[list[Sample]], photos: list[Path], frames: int, space: LabelSpace) -> Iterator[Item]:
    """Compose frames with small heads; the same number gives the same frame."""
    for number in range(frames):
        half = number % HALVES
        rng = np.random.default_rng([SEED, number])
        samples = [halves[half][int(index)] for index in rng.integers(0, len(halves[half]), int(rng.integers(1, 5)))]
        tall = [math.exp(rng.uniform(*np.log(HEAD_HEIGHTS))) for _ in samples]
        shares = [face_share(sample, space) for sample in samples]
        order = np.argsort([height * share for height, share in zip(tall, shares, strict=True)])  # as they are placed
        scene = compose_scene(
            [samples[index] for index in order],
            [tall[index] * shares[index] for index in order],
            FRAME_WH,
            rng,
            BackdropPool(space, (), photos[half::HALVES]),
        )
        if len(scene.face_boxes_xyxy) == len(samples):  # all of them found a place
            image = distort_colours(scene.image_bgr, rng)
            about = [(tall[index], skin_lightness(samples[index], space)) for index in order]
            yield Item(replace(scene, image_bgr=image), half, about)


def face_share(sample: Sample, space: LabelSpace) -> float:
    """Return the height of the face relative to that of the head."""
    box = face_box(sample.labels, space)
    assert box is not None
    left, top, right, bottom = box.tolist()
    _, head_top, _, head_bottom = head_box(sample.labels, space, (left, top, right, bottom))
    return float((bottom - top) / (head_bottom - head_top))


def skin_lightness(sample: Sample, space: LabelSpace) -> float:
    """Return the median lightness L* of the skin, 0 to 100."""
    lightness = cv2.cvtColor(sample.image_bgr, cv2.COLOR_BGR2LAB)[..., 0]
    return float(np.median(lightness[sample.labels == space.id_of("skin")]) / 2.55)


def candidates(parser: FaceParser, item: Item) -> Candidates:
    found = FaceFinder(parser, min_score=0)(item.scene.image_bgr)
    return Candidates(
        item.half,
        np.array([face.features for face in found], dtype=float).reshape(-1, len(FEATURES)),
        np.array(are_true(found, match_faces(found, item.scene)), dtype=bool),
    )


def are_true(found: list[Face], matches: list[Face | None]) -> list[bool]:
    return [any(face is match for match in matches) for face in found]


def fit_score(seen: Sequence[Candidates]) -> FaceScore:
    """Fit a logistic regression by Newton's method."""
    values = np.concatenate([each.values for each in seen])
    true = np.concatenate([each.true for each in seen]).astype(float)
    columns = np.column_stack([values, np.ones(len(values))])
    penalty = RIDGE * np.diag([*np.ones(len(FEATURES)), 0.0])
    weights = np.zeros(columns.shape[1])
    for _ in range(30):
        probability = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (probability - true) + penalty @ weights
        curvature = (columns * (probability * (1 - probability))[:, None]).T @ columns + penalty
        weights -= np.linalg.solve(curvature, slope)
    return FaceScore(tuple(weights[:-1].tolist()), float(weights[-1]))


def store(score: FaceScore, model: str) -> None:
    """Write the score of a model into the package, beside those of the others."""
    fitted = json.loads(FACE_SCORE.read_text(encoding="utf-8"))
    fitted[model] = {
        "coefficients": dict(zip(FEATURES, [round(each, 4) for each in score.coefficients], strict=True)),
        "bias": round(score.bias, 4),
    }
    write_text(json.dumps(dict(sorted(fitted.items())), indent=2) + "\n", FACE_SCORE)


def judged(parser: FaceParser, items: Iterator[Item], scores: Sequence[FaceScore]) -> Report:
    """Search every image with the score that was fitted on the other half."""
    false_photos, false_frames = [], []
    faces: list[tuple[float, float, bool]] = []  # height, lightness, found
    reported: list[tuple[float, bool]] = []  # score, true
    for item in items:
        found = FaceFinder(parser, score=scores[item.half])(item.scene.image_bgr)
        matches = match_faces(found, item.scene)
        hits = [match is not None for match in matches]
        false_count = len(found) - sum(hits)
        reported += zip([face.score for face in found], are_true(found, matches), strict=True)
        if item.heads:
            false_frames.append(false_count)
            faces += [(*about, hit) for about, hit in zip(item.heads, hits, strict=True)]
        else:
            false_photos.append(false_count)
    lightnesses = [lightness for _, lightness, _ in faces]
    inner_edges = np.quantile(lightnesses, np.linspace(0, 1, len(QUARTERS) + 1)[1:-1])
    quarters = np.searchsorted(inner_edges, lightnesses, side="right")
    return {
        "photographs_with_a_false_face_percent": percent([count > 0 for count in false_photos]),
        "false_faces_per_frame": round(float(np.mean(false_frames)), 4),
        "faces": len(faces),
        "found_percent": percent([hit for *_, hit in faces]),
        "found_percent_by_head_height": {
            f"{low} to {high} px": percent([hit for height, _, hit in faces if low <= height < high])
            for low, high in itertools.pairwise(BANDS)
        },
        "found_percent_by_skin": {
            name: percent([hit for (*_, hit), quarter in zip(faces, quarters, strict=True) if quarter == number])
            for number, name in enumerate(QUARTERS)
        },
        "by_score": [by_score(reported, low, high) for low, high in itertools.pairwise(BINS) if high > MIN_FACE_SCORE],
    }


def by_score(reported: Sequence[tuple[float, bool]], low: float, high: float) -> Report:
    """Compare the mean score of the faces in a range of scores with the share of them that are true."""
    inside = [(score, true) for score, true in reported if low <= score and (score < high or high == BINS[-1])]
    return {
        "scores": f"{max(low, MIN_FACE_SCORE):.1f} to {high:.1f}",
        "faces": len(inside),
        "mean_score_percent": percent([score for score, _ in inside]),
        "true_percent": percent([true for _, true in inside]),
    }


def table(report: Report) -> str:
    models: dict[str, Report] = report["models"]
    first = next(iter(models.values()))
    found = common.markdown_table(
        [
            "found, %",
            *first["found_percent_by_head_height"],
            *(f"{name} skin" for name in QUARTERS),
            "all",
            "false faces a frame",
            "photographs with a false face, %",
        ],
        [
            [
                name,
                *each["found_percent_by_head_height"].values(),
                *each["found_percent_by_skin"].values(),
                each["found_percent"],
                f"{each['false_faces_per_frame']:.3f}",
                each["photographs_with_a_false_face_percent"],
            ]
            for name, each in models.items()
        ],
    )
    scores = common.markdown_table(
        ["mean score / share of true faces, %", *(each["scores"] for each in first["by_score"])],
        [
            [
                name,
                *(
                    f"{row['mean_score_percent']} / {row['true_percent']} ({row['faces']})" if row["faces"] else "-"
                    for row in each["by_score"]
                ),
            ]
            for name, each in models.items()
        ],
    )
    return f"{found}\n{scores}" + common.footer(
        "finder",
        report,
        f"{first['faces']} heads in {report['frames']} composed 1280x720 frames, "
        f"{report['photographs_without_people']} photographs without people. "
        f"Scores from {report['min_score']}, fitted on the other half of the images; in brackets, the number of "
        f"reported faces. {report['engine']}.",
        packages=(),
    )


if __name__ == "__main__":
    main()

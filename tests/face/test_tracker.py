"""Faces followed through clips whose truth is known, by the bundled model itself."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_segface.assets import PORTRAIT
from edge_segface.camera.sources import DemoSource
from edge_segface.data.synthetic.backdrops import draw_backdrop
from edge_segface.data.synthetic.drawn import Person, draw_person
from edge_segface.errors import ModelError
from edge_segface.face.detector import open_detector
from edge_segface.face.merge import merged_class_map
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.face.track import crop_around
from edge_segface.face.tracker import (
    CLOSE_LOOKS,
    PATIENCE,
    SEARCHES_PER_S,
    FaceTracker,
    TrackedFace,
    covers,
)
from edge_segface.frames import ClassMap, RoI
from edge_segface.image_io import read_image
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import Box, Face, head_box
from edge_segface.timing import Stopwatch


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


def holds(roi: RoI, box: Box) -> bool:
    (left, top), (right, bottom) = roi.corners_xy().min(axis=0), roi.corners_xy().max(axis=0)
    return bool(left <= box[0] and top <= box[1] and right >= box[2] and bottom >= box[3])


def follow(tracker: FaceTracker, source: DemoSource, count: int, start: int = 0) -> list[list[TrackedFace]]:
    """At thirty frames a second, whatever it takes."""
    watch = Stopwatch()
    return [tracker.update(source.read(), n / 30, watch) for n in range(start, start + count)]


@pytest.mark.parametrize("leaves", [False, True])
def test_the_square_holds_a_face_that_moves_turns_leaves_and_returns(parser: FaceParser, leaves: bool) -> None:
    source = DemoSource((640, 480), leaves=leaves)
    frames = follow(FaceTracker(parser), source, 450)
    there = held = extra = 0
    for number, faces in enumerate(frames):
        left, top, right, bottom = box = source.truth(number)
        extra += max(0, len(faces) - 1)
        if left >= 0 and top >= 0 and right < 640 and bottom < 480:
            there += 1
            held += any(holds(face.roi, box) for face in faces)
    assert there > 250
    assert held / there >= 0.98
    assert extra / len(frames) < 0.03  # what is no face


def test_a_face_keeps_its_number_and_its_square_is_steady(parser: FaceParser) -> None:
    still = DemoSource((640, 480)).read()
    tracker, watch = FaceTracker(parser), Stopwatch()
    found = [tracker.update(still, n / 30, watch) for n in range(30)]
    assert {face.number for faces in found for face in faces} == {1}
    assert len({faces[0].roi for faces in found[20:]}) == 1  # not even by a pixel


def crowd(count: int) -> np.ndarray:
    """So many portraits in rows on a grey wall."""
    portrait = cv2.resize(read_image(PORTRAIT), (220, 220), interpolation=cv2.INTER_AREA)
    columns = min(count, 6)
    rows = -(-count // columns)
    image = np.full((220 * rows, 220 * columns, 3), 128, np.uint8)
    for index in range(count):
        y, x = 220 * (index // columns), 220 * (index % columns)
        image[y : y + 220, x : x + 220] = portrait
    return image


def test_two_faces_make_one_batch_and_thirty_are_bounded(parser: FaceParser) -> None:
    two, watch = FaceTracker(parser), Stopwatch()
    for n in range(30):
        faces = two.update(crowd(2), n / 30, watch)
    assert len(faces) == 2
    assert not covers(faces[0].face.box_xyxy, faces[1].face.box_xyxy)
    many, watch = FaceTracker(parser, max_faces=3), Stopwatch()
    for n in range(40):
        faces = many.update(crowd(30), n / 30, watch)
        assert len(faces) <= 3
    assert len(faces) == 3


def test_a_search_has_a_bounded_cost(parser: FaceParser) -> None:
    grey, tracker, watch = np.full((480, 640, 3), 120, np.uint8), FaceTracker(parser), Stopwatch()
    for n in range(300):  # ten seconds at 30 a second
        assert tracker.update(grey, n / 30, watch) == []
    assert 100 <= tracker.searches <= 10 * SEARCHES_PER_S["lost"] + 1
    assert watch.stages["infer"].count <= 2 * tracker.searches
    clip = FaceTracker(parser)
    follow(clip, DemoSource(), 300)
    assert clip.searches <= 10 * SEARCHES_PER_S["tracking"] + 2


def test_a_face_that_is_gone_is_let_go(parser: FaceParser) -> None:
    tracker, watch, source = FaceTracker(parser), Stopwatch(), DemoSource()
    follow(tracker, source, 15)
    assert len(tracker.tracks) == 1
    for n in range(15, 16 + PATIENCE):
        tracker.update(np.full((480, 640, 3), 120, np.uint8), n / 30, watch)
    assert tracker.tracks == []
    found = tracker.update(source.read(), 40 / 30, watch)
    assert [face.number for face in found] == [2]


def test_another_size_of_the_picture_starts_anew(parser: FaceParser) -> None:
    tracker = FaceTracker(parser)
    follow(tracker, DemoSource((640, 480)), 5)
    [face] = follow(tracker, DemoSource((480, 640)), 1, start=40)[0]
    assert face.number == 2


def test_pictures_that_stand_alone_are_searched_at_once(parser: FaceParser) -> None:
    steady = Stabiliser(19)
    tracker, watch = FaceTracker(parser, stabiliser=steady), Stopwatch()
    for number in range(6):
        image = crowd(2) if number % 2 else DemoSource().read()
        faces = tracker.update(image, 0.0, watch, frames_independent=True)
        assert len(faces) == 1 + number % 2
    assert len(steady._states) <= 2  # of faces that are gone nothing is kept
    assert len(FaceTracker(parser, max_faces=8).update(crowd(8), 0.0, watch, frames_independent=True)) >= 6


def test_the_square_grows_with_the_hair() -> None:
    face = Face((100.0, 100.0, 140.0, 160.0), 1.0)
    bald = crop_around(face, face.box_xyxy)
    assert bald.side == pytest.approx(face.roi.side)
    high = crop_around(face, (95.0, 50.0, 145.0, 160.0))
    assert holds(high, (95.0, 50.0, 145.0, 160.0))
    assert crop_around(face, (0.0, 0.0, 400.0, 400.0)).side <= 2.8 * 60 + 1e-6


def test_the_box_of_a_head_leaves_a_neighbour_out() -> None:
    labels = np.zeros((256, 256), np.uint8)
    labels[100:160, 40:90] = CELEBAMASK19.id_of("skin")
    labels[70:100, 35:95] = CELEBAMASK19.id_of("hair")
    labels[60:200, 230:250] = CELEBAMASK19.id_of("hair")
    assert head_box(labels, CELEBAMASK19, (40.0, 100.0, 90.0, 160.0)) == (35.0, 70.0, 95.0, 160.0)


def test_a_model_that_needs_landmarks_is_refused(parser: FaceParser, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(parser.engine, "spec", replace(parser.spec, warp="roi-tanh"))
    with pytest.raises(ModelError, match="needs five landmarks for every face"):
        FaceTracker(parser)


def yunet(path: Path, box_xywh: tuple[float, float, float, float], size: int = 320) -> None:
    """What OpenCV's FaceDetectorYN takes: its twelve outputs, which here say one face, always at the same place."""
    outputs, tensors, nodes = [], [], []
    x, y, width, height = box_xywh
    for stride in (8, 16, 32):
        count = (size // stride) ** 2
        cells = size // stride
        column, row = int((x + width / 2) // stride), int((y + height / 2) // stride)
        index = row * cells + column
        values = {
            "cls": np.zeros((1, count, 1)),
            "obj": np.zeros((1, count, 1)),
            "bbox": np.zeros((1, count, 4)),
            "kps": np.zeros((1, count, 10)),
        }
        if stride == 16:
            values["cls"][0, index], values["obj"][0, index] = 1, 1
            values["bbox"][0, index] = (
                (x + width / 2) / stride - column, (y + height / 2) / stride - row,
                np.log(width / stride), np.log(height / stride),
            )  # fmt: skip
        for kind, value in values.items():
            name = f"{kind}_{stride}"
            tensors.append(numpy_helper.from_array(value.astype(np.float32), f"{name}/value"))
            nodes.append(helper.make_node("Add", ["nothing", f"{name}/value"], [name], name=name))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    first = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    order = sorted(range(12), key=lambda at: ("cls", "obj", "bbox", "kps").index(outputs[at].name.split("_")[0]))
    graph = helper.make_graph(
        first + nodes, "yunet", [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, size, size))],
        [outputs[at] for at in order], [zero, *tensors],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)


def test_a_detector_of_the_users(parser: FaceParser, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model for OpenCV's FaceDetectorYN"):
        open_detector(tmp_path / "none.onnx")
    yunet(tmp_path / "yunet.onnx", (112.0, 66.0, 96.0, 110.0))
    detector = open_detector(tmp_path / "yunet.onnx")
    image = np.ascontiguousarray(read_image(PORTRAIT)[:320, :320])
    [face] = detector(image)
    assert np.allclose(face.box_xyxy, (112, 66, 208, 176), atol=1)
    tracker, watch = FaceTracker(parser, detector=detector), Stopwatch()
    [found] = tracker.update(image, 0.0, watch)  # confirmed by a close look
    assert "nose" in ClassMap(found.labels, CELEBAMASK19).shares()
    assert watch.stages["infer"].count == 1
    assert FaceTracker(parser, detector=detector).update(np.full_like(image, 90), 0.0, watch) == []
    assert CLOSE_LOOKS >= 1


def test_the_stabiliser_steadies_a_noisy_picture_and_follows_a_moving_one(parser: FaceParser) -> None:
    generator = np.random.default_rng(0)
    still = DemoSource().read().astype(np.int16)
    steady, watch = Stabiliser(19), Stopwatch()
    tracker = FaceTracker(parser, stabiliser=steady)
    for n in range(40):
        noisy = np.clip(still + generator.normal(0, 6, still.shape), 0, 255).astype(np.uint8)
        assert len(tracker.update(noisy, n / 30, watch)) == 1
    report = steady.flicker.report()
    assert report["without"] is not None
    assert report["with"] is not None
    assert 0 < report["with"] < 0.5 * report["without"]
    # Of a face that moves, nothing trails behind: the classes are those that the parser sees.
    alone = FaceTracker(parser)
    moving = FaceTracker(parser, stabiliser=Stabiliser(19))
    source = DemoSource()
    same = []
    for n in range(60):
        image = source.read()
        one, other = alone.update(image, n / 30, watch)[0], moving.update(image, n / 30, watch)[0]
        same.append((one.labels == other.labels).mean())
    assert np.mean(same) > 0.98


def test_the_stabiliser_takes_logits(tmp_path: Path) -> None:
    size, classes = 64, 3
    steady = Stabiliser(classes)
    square, roi = np.full((size, size, 3), 100, np.uint8), RoI((31.5, 31.5), 64)
    logits = np.zeros((1, classes, 16, 16), np.float32)
    logits[0, 1] = 5
    one = np.full((size, size), 1, np.uint8)
    assert np.array_equal(steady(7, roi, square, one, logits), one)
    flash = logits.copy()
    flash[0, 2, 4:8, 4:8] = 8  # one frame of doubt
    doubtful = one.copy()
    doubtful[16:32, 16:32] = 2
    assert np.array_equal(steady(7, roi, square, doubtful, flash), one)
    for _ in range(8):  # what lasts is believed
        last = steady(7, roi, square, doubtful, flash)
    assert (last[18:30, 18:30] == 2).all()
    assert steady.flicker.report()["with"] is not None
    steady.forget(7)
    assert np.array_equal(steady(7, roi, square, doubtful, flash), doubtful)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_drawn_clip_with_known_boxes_and_labels(parser: FaceParser, seed: int) -> None:
    """A face that moves, grows, turns, leaves to the side and returns: where it is, and which pixels are its."""
    rng = np.random.default_rng(seed)
    person, backdrop = Person.any(rng, 0.3), draw_backdrop((640, 480), rng)
    tracker, watch = FaceTracker(parser), Stopwatch()
    there = held = extra = 0
    agreement = []
    for number in range(240):
        time_s = number / 30
        image, labels = backdrop.copy(), np.zeros((480, 640), np.uint8)
        height = 170 + 50 * math.sin(time_s)
        away = 700 * min(max(time_s - 2, 0) / 2, max(7 - time_s, 0) / 2, 1)
        x, y = 320 + 100 * math.sin(0.7 * time_s) + away, 240 + 40 * math.sin(1.1 * time_s)
        draw_person(person, image, labels, (x, y), height, 12 * math.sin(1.3 * time_s))
        found = tracker.update(image, time_s, watch)
        box = (x - 0.38 * height, y - 0.5 * height, x + 0.38 * height, y + 0.5 * height)
        extra += max(0, len(found) - 1)
        if box[0] >= 20 and box[2] < 620:  # with its hair
            there += 1
            held += any(holds(face.roi, box) for face in found)
            skin = merged_class_map(found, (480, 640), CELEBAMASK19).mask("skin")
            truth = labels == CELEBAMASK19.id_of("skin")
            agreement.append((skin & truth).sum() / max(1, (skin | truth).sum()))
    assert there > 120
    assert held / there >= 0.98
    assert extra / 240 < 0.03
    assert np.median(agreement) > 0.6  # of drawings, which the network has never seen

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19
from edge_segface.masks import coco_rle, polygons, run_lengths

HAIR, NOSE = CELEBAMASK19.id_of("hair"), CELEBAMASK19.id_of("nose")


def decode_coco(counts: str, size: list[int]) -> np.ndarray:
    """COCO's rleFrString, written from its specification."""
    numbers: list[int] = []
    at = 0
    while at < len(counts):
        value, shift, more = 0, 0, True
        while more:
            character = ord(counts[at]) - 48
            value |= (character & 0x1F) << (5 * shift)
            more = bool(character & 0x20)
            at, shift = at + 1, shift + 1
            if not more and character & 0x10:
                value |= -1 << (5 * shift)
        numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
    flat = np.concatenate([np.full(count, index % 2) for index, count in enumerate(numbers)])
    return np.asarray(flat.reshape(size[::-1]).T, bool)


@pytest.fixture
def class_map() -> ClassMap:
    labels = np.zeros((40, 60), np.uint8)
    cv2.ellipse(labels, (30, 18), (20, 12), 0, 0, 360, HAIR, -1)
    labels[15:20, 27:33] = NOSE
    return ClassMap(labels, CELEBAMASK19)


@pytest.mark.parametrize("seed", range(6))
def test_rle_decodes_to_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 90), rng.integers(1, 90))) < rng.random()
    encoded = coco_rle(mask)
    assert encoded["size"] == list(mask.shape)
    assert np.array_equal(decode_coco(str(encoded["counts"]), list(mask.shape)), mask)


def test_rle_matches_pycocotools(class_map: ClassMap) -> None:
    mask_api = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    expected = mask_api.encode(np.asfortranarray(class_map.mask("hair").astype(np.uint8)))
    assert class_map.rle("hair")["counts"] == expected["counts"].decode()


def test_runs_begin_with_zeros() -> None:
    assert run_lengths(np.array([[True, False], [True, True]])) == [0, 2, 1, 1]
    assert run_lengths(np.zeros((2, 3), bool)) == [6]


def test_polygons_fill_to_the_mask_without_its_holes(class_map: ClassMap) -> None:
    outlines = class_map.polygons("hair")
    assert len(outlines) == 1
    filled = np.zeros(class_map.labels.shape, np.uint8)
    cv2.fillPoly(filled, [outlines[0].astype(np.int32)], 1)
    assert np.array_equal(filled.astype(bool), class_map.mask("hair") | class_map.mask("nose"))
    assert polygons(np.zeros((4, 4), bool)) == []


def test_supervision_gets_one_detection_per_part(class_map: ClassMap) -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    detections = class_map.to_supervision()
    assert list(detections.data["class_name"]) == ["nose", "hair"]
    assert detections.mask is not None
    assert np.array_equal(detections.mask[1], class_map.mask("hair"))
    assert detections.xyxy[0].astype(int).tolist() == [27, 15, 32, 19]
    assert len(ClassMap(np.zeros((4, 4), np.uint8), CELEBAMASK19).to_supervision()) == 0

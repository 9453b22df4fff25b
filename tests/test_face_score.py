from __future__ import annotations

import math

import numpy as np
import pytest

from edge_segface.face_score import FEATURES, FaceScore, Region, count_groups, features, score_for
from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import find_faces


def drawn_face(turned: int = 0) -> np.ndarray:
    """Skin with eyes, nose and mouth below hair, turned by so many quarters."""
    labels = np.zeros((160, 160), np.uint8)
    parts = {
        "hair": np.s_[20:50, 40:120], "skin": np.s_[40:130, 45:115], "right_eye": np.s_[66:72, 55:70],
        "left_eye": np.s_[66:72, 90:105], "nose": np.s_[75:95, 74:86], "upper_lip": np.s_[104:110, 65:95],
    }  # fmt: skip
    for part, place in parts.items():
        labels[place] = CELEBAMASK19.id_of(part)
    return np.ascontiguousarray(np.rot90(labels, turned))


def features_of(labels: np.ndarray) -> dict[str, float]:
    face = find_faces(ClassMap(labels, CELEBAMASK19), kinds=0)[0]
    return dict(zip(FEATURES, face.features, strict=True))


def test_a_face_shows_all_its_parts_in_line_however_it_is_turned() -> None:
    for turned in range(4):
        values = features_of(drawn_face(turned))
        assert (values["eyes"], values["nose"], values["mouth"], values["both_sides"]) == (1, 1, 1, 1)
        assert values["in_line"] > 0.99
        assert values["hair"] > 0.1
        assert values["alone"] == 1


def test_parts_that_are_missing_or_out_of_place_lower_the_score() -> None:
    whole = drawn_face()
    no_mouth, one_side, mouth_above = whole.copy(), whole.copy(), whole.copy()
    no_mouth[104:110, 65:95] = CELEBAMASK19.id_of("skin")
    one_side[66:72, 55:70] = CELEBAMASK19.id_of("skin")
    mouth_above[104:110, 65:95] = CELEBAMASK19.id_of("skin")
    mouth_above[52:58, 65:95] = CELEBAMASK19.id_of("upper_lip")
    scores = [
        find_faces(ClassMap(labels, CELEBAMASK19))[0].score for labels in (whole, no_mouth, one_side, mouth_above)
    ]
    assert scores[0] > max(scores[1:])
    assert features_of(mouth_above)["in_line"] < 0
    assert features_of(no_mouth)["in_line"] == 0


def test_score_is_a_logistic_function_of_the_features() -> None:
    score = FaceScore((2.0,) * len(FEATURES), -1.0)
    assert score(np.zeros(len(FEATURES))) == pytest.approx(1 / (1 + math.e))
    assert score_for("edge-256-int8")(np.ones(len(FEATURES))) > 0.5
    assert score_for("a model of a user") == score_for("edge-256")
    with pytest.raises(KeyError):
        FaceScore.from_dict({"coefficients": {"eyes": 1.0}, "bias": 0.0})


def test_region_at_the_edge_of_the_map_has_features() -> None:
    labels = np.full((20, 20), CELEBAMASK19.id_of("skin"), np.uint8)
    region = Region(np.ones((20, 20), bool), 0, 0)
    values = features(labels, region, count_groups(labels, CELEBAMASK19), CELEBAMASK19)
    assert values.shape == (len(FEATURES),)
    assert np.isfinite(values).all()

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edge_segface.cli.options import LabelsName
from edge_segface.errors import LabelError
from edge_segface.labels import (
    CELEBAMASK19,
    CELEBAMASK19_RAW,
    HELEN11,
    LABEL_SPACES,
    LAPA11,
    PART_COLOURS_RGB,
    PART_GROUPS,
    LabelSpace,
    label_space,
    remap_table,
)


def test_raw_order_becomes_segface_order_as_the_papers_table_says() -> None:
    # Raw id of each SegFace id, from the table of SegFace's data set.
    raw_of_segface = [0, 17, 1, 18, 8, 9, 6, 7, 4, 5, 2, 10, 12, 11, 13, 3, 14, 15, 16]
    table = remap_table(CELEBAMASK19_RAW, CELEBAMASK19)
    assert [int(table[raw]) for raw in raw_of_segface] == list(range(19))


@pytest.mark.parametrize(
    ("space", "pairs"),
    [
        (CELEBAMASK19, {(4, 5), (6, 7), (8, 9)}),
        (CELEBAMASK19_RAW, {(4, 5), (6, 7), (8, 9)}),
        (LAPA11, {(2, 3), (4, 5)}),
        (HELEN11, {(2, 3), (4, 5)}),
    ],
)
def test_flip_swaps_true_sides_only(space: LabelSpace, pairs: set[tuple[int, int]]) -> None:
    assert {tuple(sorted(pair)) for pair in space.flip_pairs} == pairs
    assert list(space.flip_table[space.flip_table]) == list(range(256))
    for name in ("l_lip", "u_lip", "ear_r", "neck_l"):  # look like sides and are none
        if name in space.names:
            index = space.names.index(name)
            assert space.flip_table[index] == index


def test_lapa_counts_sides_as_the_viewer_sees_them_so_mapping_swaps() -> None:
    table = remap_table(CELEBAMASK19, LAPA11, drop_missing=True)
    assert LAPA11.names[table[CELEBAMASK19.names.index("l_brow")]] == "rb"
    assert LAPA11.names[table[CELEBAMASK19.names.index("r_eye")]] == "le"
    assert LAPA11.names[table[CELEBAMASK19.names.index("l_lip")]] == "llip"


def test_mapping_that_loses_classes_must_be_asked_for() -> None:
    with pytest.raises(LabelError, match=r"lapa11 lacks parts of .*left_ear.*necklace.*drop_missing"):
        remap_table(CELEBAMASK19, LAPA11)
    table = remap_table(CELEBAMASK19, LAPA11, drop_missing=True)
    assert table[CELEBAMASK19.id_of("hat")] == 0
    assert table[CELEBAMASK19.id_of("left_ear")] == LAPA11.id_of("skin")


def test_lapa_and_celeb_agree_on_what_both_have() -> None:
    there, back = remap_table(LAPA11, CELEBAMASK19), remap_table(CELEBAMASK19, LAPA11, drop_missing=True)
    assert list(back[there[:11]]) == list(range(11))


def test_long_tail_and_palette() -> None:
    assert [CELEBAMASK19.parts[i] for i in CELEBAMASK19.long_tail] == ["glasses", "hat", "earring", "necklace"]
    for space in LABEL_SPACES.values():
        assert len(np.unique(space.palette_rgb, axis=0)) == len(space)


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
EYES = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TOUCHING = {
    "skin": "neck left_ear right_ear left_brow right_brow left_eye right_eye nose inner_mouth lower_lip upper_lip hair "
    "glasses hat cloth earring background",
    "hair": "left_ear right_ear left_brow right_brow glasses hat cloth neck earring necklace background",
    "neck": "cloth necklace left_ear right_ear earring background",
    "upper_lip": "lower_lip inner_mouth nose",
    "lower_lip": "inner_mouth",
    "glasses": "nose left_eye right_eye left_brow right_brow left_ear right_ear",
    "hat": "left_ear right_ear left_brow right_brow glasses cloth background",
    "left_ear": "earring right_ear background",
    "left_brow": "left_eye right_brow",
    "left_eye": "right_eye nose",
    "cloth": "necklace background earring",
}


def lab_as_seen(rgb: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """CIELAB of sRGB colours (n, 3) as an eye sees them."""
    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = (np.clip(linear @ eye.T, 0, 1) @ np.array(to_xyz).T / [0.95047, 1, 1.08883]).T
    fx, fy, fz = (np.where(one > 0.008856, np.cbrt(one), 7.787 * one + 16 / 116) for one in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=1)


@pytest.mark.parametrize("kind", EYES)
def test_parts_differ_for_every_kind_of_eye_most_of_all_those_that_touch(kind: str) -> None:
    lab = lab_as_seen(np.array(list(PART_COLOURS_RGB.values())), EYES[kind])
    seen = dict(zip(PART_COLOURS_RGB, lab, strict=True))
    for one, others in TOUCHING.items():
        for other in others.split():
            assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)
    away = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert away[np.triu_indices(len(lab), 1)].min() > 12


def test_the_command_line_offers_every_space() -> None:
    assert get_args(LabelsName) == tuple(LABEL_SPACES)


def test_unknown_space_and_broken_space() -> None:
    with pytest.raises(LabelError, match="choose one of celebamask19, celebamask19-raw, lapa11, helen11"):
        label_space("celeba")
    with pytest.raises(LabelError, match="no class twice"):
        LabelSpace("x", (("a", "skin"), ("b", "skin")))


def test_groups_name_several_parts_and_leave_out_what_a_space_lacks() -> None:
    parts = CELEBAMASK19.parts
    assert [parts[index] for index in CELEBAMASK19.ids_of("eyes", "nose")] == ["left_eye", "right_eye", "nose"]
    assert CELEBAMASK19.ids_of("person") == tuple(range(1, 19))
    assert "glasses" not in [LAPA11.parts[index] for index in LAPA11.ids_of("face")]
    assert all(group not in (*space.parts, *space.names) for group in PART_GROUPS for space in LABEL_SPACES.values())
    with pytest.raises(LabelError, match="lapa11 has no part 'ears'"):
        LAPA11.ids_of("ears")


@pytest.mark.parametrize(("typo", "near"), [("hairs", "hair"), ("Lips", "lips"), ("left eye", "left_eye")])
def test_a_typo_in_a_part_names_the_nearest(typo: str, near: str) -> None:
    with pytest.raises(LabelError, match=f"did you mean {near}"):
        CELEBAMASK19.ids_of(typo)

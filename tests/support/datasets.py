"""Small datasets of drawn faces, in the layouts of the published ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_segface.data.sample import Points, Sample
from edge_segface.data.synthetic.drawn import draw_sample
from edge_segface.labels import CELEBAMASK19, LAPA11, LabelSpace, remap_table


def face(number: int, size: int = 64) -> Sample:
    """Draw the face that has this number in all the datasets below."""
    return draw_sample(f"{number}", size, np.random.default_rng(number))


def write_celebamask(root: Path, partition: dict[int, int], image_size: int = 128) -> Path:
    """Write images and half as large masks; `partition` maps ids in CelebA-HQ to the parts of CelebA's partition."""
    (root / "CelebA-HQ-img").mkdir(parents=True)
    mapping_lines, partition_lines = ["idx\torig_idx\torig_file"], []
    for number, part in partition.items():
        sample = face(number, image_size // 2)
        image = cv2.resize(sample.image_bgr, (image_size, image_size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "CelebA-HQ-img" / f"{number}.jpg"), image)
        folder = root / "CelebAMask-HQ-mask-anno" / str(number // 2000)
        folder.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(CELEBAMASK19.names):
            if index and (sample.labels == index).any():
                mask = np.repeat((sample.labels == index)[..., None] * np.uint8(255), 3, axis=2)
                cv2.imwrite(str(folder / f"{number:05d}_{name}.png"), mask)
        original = f"{(number * 7919) % 202599 + 1:06d}.jpg"
        mapping_lines.append(f"{number}\t{(number * 7919) % 202599}\t{original}")
        partition_lines.append(f"{original} {part}")
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(mapping_lines) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(partition_lines) + "\n")
    return root


def write_lapa(root: Path, counts: dict[str, int]) -> Path:
    """Write so many samples of each split."""
    table = remap_table(CELEBAMASK19, LAPA11, drop_missing=True)
    for split, count in counts.items():
        for folder in ("images", "labels", "landmarks"):
            (root / split / folder).mkdir(parents=True)
        for number in range(count):
            sample = face(number, 96)
            cv2.imwrite(str(root / split / "images" / f"{number}_0.jpg"), sample.image_bgr)
            cv2.imwrite(str(root / split / "labels" / f"{number}_0.png"), table[sample.labels])
            lines = ["106", *(f"{x} {y}" for x, y in landmarks_106(sample))]
            (root / split / "landmarks" / f"{number}_0.txt").write_text("\n".join(lines) + "\n")
    return root


def write_helen(root: Path, counts: dict[str, int]) -> Path:
    """Write so many samples of each split."""
    table = remap_table(CELEBAMASK19, LAPA11, drop_missing=True)
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        lines = []
        for number in range(count):
            sample = face(number, 96)
            cv2.imwrite(str(root / split / f"{number}_image.jpg"), sample.image_bgr)
            cv2.imwrite(str(root / split / f"{number}_label.png"), table[sample.labels])
            points = 2 * landmarks_68(sample)  # in pixels of an image twice as large
            lines.append(f"{number} " + " ".join(f"{value:.2f}" for value in points.ravel()))
        (root / split / "landmarks.txt").write_text("\n".join(lines) + "\n")
    return root


def write_folder(root: Path, count: int, space: LabelSpace = CELEBAMASK19, size: int = 64) -> Path:
    """Write samples 000, 001 and so on, with masks in a label space."""
    table = remap_table(CELEBAMASK19, space, drop_missing=True)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        sample = face(number, size)
        cv2.imwrite(str(root / "images" / f"{number:03d}.jpg"), sample.image_bgr)
        cv2.imwrite(str(root / "masks" / f"{number:03d}.png"), table[sample.labels])
    return root


def landmarks_of(sample: Sample) -> Points:
    """Return the five landmarks of a sample that has them."""
    assert sample.landmarks_xy is not None
    return sample.landmarks_xy


def landmarks_106(sample: Sample) -> Points:
    """Return LaPa's landmarks: the five known ones, and their mean for the others."""
    five = landmarks_of(sample)
    points = np.tile(five.mean(axis=0), (106, 1))
    points[[74, 83]] = five[:2] - np.array([1, 0])
    points[[104, 105]] = five[:2] + np.array([1, 0])
    points[[54, 84, 90]] = five[2:]
    return points


def landmarks_68(sample: Sample) -> Points:
    """Return Helen's landmarks: the five known ones, and their mean for the others."""
    five = landmarks_of(sample)
    points = np.tile(five.mean(axis=0), (68, 1))
    points[36:42], points[42:48] = five[0], five[1]
    points[[30, 48, 54]] = five[2:]
    return points

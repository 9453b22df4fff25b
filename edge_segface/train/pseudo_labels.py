"""Pseudo-labels: what trained networks see in images without labels, as a folder that `also:` of a recipe reads.

The probabilities of all teachers, of each image and of its mirror image, are averaged before the class is chosen.
Coarse masks, where there are some, add parts that the teachers miss.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_segface.data.readers.files import read_mask
from edge_segface.data.sample import SampleError
from edge_segface.errors import ImageError, TrainingError
from edge_segface.files import make_folder, write_bytes
from edge_segface.frames import OUTSIDE_BGR, UInt8Array
from edge_segface.image_io import read_image
from edge_segface.labels import LabelSpace, remap_table
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import normalised
from edge_segface.progress import NO_PROGRESS, Progress


@dataclass(frozen=True)
class CoarseMasks:
    """Masks with rough edges, named as the images are. `parts` are those of them to use; other ids are ignored."""

    folder: Path
    space: LabelSpace
    parts: tuple[str, ...]

    def added_to(self, labels: UInt8Array, name: str, space: LabelSpace) -> UInt8Array:
        """Return labels with the parts added where they show background, hair, or one of the parts.

        The edge to the face remains that of the labels, which is finer. An image without a mask is left as it is.
        """
        path = self.folder / f"{name}.png"
        if not path.exists():
            return labels
        coarse = read_mask(path)
        if coarse.shape != labels.shape:
            sizes = " and ".join(f"{width}x{height}" for height, width in (labels.shape, coarse.shape))
            raise SampleError("image and coarse mask differ in size", found=sizes)
        replaced = np.isin(labels, space.present_ids(("background", "hair", *self.parts)))
        added = replaced & np.isin(coarse, self.space.ids_of(*self.parts))
        return np.where(added, remap_table(self.space, space, drop_missing=True)[coarse], labels)


@dataclass(frozen=True)
class PseudoLabelled:
    """What was written, and which images could not be read."""

    written: int
    present: int  # from an earlier run
    skipped: list[str]


def write_pseudo_labels(
    teachers: Sequence[Weights],
    paths: Sequence[Path],
    out: Path,
    size: int,
    *,
    coarse: CoarseMasks | None = None,
    progress: Progress = NO_PROGRESS,
) -> PseudoLabelled:
    """Label images into `out`/images and `out`/masks. Masks that exist already are kept."""
    space = check_teachers(teachers)
    check_distinct(paths)
    written, present, skipped = 0, 0, []
    progress.stage("pseudo-labels", len(paths))
    for path in paths:
        mask = out / "masks" / f"{path.stem}.png"
        if mask.exists():
            present += 1
        else:
            try:
                labels = pseudo_labels(teachers, read_image(path), size, space)
                if coarse is not None:
                    labels = coarse.added_to(labels, path.stem, space)
            except (ImageError, SampleError) as error:
                progress.note(f"{path}: {error}" if isinstance(error, SampleError) else str(error))
                skipped.append(path.name)
            else:
                make_folder(mask.parent)
                place(path, out / "images" / path.name)
                write_bytes(cv2.imencode(".png", labels)[1].tobytes(), mask)  # last: what has a mask is complete
                written += 1
        progress.advance()
    return PseudoLabelled(written, present, skipped)


def check_teachers(teachers: Sequence[Weights]) -> LabelSpace:
    """Return the label space of the teachers; raise if they differ, or need landmarks."""
    spaces = {weights.space.name: weights.space for weights in teachers}
    if len(spaces) != 1:
        raise TrainingError("teachers must have one label space", found=" and ".join(sorted(spaces)))
    if warped := [weights.preset for weights in teachers if weights.warp]:
        raise TrainingError(
            "a teacher with a warp needs landmarks, which images without labels do not have", found=", ".join(warped)
        )
    return next(iter(spaces.values()))


def check_distinct(paths: Sequence[Path]) -> None:
    """Raise if two images have the name of one mask."""
    stem, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise TrainingError(
            f"{count} images are called {stem}", remedy="rename them, or label their folders one by one"
        )


@torch.inference_mode()
def pseudo_labels(teachers: Sequence[Weights], image: UInt8Array, size: int, space: LabelSpace) -> UInt8Array:
    """Return the class of each pixel of an image."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inside = max(1, round(height * scale)), max(1, round(width * scale))
    resized = cv2.resize(image, inside[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.full((size, size, 3), OUTSIDE_BGR, dtype=np.uint8)
    square[: inside[0], : inside[1]] = resized
    batch = normalised(np.stack((square, square[:, ::-1])))
    probability = sum((_averaged(weights, batch, space) for weights in teachers), torch.zeros(()))
    whole = F.interpolate(
        probability[None, :, : inside[0], : inside[1]], size=(height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(whole[0].argmax(dim=0).to(torch.uint8).numpy(), dtype=np.uint8)


def _averaged(weights: Weights, batch: Tensor, space: LabelSpace) -> Tensor:
    """Return the probabilities (n h w) of an image, averaged with those of its mirror image, second in the batch."""
    device = next(weights.model.parameters()).device
    straight, mirrored = weights.model(batch.to(device)).float().softmax(dim=1).cpu()
    return (straight + mirrored[torch.from_numpy(space.flip_table[: len(space)].astype(np.int64))].flip(-1)) / 2


def place(source: Path, target: Path) -> None:
    """Put an image there: a hard link, or a copy where links are not possible."""
    if target.exists():
        return
    make_folder(target.parent)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)

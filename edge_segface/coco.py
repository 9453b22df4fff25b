"""Class maps of many images as one file of polygons in COCO's format, for annotation tools and other trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge_segface.files import write_text
from edge_segface.frames import ClassMap
from edge_segface.labels import LabelSpace

MIN_POINTS = 3


class CocoFile:
    """Collects the parts of images: one annotation for each part of an image. Category ids are class ids.

    Examples:
        >>> from edge_segface import label_space
        >>> file = CocoFile(label_space("celebamask19"))
        >>> labels = np.zeros((4, 6), np.uint8)
        >>> labels[1:3, 1:4] = 14
        >>> file.add("a.jpg", ClassMap(labels, file.space))
        >>> file.annotations[0]["category_id"], file.annotations[0]["bbox"], file.annotations[0]["area"]
        (14, [1, 1, 3, 2], 6)
    """

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, name: str, class_map: ClassMap) -> None:
        height, width = class_map.labels.shape
        image_id = len(self.images) + 1
        self.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for index in np.unique(class_map.labels).tolist():
            outlines = class_map.polygons(self.space.parts[index]) if index else []
            segmentation = [points.ravel().tolist() for points in outlines if len(points) >= MIN_POINTS]
            if not segmentation:
                continue
            rows, columns = np.nonzero(class_map.labels == index)
            left, top = int(columns.min()), int(rows.min())
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": index,
                    "segmentation": segmentation,
                    "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
                    "area": len(rows),
                    "iscrowd": 0,
                }
            )

    def write(self, path: Path) -> None:
        categories = [{"id": index, "name": part} for index, part in enumerate(self.space.parts) if index]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        write_text(json.dumps(content) + "\n", path)

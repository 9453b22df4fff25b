from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edge_segface.coco import CocoFile
from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19


def test_a_file_of_two_images(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 5:25] = CELEBAMASK19.id_of("hair")
    labels[8:12, 10:14] = CELEBAMASK19.id_of("skin")
    labels[0, 0] = CELEBAMASK19.id_of("nose")  # a point has no outline
    file = CocoFile(CELEBAMASK19)
    file.add("a.jpg", ClassMap(labels, CELEBAMASK19))
    file.add("b.jpg", ClassMap(np.zeros((4, 4), np.uint8), CELEBAMASK19))
    file.write(tmp_path / "polygons.json")
    content = json.loads((tmp_path / "polygons.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "b.jpg"]
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = {names[each["category_id"]]: each for each in content["annotations"]}
    assert set(found) == {"hair", "skin"}
    assert found["hair"]["bbox"] == [5, 5, 20, 10]
    assert found["hair"]["area"] == 200 - 16
    assert {each["image_id"] for each in content["annotations"]} == {1}
    for each in content["annotations"]:
        xs, ys = each["segmentation"][0][::2], each["segmentation"][0][1::2]
        left, top, width, height = each["bbox"]
        assert (min(xs), min(ys), max(xs), max(ys)) == (left, top, left + width - 1, top + height - 1)

"""Calibration sets: selection, sources, the file, the report, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from edge_segface.data.synthetic.drawn import Person, draw_person, open_drawn
from edge_segface.errors import CalibrationError, DatasetError, ImageError, SourceError
from edge_segface.face.parser import FaceParser
from edge_segface.labels import CELEBAMASK19
from edge_segface.progress import NoProgress
from edge_segface.quantize.calibration.artefact import CalibrationSet, hashes
from edge_segface.quantize.calibration.choose import Candidate, add_varied, choose, cover_classes
from edge_segface.quantize.calibration.collect import calibrate, collect
from edge_segface.quantize.calibration.definition import Definition, Strategy, load_definition, merge_definition
from edge_segface.quantize.calibration.report import contact_sheet, report_text
from edge_segface.quantize.calibration.sources import frames_of, from_dataset, from_frames, is_blank
from tests.conftest import ROOT, assert_one_line_error, run_cli
from tests.support.datasets import write_folder

SPACE = CELEBAMASK19


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


def collect_drawn(parser: FaceParser, seed: int = 0) -> CalibrationSet:
    crops = from_dataset(open_drawn("test"), parser)
    return collect(crops, parser.spec, Definition(count=12, seed=seed), source="drawn", labelled_by="the dataset")


@pytest.fixture(scope="module")
def calibration(parser: FaceParser) -> CalibrationSet:
    return collect_drawn(parser)


def test_every_class_is_covered_and_rare_ones_first() -> None:
    shows = np.zeros((400, 19), dtype=bool)
    shows[:, 1:15] = True
    shows[17, 18] = shows[250, 18] = True  # two necklaces in four hundred
    shows[40:44, 16] = True
    selected = cover_classes(shows, 32, SPACE)
    assert {17, 250} <= set(selected)
    assert shows[selected, 16].sum() == 4
    assert (shows[selected].sum(axis=0)[1:15] >= 4).all()
    assert len(selected) < 12  # the rest of the set is for variety


@pytest.mark.parametrize(("strategy", "found"), [("long-tail", True), ("random", False)])
def test_long_tail_selection_finds_the_only_necklace(strategy: str, found: bool) -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((300, 19), 500)
    pixels[:, 15:] = 0
    pixels[123, 18] = 500
    candidates = [Candidate(str(i), row, rng.random(8, dtype=np.float32)) for i, row in enumerate(pixels)]
    selected = choose(candidates, 16, SPACE, size=256, seed=0, strategy=strategy)
    assert len(selected) == len(set(selected)) == 16
    assert (123 in selected) == found


def test_variety_includes_outliers() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate((rng.normal(0, 0.1, (200, 4)), rng.normal(5, 0.1, (3, 4)))).astype(np.float32)
    assert set(add_varied(features, [0], 8, rng)) & {200, 201, 202}


def test_selection_depends_on_the_seed_only(calibration: CalibrationSet, parser: FaceParser) -> None:
    assert collect_drawn(parser).sha256 == calibration.sha256
    assert collect_drawn(parser, seed=1).sha256 != calibration.sha256


def test_set_holds_crops_of_the_input_size_and_counts_classes(calibration: CalibrationSet, parser: FaceParser) -> None:
    assert calibration.images_bgr.shape == (12, 256, 256, 3)
    calibration.check_for(parser.spec)
    for part in ("glasses", "hat"):
        masks = [open_drawn("test").read(name).labels == SPACE.id_of(part) for name in calibration.info.names]
        assert calibration.info.pictures_with[part] == sum(mask.sum() >= 40 for mask in masks)
        assert calibration.info.pixels_of[part] == sum(mask.sum() for mask in masks)


def test_saved_set_is_loaded_unchanged(calibration: CalibrationSet, tmp_path: Path) -> None:
    calibration.save(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as content:
        assert sorted(content) == ["facts", "images"]
    loaded = CalibrationSet.load(tmp_path / "set.npz")
    assert loaded.info == calibration.info
    assert np.array_equal(loaded.images_bgr, calibration.images_bgr)


def test_set_for_another_model_is_rejected(calibration: CalibrationSet, parser: FaceParser) -> None:
    small = CalibrationSet(calibration.images_bgr, replace(calibration.info, input_size=128))
    with pytest.raises(CalibrationError, match="not made for edge-256 .*128 px"):
        small.check_for(parser.spec)
    warped = CalibrationSet(calibration.images_bgr, replace(calibration.info, warp="roi-tanh"))
    with pytest.raises(CalibrationError, match="256 px with the roi-tanh warp"):
        warped.check_for(parser.spec)
    with pytest.raises(CalibrationError, match=r"needs more images \(found: 1\)"):
        CalibrationSet(calibration.images_bgr[:1], calibration.info).check_for(parser.spec)


def test_changed_set_is_rejected(calibration: CalibrationSet, tmp_path: Path) -> None:
    changed = calibration.images_bgr.copy()
    changed[0, 0, 0, 0] ^= 1
    assert hashes(changed) != calibration.info.sha256
    CalibrationSet(changed, calibration.info).save(tmp_path / "changed.npz")
    with pytest.raises(CalibrationError, match="do not match their checksums"):
        CalibrationSet.load(tmp_path / "changed.npz")


def test_damaged_and_foreign_files_are_rejected(calibration: CalibrationSet, tmp_path: Path) -> None:
    calibration.save(tmp_path / "set.npz")
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    (tmp_path / "cut.npz").write_bytes(content[:5000])
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "version.npz", images=calibration.images_bgr, facts=np.array('{"format": "another"}'))
    for name in ("flipped.npz", "cut.npz", "array.npy", "other.npz", "version.npz"):
        with pytest.raises(CalibrationError, match="is not a calibration set"):
            CalibrationSet.load(tmp_path / name)
    with pytest.raises(CalibrationError, match="does not exist"):
        CalibrationSet.load(tmp_path / "none.npz")


def test_report_lists_parts_rare_ones_first(calibration: CalibrationSet) -> None:
    report = report_text(calibration, SPACE)
    assert report.startswith("12 of 32 images from drawn, 256 px, selected by long-tail, seed 0; labels from the data")
    assert calibration.sha256 in report
    assert all(line.endswith("long tail") for line in report.splitlines()[4:8])
    without = replace(calibration.info, pictures_with=dict.fromkeys(SPACE.parts, 0))
    report = report_text(CalibrationSet(calibration.images_bgr, without), SPACE)
    assert "in fewer than 2 images (one eighth): neck, skin" in report


def test_contact_sheet_shows_every_image(calibration: CalibrationSet) -> None:
    sheet = contact_sheet(calibration)
    assert sheet.shape == (96, 12 * 96, 3)
    assert all(tile.std() > 5 for tile in np.split(sheet, 12, axis=1))


def test_blank_frames_are_not_used(parser: FaceParser) -> None:
    black, grey = np.full((120, 160, 3), 3, np.uint8), np.full((120, 160, 3), 200, np.uint8)
    assert is_blank(black)
    assert is_blank(grey)
    assert not is_blank(open_drawn("test")[0].image_bgr)
    frames = [(str(number), image) for number, image in enumerate([black, grey] * 10)]
    with pytest.raises(CalibrationError, match="too few images to calibrate on .*0 that are not blank"):
        collect(from_frames(frames, parser), parser.spec, Definition(), source="camera", labelled_by="edge-256")
    with pytest.raises(CalibrationError, match="there are no frames"):
        collect(from_frames([], parser), parser.spec, Definition(), source="camera", labelled_by="edge-256")


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    person = Person.any(np.random.default_rng(1), chance=0.0)
    for number in range(frames):
        image, labels = np.full((240, 320, 3), 90, np.uint8), np.zeros((240, 320), np.uint8)
        draw_person(person, image, labels, (120 + 6 * number, 120), 90)
        writer.write(image)
    writer.release()


def test_videos_are_sampled_and_faces_are_cropped(parser: FaceParser, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 10)
    frames = list(frames_of(str(tmp_path / "clip.avi"), seconds=1, every=2))
    assert [name for name, _ in frames] == [f"clip-{number:06d}" for number in range(0, 10, 2)]
    crops = list(from_frames(frames, parser))
    assert [name for name, _, _ in crops if "#" not in name] == [name for name, _ in frames]
    faces = [labels for name, _, labels in crops if "#" in name]
    assert len(faces) >= 4
    assert all((labels == SPACE.id_of("skin")).mean() > 0.1 for labels in faces)
    made = collect(crops, parser.spec, Definition(count=8), source="clip", labelled_by="edge-256")
    assert made.images_bgr.shape == (8, 256, 256, 3)


def test_unreadable_sources_are_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        list(frames_of(str(tmp_path / "broken.mp4"), 1, 1))
    with pytest.raises(SourceError, match="video99"):
        list(frames_of("99", 1, 1))
    with pytest.raises(ImageError, match="nowhere"):
        list(frames_of("nowhere/*.jpg", 1, 1))


@pytest.mark.parametrize("path", sorted((ROOT / "calibration").glob("*.yaml")), ids=lambda path: path.stem)
def test_bundled_definitions_use_the_training_split(path: Path) -> None:
    assert load_definition(path) == Definition(dataset=path.stem, split="train", count=256)


def test_wrong_definitions_name_the_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content, message in (
        ("pictures: 3\n", "is not a calibration definition .*unknown key pictures; known are dataset, split"),
        ("strategy: best\n", "strategy must be one of long-tail, random, not 'best'"),
        ("count: many\n", "count must be int, not 'many'"),
        ("count: 1\n", r"needs more images \(found: 1\); use at least 8"),
        ("seed: -1\n", "the seed must not be negative"),
        ("", "must hold `key: value` pairs"),
        ("a: [\n", "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(CalibrationError, match=message):
            load_definition(path)
    with pytest.raises(CalibrationError, match="no strategy is called 'best'"):
        Definition(strategy=cast(Strategy, "best"))
    with pytest.raises(CalibrationError, match=r"none\.yaml cannot be read"):
        load_definition(tmp_path / "none.yaml")


def test_options_override_the_definition_file() -> None:
    path = ROOT / "calibration" / "lapa.yaml"
    assert merge_definition(path, count=32, seed=None) == Definition(dataset="lapa", count=32)
    assert merge_definition(None, dataset="drawn", split=None) == Definition(dataset="drawn")


def test_calibrate_uses_a_dataset_and_notes_skipped_samples(parser: FaceParser, tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(NoProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    root = write_folder(tmp_path / "faces", 14)
    (root / "masks" / "003.png").unlink()
    definition, out = Definition(dataset="folder", split="all", count=10), tmp_path / "set.npz"
    with pytest.raises(DatasetError, match="1 mask missing: 003"):
        calibrate(parser, definition, out, data=root)
    result = calibrate(parser, definition, out, data=root, skip_bad=True, progress=Notes())
    detected, skipped = notes
    assert detected == f"label space of the masks in {root}: celebamask19, detected by where their ids lie"
    assert skipped == "skipped in all: 1 with mask missing: 003"
    assert result.calibration.info.candidates == 13
    assert result.report.startswith("10 of 13 images from folder faces all")
    assert result.files == (out, out.with_suffix(".txt"), out.with_suffix(".jpg"))
    assert CalibrationSet.load(out).info == result.calibration.info
    assert result.files[1].read_text() == result.report
    assert cv2.imread(str(result.files[2])) is not None


def test_calibrate_uses_unlabelled_images(parser: FaceParser, tmp_path: Path) -> None:
    images = write_folder(tmp_path / "faces", 8, size=128) / "images"
    result = calibrate(parser, Definition(count=8), tmp_path / "set.npz", source=str(images))
    assert result.calibration.info.labelled_by == "edge-256"
    assert result.report.startswith("8 of ")
    assert "images from images, 256 px" in result.report


def test_calibrate_rejects_wrong_arguments_before_reading(parser: FaceParser, tmp_path: Path) -> None:
    drawn = Definition(dataset="drawn")
    for definition, source in ((Definition(), None), (drawn, "clip.mp4")):
        with pytest.raises(CalibrationError, match=r"needs --dataset \(with --data\) or --source"):
            calibrate(parser, definition, tmp_path / "set.npz", source=source)
    with pytest.raises(CalibrationError, match="name a .npz file"):
        calibrate(parser, drawn, tmp_path / "set.bin")
    with pytest.raises(DatasetError, match="lapa needs a folder"):
        calibrate(parser, Definition(dataset="lapa"), tmp_path / "set.npz")
    root = write_folder(tmp_path / "few", 4)
    with pytest.raises(CalibrationError, match="too few images"):
        calibrate(parser, Definition(dataset="folder"), tmp_path / "set.npz", data=root)
    assert not list(tmp_path.glob("set.*"))


def test_calibrate_command(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 12)
    result = run_cli("calibrate", "--out", tmp_path / "set.npz", "--data", root, "--count", 8,
                     "--definition", ROOT / "calibration" / "folder.yaml")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "8 of 11 images from folder faces train" in result.stdout
    assert len(CalibrationSet.load(tmp_path / "set.npz").images_bgr) == 8
    assert (tmp_path / "set.txt").read_text() in result.stdout
    assert_one_line_error(run_cli("calibrate", "--out", tmp_path / "a.npz"), "needs --dataset (with --data) or --sourc")

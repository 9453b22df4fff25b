from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.data.synthetic.drawn import Person, draw_person, open_drawn
from edge_segface.errors import CalibrationError, SourceError
from edge_segface.face.parser import FaceParser
from edge_segface.labels import CELEBAMASK19
from edge_segface.quantize.calibration.artefact import CalibrationSet, hashes
from edge_segface.quantize.calibration.choose import Candidate, choose, covered, varied
from edge_segface.quantize.calibration.collect import Definition, collect, contact_sheet, in_words, load_definition
from edge_segface.quantize.calibration.sources import frames_of, from_dataset, from_frames, shows_something
from tests.conftest import ROOT, assert_one_line_error, run_cli
from tests.support.datasets import write_folder

SPACE = CELEBAMASK19


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


@pytest.fixture(scope="module")
def calibration(parser: FaceParser) -> CalibrationSet:
    return collect(from_dataset(open_drawn("test"), parser), parser.spec, Definition(count=12), "drawn", "the dataset")


def test_every_class_comes_before_variety_and_rare_ones_first() -> None:
    shows = np.zeros((400, 19), dtype=bool)
    shows[:, 1:15] = True
    shows[17, 18] = shows[250, 18] = True  # two necklaces in four hundred
    shows[40:44, 16] = True
    chosen = covered(shows, 32, SPACE)
    assert {17, 250} <= set(chosen)
    assert shows[chosen, 16].sum() == 4
    assert (shows[chosen].sum(axis=0)[1:15] >= 4).all()
    assert len(chosen) < 12  # the rest of the set is left to variety


def test_by_chance_a_rare_class_would_be_missed() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((300, 19), 500)
    pixels[:, 15:] = 0
    pixels[123, 18] = 500
    candidates = [Candidate(str(i), row, rng.random(8, dtype=np.float32)) for i, row in enumerate(pixels)]
    assert 123 in choose(candidates, 16, SPACE, 256, 0, "long-tail")
    assert 123 not in choose(candidates, 16, SPACE, 256, 0, "random")


def test_variety_reaches_farther_than_chance() -> None:
    rng = np.random.default_rng(0)
    looks = np.concatenate((rng.normal(0, 0.1, (200, 4)), rng.normal(5, 0.1, (3, 4)))).astype(np.float32)
    assert set(varied(looks, [0], 8, rng)) & {200, 201, 202}


def test_the_same_seed_gives_the_same_set_and_another_seed_another(
    calibration: CalibrationSet, parser: FaceParser
) -> None:
    def again(seed: int) -> CalibrationSet:
        return collect(
            from_dataset(open_drawn("test"), parser),
            parser.spec,
            Definition(count=12, seed=seed),
            "drawn",
            "the dataset",
        )

    assert again(0).sha256 == calibration.sha256
    assert again(1).sha256 != calibration.sha256


def test_a_set_holds_what_the_network_eats_and_survives_the_disk(
    calibration: CalibrationSet, parser: FaceParser, tmp_path: Path
) -> None:
    assert calibration.images_bgr.shape == (12, 256, 256, 3)
    assert parser.parse_squares(calibration.images_bgr).shape == (12, 256, 256)
    calibration.save(tmp_path / "set.npz")
    loaded = CalibrationSet.load(tmp_path / "set.npz")
    assert loaded.facts == calibration.facts
    assert np.array_equal(loaded.images_bgr, calibration.images_bgr)
    loaded.check_for(parser.spec)
    for part in ("glasses", "hat"):
        shown = [open_drawn("test").read(name).labels == SPACE.id_of(part) for name in calibration.facts.names]
        assert calibration.facts.pictures_with[part] == sum(mask.sum() >= 40 for mask in shown)


def test_the_report_and_the_sheet_show_the_set(calibration: CalibrationSet) -> None:
    words = in_words(calibration, SPACE)
    assert words.startswith("12 of 32 pictures of drawn, 256 px, chosen by long-tail, seed 0")
    assert calibration.sha256 in words
    assert "necklace" in words.splitlines()[4] + words.splitlines()[5] + words.splitlines()[6] + words.splitlines()[7]
    sheet = contact_sheet(calibration)
    assert sheet.shape == (96, 12 * 96, 3)
    bare = replace(calibration.facts, pictures_with=dict.fromkeys(SPACE.parts, 0))
    assert "in fewer than 2 pictures (an eighth): neck" in in_words(CalibrationSet(calibration.images_bgr, bare), SPACE)


def test_sets_that_are_damaged_foreign_or_for_another_model(
    calibration: CalibrationSet, parser: FaceParser, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match="not made for edge-256 .*128 px"):
        CalibrationSet(calibration.images_bgr, replace(calibration.facts, input_size=128)).check_for(parser.spec)
    with pytest.raises(CalibrationError, match="needs more pictures .*found: 1"):
        CalibrationSet(calibration.images_bgr[:1], calibration.facts).check_for(parser.spec)
    changed = calibration.images_bgr.copy()
    changed[0, 0, 0, 0] ^= 1
    CalibrationSet(changed, calibration.facts).save(tmp_path / "changed.npz")
    with pytest.raises(CalibrationError, match="are not those that it was made of"):
        CalibrationSet.load(tmp_path / "changed.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    whole = (tmp_path / "changed.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("cut.npz", "other.npz", "array.npy", "flipped.npz"):
        with pytest.raises(CalibrationError, match="is not a calibration set"):
            CalibrationSet.load(tmp_path / name)
    with pytest.raises(CalibrationError, match="does not exist"):
        CalibrationSet.load(tmp_path / "none.npz")
    assert hashes(changed) != calibration.facts.sha256


def test_black_and_empty_frames_are_no_pictures(parser: FaceParser) -> None:
    black = [
        (str(i), np.full((120, 160, 3), i % 4 if i % 2 else 200, np.uint8)) for i in range(20)
    ]  # or all of one grey
    assert not any(shows_something(frame) for _, frame in black)
    with pytest.raises(CalibrationError, match="too little to calibrate on .*0 pictures that show anything"):
        collect(from_frames(iter(black), parser), parser.spec, Definition(), "camera", "edge-256")
    with pytest.raises(CalibrationError, match="there are no frames"):
        collect(from_frames(iter(()), parser), parser.spec, Definition(), "camera", "edge-256")
    with pytest.raises(CalibrationError, match="needs more pictures"):
        Definition(count=1)


def test_a_video_is_sampled_and_its_faces_are_cut_out(parser: FaceParser, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    person = Person.any(np.random.default_rng(1), chance=0.0)
    for number in range(30):
        frame, labels = np.full((240, 320, 3), 90, np.uint8), np.zeros((240, 320), np.uint8)
        draw_person(person, frame, labels, (120 + 2 * number, 120), 90)
        writer.write(frame)
    writer.release()
    frames = list(frames_of(str(path), seconds=1, every=3))
    assert [name for name, _ in frames][:2] == ["clip-000000", "clip-000003"]
    assert len(frames) == 10
    squares = list(from_frames(iter(frames), parser))
    assert [name for name, _, _ in squares if "#" not in name] == [name for name, _ in frames]
    made = collect(iter(squares), parser.spec, Definition(count=8), "clip", "edge-256")
    assert made.images_bgr.shape == (8, 256, 256, 3)
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="no frame of .* can be read"):
        list(frames_of(str(tmp_path / "broken.mp4"), 1, 1))
    with pytest.raises(SourceError, match="there is no camera .dev.video99"):
        list(frames_of("99", 1, 1))


@pytest.mark.parametrize("path", sorted((ROOT / "calibration").glob("*.yaml")), ids=lambda path: path.stem)
def test_definitions_are_whole_and_never_of_what_is_scored_on(path: Path) -> None:
    said = load_definition(path)
    assert said.split == "train"
    assert said.count == 256
    assert said.dataset == path.stem


def test_definitions_with_other_keys_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("pictures: 3\n")
    with pytest.raises(CalibrationError, match="defines no calibration set .*its keys: dataset, split"):
        load_definition(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("strategy: best\n")
    with pytest.raises(CalibrationError, match="no strategy is called best"):
        load_definition(tmp_path / "a.yaml")


def test_the_command_writes_set_report_and_sheet(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 20)
    result = run_cli("calibrate", "--out", tmp_path / "set.npz", "--data", root, "--count", 10,
                     "--definition", ROOT / "calibration" / "folder.yaml")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "10 of 18 pictures of folder faces train" in result.stdout
    made = CalibrationSet.load(tmp_path / "set.npz")
    assert len(made.images_bgr) == 10
    assert (tmp_path / "set.txt").read_text() in result.stdout
    assert cv2.imread(str(tmp_path / "set.jpg")) is not None
    few = run_cli(
        "calibrate", "--out", tmp_path / "a.npz", "--data", write_folder(tmp_path / "few", 4), "--dataset", "folder"
    )
    assert_one_line_error(few, "too little to calibrate on")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("needs --dataset (with --data) or --source",)),
        (("--dataset", "drawn", "--source", "x"), ("needs --dataset (with --data) or --source",)),
        (("--dataset", "drawn", "--count", "1"), ("needs more pictures",)),
        (("--dataset", "lapa"), ("lapa needs a folder",)),
        (("--dataset", "drawn", "--out", "set.bin"), ("name a .npz file",)),
        (("--source", "nowhere/*.jpg"), ("no picture in nowhere/*.jpg",)),
    ],
)
def test_wrong_wishes_are_answered_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = run_cli("calibrate", "--out", "set.npz", *arguments, cwd=tmp_path)
    assert_one_line_error(result, *words)

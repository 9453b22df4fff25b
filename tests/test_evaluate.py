"""Scores, compared with a slow independent computation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.data import Dataset, open_dataset
from edge_segface.data.sample import Sample
from edge_segface.errors import DatasetError
from edge_segface.evaluate import HELEN_MERGED, Scores, evaluate
from edge_segface.face.parser import FaceParser
from edge_segface.frames import RoI, crop
from edge_segface.labels import CELEBAMASK19, HELEN11, LAPA11
from edge_segface.metrics import ConfusionMatrix
from tests.conftest import assert_one_line_error, run_cli
from tests.support.datasets import write_folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three crops of the built-in portrait, with masks that are wrong in places."""
    from edge_segface.assets import PORTRAIT
    from edge_segface.image_io import read_image

    image = read_image(PORTRAIT)
    root = tmp_path_factory.mktemp("photographs")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    with FaceParser("edge-256") as parser:
        for number, side in enumerate((240, 200, 300)):
            square = crop(image, RoI((180.0, 110.0), float(side)), 200)[: 200 - 40 * number]
            labels = np.roll(parser.batch([square])[0].labels, 3, axis=0)
            labels[rng.random(labels.shape) < 0.02] = 5
            cv2.imwrite(str(root / "images" / f"{number}.png"), square)
            cv2.imwrite(str(root / "masks" / f"{number}.png"), labels)
    return open_dataset("folder", root, "all", CELEBAMASK19)


@pytest.mark.parametrize("score_size", [None, 96])
def test_scores_equal_a_slow_independent_computation(photographs: Dataset, score_size: int | None) -> None:
    hits, predicted, true = (dict.fromkeys(range(19), 0) for _ in range(3))
    component_errors = 0
    with FaceParser("edge-256") as parser:
        scores = evaluate(parser, photographs, score_size=score_size)
        for sample in (photographs[index] for index in range(3)):
            labels: np.ndarray = parser.batch([sample.image_bgr])[0].labels
            truth: np.ndarray = sample.labels
            if score_size:
                labels, truth = (
                    cv2.resize(x, (score_size, score_size), interpolation=cv2.INTER_NEAREST_EXACT)
                    for x in (labels, truth)
                )
            for c in range(19):
                hits[c] += int(((labels == c) & (truth == c)).sum())
                predicted[c] += int((labels == c).sum())
                true[c] += int((truth == c).sum())
                counts = [cv2.connectedComponents(np.uint8(x == c), connectivity=8)[0] for x in (labels, truth)]
                component_errors += abs(counts[0] - counts[1])
    f1 = {c: 200 * hits[c] / (predicted[c] + true[c]) for c in range(19) if predicted[c] + true[c]}
    iou = {c: 100 * hits[c] / (predicted[c] + true[c] - hits[c]) for c in range(19) if predicted[c] + true[c]}
    report = scores.report()
    assert report["mean_f1"] == pytest.approx(np.mean([f1[c] for c in f1 if c]), abs=0.01)
    assert report["miou"] == pytest.approx(np.mean(list(iou.values())), abs=0.01)
    for c, name in enumerate(CELEBAMASK19.names):
        assert report["f1"][name] == (pytest.approx(f1[c], abs=0.01) if c in f1 else None)
    assert report["artefacts"] == pytest.approx(component_errors / 3 / 19, abs=0.01)
    assert report["mean_f1"] is not None
    assert report["mean_f1"] > 40


def test_long_tail_f1_is_the_mean_of_its_classes() -> None:
    matrix = ConfusionMatrix(CELEBAMASK19)
    truth = np.array([[15, 15, 16, 17, 18, 1]], np.uint8)
    matrix.update(np.array([[15, 0, 16, 17, 1, 1]], np.uint8), truth)
    expected = np.mean([200 / 3, 100, 100, 0])
    assert Scores(matrix, np.zeros(19, np.int64), 1).long_tail_f1() == pytest.approx(expected)


def test_helen_overall_pools_merged_classes() -> None:
    rng = np.random.default_rng(0)
    truth, found = (rng.integers(0, 11, (40, 40), dtype=np.uint8) for _ in range(2))
    found = np.where(rng.random(truth.shape) < 0.6, truth, found).astype(np.uint8)
    matrix = ConfusionMatrix(HELEN11)
    matrix.update(found, truth)
    merged = Scores(matrix, np.zeros(11, np.int64), 1).merged_f1()
    both = either = 0
    for name, parts in HELEN_MERGED.items():
        ids = [HELEN11.id_of(part) for part in parts]
        a, b = np.isin(found, ids), np.isin(truth, ids)
        assert merged[name] == pytest.approx(200 * (a & b).sum() / (a.sum() + b.sum()))
        both, either = both + (a & b).sum(), either + a.sum() + b.sum()
    assert merged["overall"] == pytest.approx(200 * both / either)


def test_lapa_is_squashed_by_default_and_folders_are_not(photographs: Dataset) -> None:
    wide = photographs.only(("2",))  # 200 by 120
    with FaceParser("edge-256") as parser:
        whole, squashed = (evaluate(parser, wide, fit=fit).matrix.counts for fit in ("whole", "squash"))
        assert np.array_equal(evaluate(parser, wide).matrix.counts, whole)
        assert np.array_equal(evaluate(parser, replace(wide, squashed=True)).matrix.counts, squashed)
    assert not np.array_equal(whole, squashed)


def test_dataset_with_a_part_that_the_model_lacks_is_rejected(photographs: Dataset) -> None:
    class Eleven:
        space = LAPA11

    with pytest.raises(DatasetError, match="cannot be scored on celebamask19 .*no class for .*cloth"):
        evaluate(Eleven(), photographs)  # type: ignore[arg-type]


def test_dataset_with_fewer_parts_is_scored_in_the_models_space(photographs: Dataset) -> None:
    def read(name: str) -> Sample:
        sample = photographs.read(name)
        return replace(sample, labels=np.where(sample.labels == 2, 1, 0).astype(np.uint8))

    lapa = replace(photographs, read=read, space=LAPA11)
    with FaceParser("edge-256") as parser:
        counts = evaluate(parser, lapa).matrix.counts
    assert counts[2].sum() == sum(int((photographs[i].labels == 2).sum()) for i in range(3))


def test_evaluate_command_prints_a_table_and_writes_the_promised_keys(photographs: Dataset, tmp_path: Path) -> None:
    result = run_cli(
        "evaluate", "edge-256", "--dataset", "folder", "--data", photographs.root, "--json", tmp_path / "r.json"
    )
    assert result.returncode == 0, result.stderr
    for words in ("necklace", "mean F1", "long-tail mean F1", "artefacts"):
        assert words in result.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report["f1"]) == set(CELEBAMASK19.names)
    assert 0 < report["miou"] < report["mean_f1"] < 100
    assert report["dataset"] == {"kind": "folder", "split": "all", "score_size": "own", "fit": "default"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("edge-256", "--dataset", "celebamask"), ("not laid out as celebamask", "--dataset folder")),
        (("edge-256", "--dataset", "folder", "--split", "val2"), ("no split 'val2'",)),
        (("edge-256", "--dataset", "folder", "--labels", "celebamask19-raw", "--split", "test"), ("no test.txt",)),
        (("nothing", "--dataset", "folder"), ("no bundled model is called 'nothing'",)),
        (("none.pt", "--dataset", "folder"), ("none.pt does not exist",)),
    ],
)
def test_wrong_evaluate_commands_are_explained_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    root = write_folder(tmp_path / "faces", 2)
    assert_one_line_error(run_cli("evaluate", *arguments, "--data", root), *words)

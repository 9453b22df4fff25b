from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_segface.assets import BUNDLED, FOLDER
from edge_segface.errors import ModelError
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW
from edge_segface.models import (
    load_engine,
    mask_space,
    model_spec,
    resolve,
    resolve_checkpoint,
    resolve_onnx,
)

OFFICIAL = "segface-mobilenet-celeb-512"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, official_checkpoints: dict[str, Path]) -> Path:
    """An official checkpoint where `fetch` would put it."""
    monkeypatch.setenv("EDGE_SEGFACE_HOME", str(tmp_path))
    path = tmp_path / f"{OFFICIAL}.pt"
    path.write_bytes(official_checkpoints["celebamask19"].read_bytes())
    return path


def test_a_bundled_name_is_its_file() -> None:
    assert resolve("edge-256").path == BUNDLED["edge-256"]
    assert resolve("edge-256").format.kind == "onnx"


def test_a_fetched_name_is_a_checkpoint(fetched: Path) -> None:
    found = resolve(OFFICIAL)
    assert (found.path, found.is_checkpoint) == (fetched, True)
    assert resolve_checkpoint(OFFICIAL) == fetched
    assert model_spec(OFFICIAL).space == CELEBAMASK19
    with load_engine(OFFICIAL, size=128) as engine:
        assert engine.infer(np.zeros((1, 128, 128, 3), np.uint8)).shape == (1, 128, 128)


def test_a_name_that_was_not_fetched_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SEGFACE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=f"has not been downloaded; run: edge-segface fetch {OFFICIAL}"):
        resolve(OFFICIAL)


def test_unknown_names_suffixes_and_missing_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no bundled model is called 'best'; choose one of edge-256.*segface"):
        resolve("best")
    with pytest.raises(ModelError, match=r"not a supported model file \(found: .zip\); give a file ending in .pt"):
        resolve(tmp_path / "x.zip")
    with pytest.raises(ModelError, match=r"none.pt does not exist"):
        resolve(tmp_path / "none.pt")


def test_graph_readers_reject_what_is_not_onnx(tmp_path: Path) -> None:
    assert resolve_onnx("edge-256") == BUNDLED["edge-256"]
    with pytest.raises(ModelError, match="is a checkpoint, not an ONNX file; run: edge-segface export"):
        resolve_onnx(FOLDER / "edge.pt")
    with pytest.raises(ModelError, match="is not an ONNX file"):
        resolve_onnx(tmp_path / "x.engine")


def test_only_checkpoints_take_a_size() -> None:
    with load_engine(FOLDER / "edge.pt", size=128) as engine:
        assert engine.spec.input_size == 128
    with pytest.raises(ModelError, match="input size of edge-256 is fixed"):
        load_engine("edge-256", size=128)
    with pytest.raises(ModelError, match="openvino does not run checkpoints"):
        load_engine(FOLDER / "edge.pt", runtime="openvino")


def test_the_label_space_of_masks_has_one_rule() -> None:
    assert mask_space("celebamask19-raw", "folder", "edge-256") == CELEBAMASK19_RAW
    assert mask_space(None, "folder", "edge-256") == CELEBAMASK19
    assert mask_space(None, "folder", CELEBAMASK19_RAW) == CELEBAMASK19_RAW
    assert mask_space(None, "lapa", "edge-256") is None

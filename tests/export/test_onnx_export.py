"""What an exported file contains, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edge_segface.assets import FOLDER
from edge_segface.errors import ModelError, OutputError, ParityError
from edge_segface.export.onnx_export import export_onnx
from edge_segface.export.parity import HALVES, check_parity
from edge_segface.files import sha256_of
from edge_segface.frames import RoI, crop
from edge_segface.labels import CELEBAMASK19
from edge_segface.model.checkpoint import load_weights
from edge_segface.model.segface import normalised
from edge_segface.models import load_engine
from edge_segface.spec import ModelSpec
from tests.support.weights import weights_of


@pytest.mark.parametrize(("preset", "size"), [("paper", 128), ("edge", 128), ("edge", 352), ("pico", 256)])
def test_exported_file_is_valid_and_describes_itself(preset: str, size: int, tmp_path: Path) -> None:
    exported = export_onnx(weights_of(preset), tmp_path / f"{preset}.onnx", size=size, outputs="both")
    assert exported.parity.agreement is not None
    assert exported.parity.agreement >= 0.999
    assert exported.parity.worst_logit is not None
    assert exported.parity.worst_logit < 1e-4
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    assert all(node.domain == "" for node in model.graph.node)  # no operators of a single runtime
    # Sizes are constants, and every batch norm is folded into a convolution.
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Shape", "Gather", "Expand", "BatchNormalization"})
    assert str(tmp_path) not in str(model)
    [image] = model.graph.input
    shape = image.type.tensor_type.shape.dim
    assert (shape[0].dim_param, [dim.dim_value for dim in shape[1:]]) == ("n", [size, size, 3])
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    spec = ModelSpec.from_metadata({item.key: item.value for item in model.metadata_props}, exported.path)
    assert spec == exported.spec
    assert (spec.class_names, spec.input_size, spec.outputs) == (CELEBAMASK19.names, size, ("labels", "logits"))
    assert [item.name for item in tmp_path.iterdir()] == [exported.path.name]


@pytest.mark.slow
def test_export_at_the_largest_size(tmp_path: Path) -> None:
    agreement = export_onnx(weights_of("pico"), tmp_path / "x.onnx", size=1024).parity.agreement
    assert agreement is not None
    assert agreement >= 0.999


def test_engine_gives_the_class_map_that_pytorch_gives_step_by_step(
    official_checkpoints: dict[str, Path], tmp_path: Path, drawn_face: np.ndarray
) -> None:
    """Crop, normalisation, network and argmax by hand, against the exported file in its engine."""
    weights = load_weights(official_checkpoints["celebamask19"])
    exported = export_onnx(weights, tmp_path / "x.onnx", size=128)
    square = crop(drawn_face, RoI.whole((200, 240)), 128)
    rgb = square[..., ::-1].astype(np.float32) / 255
    image = (rgb - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
    with torch.no_grad():
        logits = weights.model(torch.tensor(image.transpose(2, 0, 1)[None]))
    with load_engine(exported.path, runtime="onnxruntime") as engine:
        assert (engine.infer(square[None])[0] == logits[0].argmax(0).numpy()).mean() > 0.999
    assert torch.allclose(normalised(square[None])[0], torch.tensor(image.transpose(2, 0, 1)), atol=1e-6)


def test_exported_official_weights_give_the_recorded_labels(official_fixtures: Path, tmp_path: Path) -> None:
    recorded = np.load(official_fixtures / "segface_celeb_mobilenet_512_io.npz")
    weights = load_weights(official_fixtures / "segface_celeb_mobilenet_512.pt")
    exported = export_onnx(weights, tmp_path / "x.onnx", size=512)
    with load_engine(exported.path, runtime="onnxruntime") as engine:
        labels = engine.infer(np.ascontiguousarray(recorded["image"][..., ::-1]))
    assert (labels == recorded["labels"]).mean() >= 0.9999


def test_half_weights_halve_the_file_and_keep_the_byte_input(tmp_path: Path) -> None:
    weights = weights_of("pico-v1")
    full = export_onnx(weights, tmp_path / "full.onnx", size=128)
    half = export_onnx(weights, tmp_path / "half.onnx", size=128, half_weights=True)
    assert half.path.stat().st_size < 0.6 * full.path.stat().st_size
    session = ort.InferenceSession(half.path)
    assert session.get_inputs()[0].type == "tensor(uint8)"


@pytest.mark.parametrize("size", [0, 96, 250, 1056, -256])
def test_export_refuses_invalid_sizes(size: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="multiple of 32 from 128 to 1024"):
        export_onnx(weights_of("pico"), tmp_path / "x.onnx", size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outputs", ["labels", "logits"])
def test_export_of_a_network_with_nan_writes_nothing(outputs: str, tmp_path: Path) -> None:
    weights = weights_of("pico")
    with torch.no_grad():
        weights.model.get_parameter("decoder.mask_mlp.2.bias").fill_(float("nan"))
    with pytest.raises(ParityError, match="not finite"):
        export_onnx(weights, tmp_path / "x.onnx", size=128, outputs=outputs)
    assert list(tmp_path.iterdir()) == []


def test_export_writes_only_onnx_files(tmp_path: Path) -> None:
    (tmp_path / "edge.pt").write_bytes(b"weights")
    with pytest.raises(OutputError, match="ends in .onnx"):
        export_onnx(weights_of("pico"), tmp_path / "edge.pt", size=128)
    assert (tmp_path / "edge.pt").read_bytes() == b"weights"


def test_bundled_model_was_exported_from_the_bundled_checkpoint() -> None:
    with load_engine("edge-256") as engine:
        spec = engine.spec
    assert spec.parent_sha256 == sha256_of(FOLDER / "edge.pt")
    weights = load_weights(FOLDER / "edge.pt")
    agreement = check_parity(FOLDER / "edge-256.onnx", weights, HALVES).agreement
    assert agreement is not None
    assert agreement > 0.995
    assert spec.f1 is not None
    assert set(spec.f1) == set(CELEBAMASK19.names)

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edge_segface.errors import ModelError, OutputError, ParityError
from edge_segface.export import onnx_export as onnx_file
from edge_segface.export.onnx_export import export_onnx
from edge_segface.export.parity import HALVES, check_parity
from edge_segface.export.rewrite import resized_channels_last, rewritten
from edge_segface.frames import RoI, crop
from edge_segface.labels import CELEBAMASK19
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights, load_weights
from edge_segface.model.segface import SegFace, normalised
from edge_segface.models import load_engine
from edge_segface.spec import ModelSpec


def shaken(preset: str, classes: int, seed: int = 0) -> SegFace:
    """A network of random weights in which nothing is zero or one by default, so that no term can be lost unseen."""
    torch.manual_seed(seed)
    model = PRESETS[preset](classes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def weights_of(preset: str, classes: int = 19) -> Weights:
    return Weights(shaken(preset, classes), preset, CELEBAMASK19, "nothing", "none")


@pytest.mark.parametrize(
    ("preset", "classes", "size"),
    [
        ("paper", 19, 128),
        ("paper", 11, 256),
        ("paper", 19, 512),
        ("edge", 19, 256),
        ("edge", 11, 160),
        ("pico", 19, 224),
    ],
)
def test_rewrite_gives_the_same_logits(preset: str, classes: int, size: int) -> None:
    model = shaken(preset, classes)
    image = torch.randn(2, 3, size, size)
    network = rewritten(model, size)
    with torch.no_grad():
        before = model.decoder(model.backbone(image))
        after = network.place(network(image)).permute(0, 3, 1, 2)
    assert after.shape == before.shape
    assert (after - before).abs().max() < 1e-4
    assert before.std() > 1e-3  # and there was something to compare


def test_rewrite_leaves_the_model_alone() -> None:
    model = shaken("paper", 11)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rewritten(model, 128)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_channels_last_resize_is_the_bilinear_one_in_the_file_too(tmp_path: Path) -> None:
    class Resize(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return resized_channels_last(x, 4)

    x = torch.randn(2, 5, 7, 3)
    expected = torch.nn.functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=4, mode="bilinear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(Resize(), (x,), str(tmp_path / "r.onnx"), input_names=["x"], opset_version=17, dynamo=False)
    assert {node.op_type for node in onnx.load(tmp_path / "r.onnx").graph.node} == {"Constant", "Resize"}
    [found] = ort.InferenceSession(tmp_path / "r.onnx").run(None, {"x": x.numpy()})
    assert np.allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize(("preset", "size"), [("paper", 128), ("edge", 128), ("edge", 352), ("pico", 256)])
def test_exported_file_is_sound_and_says_what_it_is(preset: str, size: int, tmp_path: Path) -> None:
    weights = weights_of(preset)
    exported = export_onnx(weights, tmp_path / f"{preset}.onnx", size=size, outputs="both")
    assert exported.parity.agreement >= 0.999
    assert exported.parity.worst_logit is not None
    assert exported.parity.worst_logit < 1e-4
    graph = onnx.load(exported.path)
    onnx.checker.check_model(graph, full_check=True)
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", 17)]
    assert all(node.domain == "" for node in graph.graph.node)  # nothing that only one runtime knows
    # Sizes are numbers in the graph, and every batch norm is folded into a convolution.
    assert {node.op_type for node in graph.graph.node}.isdisjoint({"Shape", "Gather", "Expand", "BatchNormalization"})
    assert str(tmp_path) not in str(graph)
    [image] = graph.graph.input
    shape = image.type.tensor_type.shape.dim
    assert (shape[0].dim_param, [dim.dim_value for dim in shape[1:]]) == ("n", [size, size, 3])
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    spec = ModelSpec.from_metadata({item.key: item.value for item in graph.metadata_props}, exported.path)
    assert spec == exported.spec
    assert (spec.class_names, spec.input_size, spec.outputs) == (CELEBAMASK19.names, size, ("labels", "logits"))
    assert [item.name for item in tmp_path.iterdir()] == [exported.path.name]


def test_largest_size(tmp_path: Path) -> None:
    assert export_onnx(weights_of("pico"), tmp_path / "x.onnx", size=1024).parity.agreement >= 0.999


def test_from_a_file_to_a_class_map_as_torch(
    official_checkpoints: dict[str, Path], tmp_path: Path, drawn_face: np.ndarray
) -> None:
    """The way by hand: crop, normalise, network, argmax; against the exported file behind its engine."""
    weights = load_weights(official_checkpoints["celebamask19"])
    exported = export_onnx(weights, tmp_path / "x.onnx", size=256)
    square = crop(drawn_face, RoI.whole((200, 240)), 256)
    rgb = square[..., ::-1].astype(np.float32) / 255
    image = (rgb - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    with torch.no_grad():
        logits = weights.model(torch.tensor(image.transpose(2, 0, 1)[None]))
    with load_engine(exported.path) as engine:
        assert (engine.infer(square[None])[0] == logits[0].argmax(0).numpy()).mean() > 0.999
    assert torch.allclose(normalised(square[None])[0], torch.tensor(image.transpose(2, 0, 1)), atol=1e-6)


def test_exported_official_weights_give_the_recorded_labels(official_fixtures: Path, tmp_path: Path) -> None:
    recorded = np.load(official_fixtures / "segface_celeb_mobilenet_512_io.npz")
    weights = load_weights(official_fixtures / "segface_celeb_mobilenet_512.pt")
    exported = export_onnx(weights, tmp_path / "x.onnx", size=512)
    with load_engine(exported.path) as engine:
        labels = engine.infer(np.ascontiguousarray(recorded["image"][..., ::-1]))
    assert (labels == recorded["labels"]).mean() >= 0.9999


def test_halved_weights_are_half_the_file_and_computed_in_full(tmp_path: Path) -> None:
    weights = weights_of("pico")
    full = export_onnx(weights, tmp_path / "full.onnx", size=128)
    half = export_onnx(weights, tmp_path / "half.onnx", size=128, half_weights=True)
    assert half.path.stat().st_size < 0.6 * full.path.stat().st_size
    session = ort.InferenceSession(half.path)
    assert session.get_inputs()[0].type == "tensor(uint8)"


def test_a_file_that_does_something_else_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of("pico")
    exported = export_onnx(weights, tmp_path / "a.onnx", size=128)
    other = dataclasses.replace(weights, model=shaken("pico", 19, seed=1))
    with pytest.raises(ParityError, match="does not do what its weights do in torch"):
        check_parity(exported.path, other)

    def write_another(graph: torch.nn.Module, *arguments: object) -> None:
        write_graph(onnx_file.DeployGraph(other.model, 128, ("labels",)), *arguments)

    write_graph = onnx_file.write_graph
    monkeypatch.setattr(onnx_file, "write_graph", write_another)
    with pytest.raises(ParityError):
        export_onnx(weights, tmp_path / "b.onnx", size=128)
    assert [item.name for item in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("size", [0, 96, 250, 1056, -256])
def test_sizes_that_cannot_be(size: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="multiple of 32 from 128 to 1024"):
        export_onnx(weights_of("pico"), tmp_path / "x.onnx", size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outputs", ["labels", "logits"])
def test_a_network_that_is_not_finite_is_refused(outputs: str, tmp_path: Path) -> None:
    weights = weights_of("pico")
    with torch.no_grad():
        weights.model.decoder.mask_mlp[2].bias.fill_(float("nan"))
    with pytest.raises(ParityError, match="not finite"):
        export_onnx(weights, tmp_path / "x.onnx", size=128, outputs=outputs)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_round_badly_are_judged_by_what_torch_loses_itself(tmp_path: Path) -> None:
    weights = weights_of("pico")
    with torch.no_grad():
        for name, parameter in weights.model.decoder.named_parameters():
            if "transformer" in name or "refine" in name:
                parameter.mul_(4)
    exported = export_onnx(weights, tmp_path / "x.onnx", size=128, outputs="both")
    assert exported.parity.worst_logit is not None
    other = dataclasses.replace(weights, model=shaken("pico", 19, seed=1))
    with pytest.raises(ParityError, match="does not do"):
        check_parity(exported.path, other)


def test_only_onnx_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "edge.pt").write_bytes(b"weights")
    with pytest.raises(OutputError, match="ends in .onnx"):
        export_onnx(weights_of("pico"), tmp_path / "edge.pt", size=128)
    assert (tmp_path / "edge.pt").read_bytes() == b"weights"


def test_bundled_file_is_made_of_the_bundled_checkpoint() -> None:
    from edge_segface.assets import FOLDER
    from edge_segface.files import sha256_of

    with load_engine("edge-256") as engine:
        spec = engine.spec
    assert spec.parent_sha256 == sha256_of(FOLDER / "edge.pt")
    weights = load_weights(FOLDER / "edge.pt")
    assert check_parity(FOLDER / "edge-256.onnx", weights, HALVES).agreement > 0.995
    assert spec.f1 is not None
    assert set(spec.f1) == set(CELEBAMASK19.names)

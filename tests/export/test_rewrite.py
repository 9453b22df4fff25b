"""The rewritten network computes what the trained one does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edge_segface.export.rewrite import rewrite
from edge_segface.export.rewrite_layers import resize_channels_last
from tests.support.weights import random_network


@pytest.mark.parametrize(
    ("preset", "classes", "size"),
    [("paper", 19, 128), ("paper", 11, 160), ("edge", 19, 256), ("edge", 11, 160), ("pico", 19, 224)],
)
def test_rewrite_gives_the_same_logits(preset: str, classes: int, size: int) -> None:
    model = random_network(preset, classes)
    image = torch.randn(2, 3, size, size)
    network = rewrite(model, size)
    with torch.no_grad():
        before = model.decoder(model.backbone(image))
        after = network.to_grid(network(image)).permute(0, 3, 1, 2)
    assert after.shape == before.shape
    assert (after - before).abs().max() < 1e-4
    assert before.std() > 1e-3  # the logits are not constant


def test_rewrite_does_not_change_the_trained_network() -> None:
    model = random_network("pico", 11)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rewrite(model, 128)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_channels_last_resize_is_one_bilinear_resize_in_the_file(tmp_path: Path) -> None:
    class Resize(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return resize_channels_last(x, 4)

    x = torch.randn(2, 5, 7, 3)
    expected = torch.nn.functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=4, mode="bilinear")
    path = tmp_path / "resize.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(Resize(), (x,), str(path), input_names=["x"], opset_version=17, dynamo=False)
    assert {node.op_type for node in onnx.load(path).graph.node} == {"Constant", "Resize"}
    [resized] = ort.InferenceSession(path).run(None, {"x": x.numpy()})
    assert np.allclose(resized, expected.permute(0, 2, 3, 1).numpy(), atol=1e-6)

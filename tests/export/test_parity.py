"""When an exported file counts as equal to its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_segface.errors import ParityError
from edge_segface.export.comparison import Parity
from edge_segface.export.onnx_export import export_onnx
from edge_segface.export.parity import check_parity
from tests.support.weights import weights_of


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    exported = export_onnx(weights_of("pico"), tmp_path / "x.onnx", size=128)
    with pytest.raises(ParityError, match="differs from its weights in PyTorch"):
        check_parity(exported.path, weights_of("pico", seed=1))


def test_weights_that_round_badly_are_compared_by_the_rounding_of_pytorch(tmp_path: Path) -> None:
    weights = weights_of("pico")
    with torch.no_grad():
        for name, parameter in weights.model.decoder.named_parameters():
            if "transformer" in name or "refine" in name:
                parameter.mul_(4)
    exported = export_onnx(weights, tmp_path / "x.onnx", size=128, outputs="both")
    assert exported.parity.worst_logit is not None
    assert exported.parity.worst_logit > 1e-4  # more than other weights may differ by


def test_parity_is_within_a_tolerance_only_if_every_output_is() -> None:
    assert Parity(0.9995, 1e-5).within(0.999, 1e-4)
    assert not Parity(0.998, 1e-5).within(0.999, 1e-4)
    assert not Parity(0.9995, 1e-3).within(0.999, 1e-4)
    assert not Parity(None, float("nan")).within(0.999, 1e-4)
    assert Parity(1.0, None).within(0.999, 1e-4)

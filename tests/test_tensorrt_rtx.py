"""NVIDIA's own parser and builder on every preset: TensorRT-RTX compiles without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_segface.export.onnx_file import export_onnx
from edge_segface.weights import FOLDER
from tests.test_export import weights_of

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")


def built(path: Path, size: int) -> list[str]:
    """Compiles for batches of 1 to 4 and returns the data types of the outputs."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(path.read_bytes()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((batch, size, size, 3) for batch in (1, 2, 4)))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    return [network.get_output(index).dtype.name for index in range(network.num_outputs)]


@pytest.mark.parametrize(("preset", "size"), [("paper", 256), ("edge", 512), ("pico", 256)])
def test_presets_compile(preset: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    export_onnx(weights_of(preset), path, size=size, outputs="both")
    assert built(path, size) == ["UINT8", "FLOAT"]


def test_bundled_model_compiles() -> None:
    assert built(FOLDER / "edge-256.onnx", 256) == ["UINT8"]

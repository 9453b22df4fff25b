"""Read an fp32 model to quantize, and write the quantized one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, helper

from edge_segface.errors import ModelError, QuantizeError
from edge_segface.files import write_bytes
from edge_segface.quantize.graph_edit import with_stored_fp32, with_stored_int8
from edge_segface.quantize.lint import lint
from edge_segface.seal import sealed_onnx
from edge_segface.spec import ModelSpec


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A model in fp16 or int8 that has not been written yet: its int8 weights are still floats before a Q and a DQ."""

    model: ModelProto
    spec: ModelSpec
    int8_share: float  # of the multiply-adds

    def save(self, path: Path) -> None:
        """Write the model with its ModelSpec, unless it breaks a rule of TensorRT."""
        model = with_stored_int8(self.model)
        if findings := lint(model):
            raise QuantizeError(
                "TensorRT would reject the quantized file", found="; ".join(map(str, findings[:3])),
                remedy="please report this with the version of nvidia-modelopt",
            )  # fmt: skip
        helper.set_model_props(model, replace(self.spec, sealed=True).metadata())
        write_bytes(sealed_onnx(model.SerializeToString()), path)


@contextmanager
def temporary_file(model: QuantizedModel) -> Iterator[Path]:
    """Yield the path of a file with the model, for engines; it is deleted when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        model.save(path)
        yield path


def load_fp32(path: Path) -> tuple[ModelProto, ModelSpec]:
    """Return an exported model with its weights in fp32, and its ModelSpec. Raise if it cannot be quantized."""
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist", remedy="check the path") from error
    except (OSError, ValueError, DecodeError) as error:
        raise ModelError(
            f"{path} is not an ONNX file", found=type(error).__name__, remedy="make one with: edge-segface export"
        ) from error
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}, path)
    if spec.precision != "fp32":
        raise QuantizeError(
            f"{path} is already in {spec.precision}", remedy="start from the fp32 file that export writes"
        )
    if "labels" not in spec.outputs:
        raise QuantizeError(
            f"{path} has no output `labels`", found=", ".join(spec.outputs), remedy="export it with --outputs both"
        )
    return with_stored_fp32(model), spec

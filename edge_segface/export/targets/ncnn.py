"""ncnn: a .param with the graph and a .bin with the weights beside it, by pnnx."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import onnx

from edge_segface.engine.ncnn import NcnnNetwork, bin_of
from edge_segface.engine.planes import labels_of
from edge_segface.errors import ModelError
from edge_segface.export.targets import Options, Run
from edge_segface.export.targets.channels_first import ChannelsFirst

LONGEST_S = 600
# Layers that pnnx writes as they came because ncnn has no counterpart start with the name of the foreign operator.
KNOWN = ("BinaryOp", "Clip", "Convolution", "ConvolutionDepthWise", "Gemm", "GELU", "HardSigmoid", "HardSwish", "Input",
         "InnerProduct", "Interp", "LayerNorm", "MatMul", "MemoryData", "MultiHeadAttention", "Permute", "Pooling",
         "Reduction", "ReLU", "Reshape", "Softmax", "Split", "UnaryOp")  # fmt: skip


@contextmanager
def converted(planes: ChannelsFirst, out: Path, options: Options) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "planes.onnx"
        onnx.save(planes.model, source)
        half = int(options.precision != "fp32")
        command = [str(_converter()), str(source), f"fp16={half}", f"ncnnparam={out}", f"ncnnbin={bin_of(out)}"]
        result = subprocess.run(command, cwd=folder, capture_output=True, timeout=LONGEST_S, check=False)  # noqa: S603
    if result.returncode or not out.exists():
        raise ModelError("pnnx cannot convert this model", found=f"exit code {result.returncode}")
    if foreign := sorted({line.split()[0] for line in out.read_text().splitlines()[2:]} - set(KNOWN)):
        raise ModelError(f"ncnn has no counterpart for operations of {planes.spec.name}", found=", ".join(foreign))
    with closing(NcnnNetwork(out)) as network:
        yield lambda image: labels_of(network.logits(image), len(image))


def _converter() -> Path:
    """Return the program in the package; importing the package would load PyTorch."""
    spec = find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("pnnx.exe" if os.name == "nt" else "pnnx")

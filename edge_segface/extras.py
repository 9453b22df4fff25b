"""Checks that optional dependencies are installed, without importing them: some take seconds to load."""

from __future__ import annotations

from importlib.util import find_spec

from edge_segface.errors import MissingExtra


def check_extra(extra: str, purpose: str, *modules: str) -> None:
    """Raise MissingExtra, naming the extra to install, unless all modules can be imported."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(module, extra, purpose)


def check_torch(purpose: str = "running checkpoints") -> None:
    """Raise unless networks can be built in PyTorch."""
    check_extra("train", purpose, "onnx", "timm", "torch")


def check_training() -> None:
    """Raise unless the whole training stack is installed."""
    check_torch("training")
    check_extra("train", "training", "lightning_fabric", "tensorboard", "yaml")


def check_quantize(purpose: str = "quantizing a model") -> None:
    """Raise unless models can be quantized."""
    check_extra("quantize", purpose, "onnx", "onnx_graphsurgeon", "torch", "modelopt")

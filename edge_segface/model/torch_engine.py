"""A network in PyTorch as an engine, for validation during training and for scoring checkpoints."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_segface import __version__
from edge_segface.engine.base import check_images
from edge_segface.frames import UInt8Array
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import normalised


class TorchEngine:
    """Runs a network in PyTorch on its current device. Like other engines it expects crops that are already warped."""

    gpu_ms: list[tuple[float, float, float]] | None = None  # not measured

    def __init__(self, weights: Weights, size: int, model: nn.Module | None = None) -> None:
        self.spec = weights.spec(f"{weights.preset}-{size}", size, ("labels",), f"edge-segface {__version__}")
        self.model = weights.model if model is None else model
        self.device = next(self.model.parameters()).device
        self.description = f"torch {torch.__version__}, {self.device}"

    @torch.inference_mode()
    def infer(self, images: UInt8Array) -> UInt8Array:
        image = normalised(torch.from_numpy(check_images(images, self.spec)).to(self.device))
        labels: UInt8Array = self.model(image).argmax(dim=1).to(torch.uint8).cpu().numpy()
        return labels

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        return {"labels": np.asarray(self.infer(images))}

    def close(self) -> None:
        pass

    def __enter__(self) -> TorchEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

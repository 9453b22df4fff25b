"""LiteRT (formerly TensorFlow Lite), by litert-torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from edge_segface.engine.planes import labels_of
from edge_segface.export.targets import Options, Run
from edge_segface.export.targets.channels_first import ChannelsFirst
from edge_segface.export.targets.torch_graph import TorchGraph
from edge_segface.frames import UInt8Array


@contextmanager
def converted(planes: ChannelsFirst, out: Path, _options: Options) -> Iterator[Run]:
    side = planes.spec.input_size
    network = PixelsInAndOut(TorchGraph(planes)).eval()
    litert_torch.convert(network, (torch.zeros(1, side, side, 3),)).export(str(out))
    interpreter = Interpreter(str(out))
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    logits = interpreter.get_output_details()[0]["index"]

    def run(image_bgr: UInt8Array) -> UInt8Array:
        interpreter.set_tensor(image, image_bgr[None, :, :, ::-1].astype(np.float32))
        interpreter.invoke()
        planes = np.ascontiguousarray(interpreter.get_tensor(logits)[0].transpose(2, 0, 1))
        return labels_of(planes, len(image_bgr))

    yield run


class PixelsInAndOut(torch.nn.Module):
    """The network with channels last, as cameras of phones deliver them and LiteRT's delegates prefer."""

    def __init__(self, network: TorchGraph) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(image.permute(0, 3, 1, 2))
        return logits.permute(0, 2, 3, 1)

"""ExecuTorch with XNNPACK, its backend for CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from edge_segface.engine.planes import labels_of, rgb_planes
from edge_segface.export.targets import Options, Run
from edge_segface.export.targets.channels_first import ChannelsFirst
from edge_segface.export.targets.torch_graph import exported_program
from edge_segface.frames import UInt8Array


@contextmanager
def converted(planes: ChannelsFirst, out: Path, _options: Options) -> Iterator[Run]:
    lowered = to_edge_transform_and_lower(exported_program(planes), partitioner=[XnnpackPartitioner()])
    out.write_bytes(lowered.to_executorch().buffer)
    method = Runtime.get().load_program(out).load_method("forward")

    def run(image_bgr: UInt8Array) -> UInt8Array:
        logits = method.execute([torch.from_numpy(rgb_planes(image_bgr))])[0][0]
        return labels_of(np.asarray(logits, np.float32), len(image_bgr))

    yield run

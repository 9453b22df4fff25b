"""The devices and processes that train together, and what they do in common."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from edge_segface.errors import EdgeSegfaceError, TrainingError, first_line
from edge_segface.files import write_error
from edge_segface.machine import cpu_features

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}  # of processors, as Linux names them


@dataclass(frozen=True)
class Devices:
    """Accelerator and processes to train on. Under torchrun, the processes it started are used instead."""

    accelerator: str = "auto"  # or cpu, cuda, mps
    devices: int = 1  # processes on each machine, one per device
    nodes: int = 1
    accumulate: int = 1  # forward and backward passes a step
    workers: int = 2 if sys.platform == "linux" else 0  # per device; they share an open dataset by fork


def native_precision(accelerator: str) -> Literal["fp32", "bf16", "fp16"]:
    """Return the fastest precision for which the device has instructions; without them, bfloat16 is far slower."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available())
    return "bf16" if on_cpu and cpu_features() & BFLOAT16_FEATURES else "fp32"


def start_fabric(precision: str, devices: Devices) -> Fabric:
    """Start the processes and return what connects them. Raise if the devices cannot be used."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it logs the precision as information
    per_node, nodes = devices.devices, devices.nodes
    if local := os.environ.get("LOCAL_WORLD_SIZE"):  # torchrun has started the processes already
        per_node, nodes = int(local), int(os.environ["WORLD_SIZE"]) // int(local)
    try:
        fabric = Fabric(
            accelerator=devices.accelerator,
            devices=per_node,
            num_nodes=nodes,
            precision=PRECISIONS[precision],
            strategy="ddp" if per_node * nodes > 1 else "auto",
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"cannot train on {per_node} x {devices.accelerator}",
            found=first_line(error),
            remedy="choose another --accelerator (auto, cpu, cuda, mps) or fewer --devices",
        ) from error
    fabric.launch()
    return fabric


def any_rank(fabric: Fabric, condition: bool) -> bool:
    """Return whether the condition holds in any process, so that all of them take the same branch."""
    votes: Any = fabric.all_reduce(torch.tensor(float(condition), device=fabric.device), reduce_op="sum")
    return bool(votes > 0)


def on_rank_zero(fabric: Fabric, action: Callable[[], None], folder: Path) -> None:
    """Run an action that writes into `folder` in one process. If it fails, raise in all, so that none waits forever."""
    failure: EdgeSegfaceError | None = None
    if fabric.is_global_zero:
        try:
            action()
        except EdgeSegfaceError as error:
            failure = error
        except OSError as error:  # raised by TensorBoard
            failure = write_error(folder, error)
    if any_rank(fabric, failure is not None):
        raise failure or TrainingError("the first process failed")

"""Metrics of a run: one JSON line an epoch, and the same numbers in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from edge_segface.frames import UInt8Array
from edge_segface.train.run_folder import RunFolder

SUMMARY_SCORES = ("mean_f1", "miou", "artefacts", "long_tail_f1")


class MetricsLog:
    """Writes to metrics.jsonl and to TensorBoard, whose files are opened when first written to."""

    def __init__(self, run: RunFolder, start_step: int) -> None:
        self.run = run
        self.start_step = start_step

    @cached_property
    def board(self) -> SummaryWriter:
        # purge_step hides what was logged after the state that the run resumes from
        return SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=self.start_step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Log the losses and scores of one epoch."""
        self.run.write_metrics(record)
        step, scores = record["step"], record.get("val", {})
        for name, value in record["loss"].items():
            self.board.add_scalar(f"loss/{name}", value, step)
        self.board.add_scalar("lr", record["lr"], step)
        for name, value in scores.get("f1", {}).items():
            self.board.add_scalar(f"f1/{name}", math.nan if value is None else value, step)
        for name in SUMMARY_SCORES:
            if scores.get(name) is not None:
                self.board.add_scalar(f"val/{name}", scores[name], step)

    def write_images(self, images_bgr: Iterable[UInt8Array], step: int) -> None:
        for index, image in enumerate(images_bgr):
            self.board.add_image(f"example/{index}", image[..., ::-1].copy(), step, dataformats="HWC")

    def close(self) -> None:
        if "board" in self.__dict__:
            self.board.close()

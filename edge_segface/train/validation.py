"""Validation during training: scores, the best weights so far, and example images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric

from edge_segface.data import Dataset
from edge_segface.data.geometry import resize_labels
from edge_segface.draw import colour, overlay
from edge_segface.evaluate import ScoreReport, Scores, default_fit, evaluate, predictions
from edge_segface.face.parser import FaceParser
from edge_segface.frames import ClassMap, UInt8Array
from edge_segface.model.checkpoint import Weights, save_weights
from edge_segface.model.torch_engine import TorchEngine
from edge_segface.train.run_folder import RunFolder

EXAMPLES = 4


@dataclass(frozen=True)
class Validator:
    """Scores weights on the validation split; with several processes, each scores its share of the images."""

    fabric: Fabric
    dataset: Dataset
    weights: Weights  # the averaged ones where the recipe averages
    size: int
    run: RunFolder

    def score(self) -> ScoreReport:
        """Return the scores of the current weights, summed over all processes."""
        self.weights.model.eval()
        if self.fabric.world_size > 1:  # without synchronised batch norms, running statistics differ between processes
            for value in self.weights.model.state_dict().values():
                torch.distributed.broadcast(value, src=0)
        parser = self._parser()
        share = self.dataset.names[self.fabric.global_rank :: self.fabric.world_size]
        scores = evaluate(parser, self.dataset.only(share)) if share else Scores.empty(parser.space)
        return self._sum_over_ranks(scores).report()

    def save(self, report: ScoreReport, *, best: bool) -> None:
        """Save the current weights with their F1 as last.pt, and as best.pt if they are the best so far."""
        f1 = {name: score for name, score in report["f1"].items() if score is not None}
        weights = replace(self.weights, f1=f1)
        save_weights(weights, self.run.last)
        if best:
            save_weights(weights, self.run.best)

    def example_images(self) -> Iterator[UInt8Array]:
        """Yield image, prediction and truth side by side for the first samples, at most `size` high and wide."""
        parser = self._parser()
        samples = self.dataset.only(self.dataset.names[:EXAMPLES])
        for sample, predicted in predictions(parser, samples, default_fit(self.dataset)):
            scale = min(1.0, self.size / max(predicted.shape))
            size_wh = max(1, round(predicted.shape[1] * scale)), max(1, round(predicted.shape[0] * scale))
            image = np.asarray(cv2.resize(sample.image_bgr, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            maps = [ClassMap(resize_labels(ids, size_wh), parser.space) for ids in (predicted, sample.labels)]
            yield np.hstack((image, overlay(image, maps[0]), colour(maps[1])))

    def _parser(self) -> FaceParser:
        return FaceParser(TorchEngine(self.weights, self.size))

    def _sum_over_ranks(self, scores: Scores) -> Scores:
        cells = scores.matrix.counts.size
        counts = np.concatenate((scores.matrix.counts.ravel(), scores.component_errors, [scores.images]))
        summed: Any = self.fabric.all_reduce(torch.from_numpy(counts).to(self.fabric.device), reduce_op="sum")
        total = summed.cpu().numpy()
        scores.matrix.counts[:] = total[:cells].reshape(scores.matrix.counts.shape)
        return Scores(scores.matrix, total[cells:-1], int(total[-1]))

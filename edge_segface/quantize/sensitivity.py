"""Which groups of layers suffer most from int8, by what each alone does to the logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, helper

from edge_segface.frames import UInt8Array
from edge_segface.quantize.accuracy_gate import AccuracyDrop
from edge_segface.quantize.modelopt import QuantizedModel
from edge_segface.quantize.qdq import int8_share, layers, logits_before_the_classes, without_groups

PICTURES = 12


@dataclass(frozen=True)
class Sensitivity:
    group: str
    layers: int
    work: float  # share of the multiply-adds
    noise_db: float  # of the logits when this group alone is in int8, below the logits themselves; less is worse


def scan(lowered: QuantizedModel, images_bgr: UInt8Array, threads: int | None = None) -> list[Sensitivity]:
    """The groups that are in int8, worst first. Each is quantized alone and compared with none being quantized."""
    quantized = [layer for layer in layers(lowered.model) if layer.quantized]
    total = sum(layer.macs for layer in layers(lowered.model))
    groups = list(dict.fromkeys(layer.group for layer in quantized))
    images = images_bgr[:PICTURES]
    exact = logits_of(without_groups(lowered.model, groups), images, threads)
    found = []
    for group in groups:
        noisy = logits_of(without_groups(lowered.model, [other for other in groups if other != group]), images, threads)
        own = [layer for layer in quantized if layer.group == group]
        found.append(
            Sensitivity(group, len(own), sum(layer.macs for layer in own) / total, signal_over_noise_db(exact, noisy))
        )
    return sorted(found, key=lambda one: one.noise_db)


def keep_until(
    lowered: QuantizedModel, ranked: list[Sensitivity], judge: Callable[[QuantizedModel], AccuracyDrop]
) -> tuple[QuantizedModel, AccuracyDrop]:
    """Puts the worst groups back into floating point, one after the other, until little enough is lost."""
    kept: dict[str, str] = {}
    settled, verdict = lowered, judge(lowered)
    for worst in ranked:
        if not (lost := verdict.too_much()):
            break
        kept[worst.group] = f"{worst.noise_db:.1f} dB alone; without keeping it too much was lost: {', '.join(lost)}"
        model = without_groups(lowered.model, kept)
        settled = QuantizedModel(
            model, replace(lowered.spec, kept={**(lowered.spec.kept or {}), **kept}), int8_share(model)
        )
        verdict = judge(settled)
    return settled, verdict


def logits_of(model: ModelProto, images_bgr: UInt8Array, threads: int | None = None) -> np.ndarray:
    shown = ModelProto()
    shown.CopyFrom(model)
    name = logits_before_the_classes(shown)
    shown.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # it would warn of every product that it cannot compute beforehand
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([name], {"image": image[None]})[0] for image in images_bgr]).astype(np.float64)


def signal_over_noise_db(exact: np.ndarray, noisy: np.ndarray) -> float:
    noise = np.square(noisy - exact).mean()
    return float(10 * np.log10(np.square(exact).mean() / noise)) if noise else float("inf")

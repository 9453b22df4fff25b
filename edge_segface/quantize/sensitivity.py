"""Find the groups of layers that suffer most from int8, by the noise each alone adds to the logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, helper

from edge_segface.frames import UInt8Array
from edge_segface.quantize.accuracy_gate import AccuracyDrop
from edge_segface.quantize.graph_edit import without_groups
from edge_segface.quantize.graph_info import int8_share, layers, logits_name
from edge_segface.quantize.quantized_model import QuantizedModel

MAX_IMAGES = 12


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one group of layers costs and saves."""

    group: str
    layers: int
    work: float  # share of the multiply-adds
    noise_db: float  # signal-to-noise ratio of the logits with this group alone in int8; lower is worse


def scan_groups(quantized: QuantizedModel, images_bgr: UInt8Array, threads: int | None = None) -> list[Sensitivity]:
    """Compare each quantized group alone with no group quantized; return the groups, worst first."""
    all_layers = layers(quantized.model)
    total = sum(layer.macs for layer in all_layers)
    int8_layers = [layer for layer in all_layers if layer.quantized]
    groups = list(dict.fromkeys(layer.group for layer in int8_layers))
    images = images_bgr[:MAX_IMAGES]
    exact = logits_of(without_groups(quantized.model, groups), images, threads)
    ranked = []
    for group in groups:
        alone = without_groups(quantized.model, [other for other in groups if other != group])
        noise_db = signal_to_noise_db(exact, logits_of(alone, images, threads))
        macs = [layer.macs for layer in int8_layers if layer.group == group]
        ranked.append(Sensitivity(group, len(macs), sum(macs) / total, noise_db))
    return sorted(ranked, key=lambda one: one.noise_db)


def keep_until_accurate(
    quantized: QuantizedModel, ranked: list[Sensitivity], measure: Callable[[QuantizedModel], AccuracyDrop]
) -> tuple[QuantizedModel, AccuracyDrop]:
    """Put groups back into floating point, the worst first, until the accuracy drop is within its limit."""
    kept: dict[str, str] = {}
    result, drop = quantized, measure(quantized)
    for worst in ranked:
        if not (exceeded := drop.exceeded()):
            break
        kept[worst.group] = f"{worst.noise_db:.1f} dB alone; with it in int8 F1 dropped too much: {', '.join(exceeded)}"
        model = without_groups(quantized.model, kept)
        spec = replace(quantized.spec, kept={**(quantized.spec.kept or {}), **kept})
        result = QuantizedModel(model, spec, int8_share(model))
        drop = measure(result)
    return result, drop


def logits_of(model: ModelProto, images_bgr: UInt8Array, threads: int | None = None) -> np.ndarray:
    """Run a model on ONNX Runtime and return the tensor that its argmax reads."""
    extended = ModelProto()
    extended.CopyFrom(model)
    name = logits_name(extended)
    extended.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # warnings name every constant it does not fold
    session = ort.InferenceSession(extended.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([name], {"image": image[None]})[0] for image in images_bgr]).astype(np.float64)


def signal_to_noise_db(exact: np.ndarray, noisy: np.ndarray) -> float:
    """Return the power of `exact` over that of the difference, in decibels; infinite if there is none."""
    noise = np.square(noisy - exact).mean()
    return float(10 * np.log10(np.square(exact).mean() / noise)) if noise else float("inf")

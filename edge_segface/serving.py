"""Packaging models for servers of many streams: Triton and DeepStream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge_segface.engine.onnxruntime import spec_of
from edge_segface.engine.tensorrt.engine import read_engine
from edge_segface.errors import ModelError
from edge_segface.extras import check_extra
from edge_segface.files import new_folder, write_bytes, write_text
from edge_segface.models import load_engine, resolve
from edge_segface.spec import ModelSpec

TYPES = {"labels": "TYPE_UINT8", "logits": "TYPE_FP32"}


@dataclass(frozen=True)
class TritonModel:
    """What Triton's configuration states: backend, file name, and batch size."""

    backend: str
    file: str
    spec: ModelSpec
    fixed: int | None  # the batch size of a plan with a fixed one
    most: int


def package_for_triton(model: str | Path, out: Path, *, most: int = 8, wait_us: int = 1000) -> Path:
    """Write OUT/NAME/config.pbtxt, labels.txt and 1/model.*, and return OUT/NAME.

    Requests are batched up to `most` images; each waits at most `wait_us` microseconds.
    """
    path = resolve(model).path
    served = _triton_model(path, most)
    with new_folder(out / served.spec.name) as folder:
        write_bytes(path.read_bytes(), folder / "1" / served.file)
        _write_labels(served.spec, folder)
        write_text(triton_config(served, wait_us), folder / "config.pbtxt")
    return out / served.spec.name


def package_for_deepstream(model: str | Path, out: Path, *, most: int = 1) -> Path:
    """Write OUT/NAME/config_infer.txt for Gst-nvinfer, with model.onnx and labels.txt, and return OUT/NAME.

    Gst-nvinfer builds its own plan, for up to `most` images, on first use.
    """
    path = resolve(model).path
    if path.suffix.lower() != ".onnx":
        raise ModelError(
            f"DeepStream cannot use {path}",
            found=path.suffix or "no suffix",
            remedy="give the .onnx file, from which it builds its own plan",
        )
    load_engine(path, runtime="onnxruntime").close()  # raises if the file is unusable
    spec = spec_of(path)
    check_extra("onnx", "rewriting a model for DeepStream", "onnx")
    from edge_segface.export.deepstream_graph import write_planes_graph

    with new_folder(out / spec.name) as folder:
        write_planes_graph(path, folder / "model.onnx")
        _write_labels(spec, folder)
        write_text(nvinfer_config(spec, most), folder / "config_infer.txt")
    return out / spec.name


def _write_labels(spec: ModelSpec, folder: Path) -> None:
    write_text("".join(f"{name}\n" for name in spec.class_names), folder / "labels.txt")


def _triton_model(path: Path, most: int) -> TritonModel:
    if path.suffix.lower() == ".onnx":
        load_engine(path, runtime="onnxruntime").close()  # raises if the file is unusable
        return TritonModel("onnxruntime", "model.onnx", spec_of(path), None, most)
    if path.suffix.lower() != ".engine":
        raise ModelError(
            f"{path} cannot be served", found=path.suffix or "no suffix", remedy="give an .onnx or .engine"
        )
    _, record = read_engine(path)
    if record.engine.runtime != "tensorrt":
        raise ModelError(
            f"{path} is for {record.engine.runtime}, which Triton does not run", remedy="build it for tensorrt"
        )
    least, _, largest = record.engine.batch
    return TritonModel(
        "tensorrt", "model.plan", record.model, largest if least == largest else None, min(most, largest)
    )


def triton_config(served: TritonModel, wait_us: int) -> str:
    spec, side = served.spec, served.spec.input_size
    shapes = {
        "image": [side, side, 3],
        "labels": [side, side],
        "logits": [len(spec.class_names), side // 4, side // 4],
    }

    def dims(name: str) -> str:
        return ", ".join(map(str, shapes[name] if served.fixed is None else [served.fixed, *shapes[name]]))

    lines = [
        f"name: {json.dumps(spec.name)}",
        f'backend: "{served.backend}"',
        f"max_batch_size: {0 if served.fixed is not None else served.most}",
        f'input [ {{ name: "image" data_type: TYPE_UINT8 dims: [ {dims("image")} ] }} ]',
        "output [",
        ",\n".join(
            f'  {{ name: "{name}" data_type: {TYPES[name]} dims: [ {dims(name)} ] label_filename: "labels.txt" }}'
            for name in spec.outputs
        ),
        "]",
    ]
    if served.fixed is None and served.most > 1:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {wait_us} }}")
    facts = {"label_space": spec.label_space, "precision": spec.precision, "made_by": spec.made_by}
    lines += [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}' for key, value in facts.items()
    ]
    return "\n".join(lines) + "\n"


# Gst-nvinfer's numbers for precisions. Q/DQ nodes carry their own ranges, so int8 needs no calibration file.
NETWORK_MODES = {"fp32": 0, "int8": 1, "fp16": 2}


def nvinfer_config(spec: ModelSpec, most: int) -> str:
    mode = NETWORK_MODES[spec.precision]
    values = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "onnx-file": "model.onnx",
        # Gst-nvinfer's name for the plan it builds, so that it finds it next time
        "model-engine-file": f"model.onnx_b{most}_gpu0_{spec.precision}.engine",
        "labelfile-path": "labels.txt",
        "batch-size": most,
        "infer-dims": f"3;{spec.input_size};{spec.input_size}",
        "network-mode": mode,
        "network-type": 2,
        "num-detected-classes": len(spec.class_names),
        "output-blob-names": "planes",
        "segmentation-output-order": 0,
        "segmentation-threshold": 0.5,
        "model-color-format": 1,
        "net-scale-factor": 1.0,
        "maintain-aspect-ratio": 1,
        "symmetric-padding": 1,
        "process-mode": 1,
    }
    words = f"# {spec.name} of edge-segface: {spec.label_space}, {spec.precision}, {spec.input_size} px\n"
    return words + "[property]\n" + "".join(f"{key}={value}\n" for key, value in values.items())

"""OpenVINO, for x86 computers: bf16 where the CPU supports it, and int8 through Q/DQ nodes."""

from __future__ import annotations

import json
import tempfile
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edge_segface.engine.base import check_has_labels, check_images, check_model_file, check_tensors, check_threads
from edge_segface.engine.openvino.cache import CompiledCache
from edge_segface.engine.openvino.layout import optimise_for_openvino
from edge_segface.errors import EngineError, MissingExtra, ModelError, first_line
from edge_segface.files import cache_folder, write_bytes
from edge_segface.frames import UInt8Array
from edge_segface.installation import install_command
from edge_segface.seal import check_is_sealed, check_seal, sealed_xml
from edge_segface.spec import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    import openvino as ov

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Hint = Literal["latency", "throughput"]

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
SPEC_PATH = ["edge_segface", "spec"]  # in the rt_info of an .xml file


class OpenVinoEngine:
    """One network compiled for single images, which OpenVINO runs faster than batches. Threads may share it.

    `precision`: of layers outside int8; `auto` leaves it to OpenVINO, which picks bf16 where the CPU supports it.
    `hint`: `latency` gives all cores to one image, `throughput` runs several images of a batch side by side. `cache`: a
    folder of compiled models, by default in that of all caches.
    """

    gpu_ms: list[tuple[float, float, float]] | None = None  # not measured

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        precision: Precision = "auto",
        hint: Hint = "latency",
        device: str = "CPU",
        cache: Path | None = None,
    ) -> None:
        core = open_core()
        import openvino as ov

        check_model_file(path)
        check_device(core, device)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper()}
        if check_threads(threads):
            settings["INFERENCE_NUM_THREADS"] = threads
        if precision != "auto":
            settings["INFERENCE_PRECISION_HINT"] = HINTS[precision]
        try:
            compiled, self.spec = compiled_model(core, path, device, settings, cache or cache_folder() / "openvino")
            used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot compile {path} for {device}",
                found=first_line(error),
                remedy=f"available: {', '.join(core.available_devices)}",
            ) from error
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._queue = ov.AsyncInferQueue(compiled, 0) if hint == "throughput" else None
        self._lock = threading.Lock()  # a request serves one caller at a time, and so does a queue
        self.description = (
            f"OpenVINO {ov.__version__.split('-')[0]}, {device}, {used}, {threads or 'all'} threads, {hint}"
        )

    def infer(self, images: UInt8Array) -> UInt8Array:
        check_has_labels(self.spec)
        return self.infer_all(images)["labels"]

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        if self._request is None:
            raise ModelError(f"the engine of {self.spec.name} is closed", remedy="open it again")
        images = check_images(images, self.spec)
        with self._lock:
            queue = self._queue
            found = infer_sequential(self._request, images) if queue is None else side_by_side(queue, images)
        outputs = zip(*found, strict=True)
        return {
            name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            for name, arrays in zip(self.spec.outputs, outputs, strict=True)
        }

    def close(self) -> None:
        self._request = self._queue = None

    def __enter__(self) -> OpenVinoEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_device(core: ov.Core, device: str) -> None:
    """Raise if a kind of device is not there; its driver may be missing."""
    available = core.available_devices
    if device in ("CPU", "GPU", "NPU") and not any(name.split(".")[0] == device for name in available):
        raise EngineError(
            f"OpenVINO finds no {device} here",
            found=", ".join(available),
            remedy="install the driver of the device, or leave --device out",
        )


def compiled_model(
    core: ov.Core, path: Path, device: str, settings: dict[str, Any], cache: Path
) -> tuple[ov.CompiledModel, ModelSpec]:
    """Return a model compiled for single images and its specification, from the cache if it has been compiled."""
    import openvino as ov

    name = core.get_property(device, "FULL_DEVICE_NAME")
    able = ", ".join(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
    entry = CompiledCache(cache, parts_of(path), ov.__version__, device, name, able, json.dumps(settings))
    if (found := entry.load()) is not None:
        spec, content = found
        check_is_sealed(path, is_sealed=spec.sealed, expected=spec.sealed)  # the entry is of a file with a right seal
        try:
            return core.import_model(content, device, settings), spec
        except RuntimeError:
            entry.discard()
    model, spec = prepared_model(core, path, device, settings.get("INFERENCE_PRECISION_HINT"))
    compiled = core.compile_model(model, device, settings)
    entry.save(spec, compiled.export_model().getvalue())
    return compiled, spec


def prepared_model(core: ov.Core, path: Path, device: str, precision: str | None = None) -> tuple[ov.Model, ModelSpec]:
    """Return a model for single images in the layout that OpenVINO runs fastest, and its specification."""
    model, spec = read_model(core, path)
    model.reshape({0: [1, spec.input_size, spec.input_size, 3]})
    usual = core.get_property(device, "INFERENCE_PRECISION_HINT").to_string()
    wide = device == "CPU" and (precision or usual) in ("f32", "bf16")
    return optimise_for_openvino(model, wide=wide), spec


def infer_sequential(request: ov.InferRequest, images: UInt8Array) -> list[list[npt.NDArray[Any]]]:
    found = []
    for index in range(len(images)):
        request.infer({0: images[index : index + 1]}, share_inputs=True)
        found.append(copy_results(request))
    return found


def side_by_side(queue: ov.AsyncInferQueue, images: UInt8Array) -> list[list[npt.NDArray[Any]]]:
    found: list[list[npt.NDArray[Any]]] = [[]] * len(images)

    def keep(request: ov.InferRequest, index: int) -> None:
        found[index] = copy_results(request)

    queue.set_callback(keep)
    for index in range(len(images)):
        queue.start_async({0: images[index : index + 1]}, index, share_inputs=True)
    queue.wait_all()
    return found


def copy_results(request: ov.InferRequest) -> list[npt.NDArray[Any]]:
    """Copy the results: the next image overwrites the request's memory."""
    return [tensor.data.copy() for tensor in request.output_tensors]


def parts_of(path: Path) -> list[Path]:
    """Return the files that make up a model."""
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix.lower() == ".xml" and weights.exists() else [path]


def read_model(core: ov.Core, path: Path) -> tuple[ov.Model, ModelSpec]:
    """Read one of our .onnx files, or an .xml made from one, with its specification."""
    from edge_segface.engine.onnxruntime import spec_of  # which imports ONNX Runtime

    check_model_file(path)
    is_xml = path.suffix.lower() == ".xml"
    is_sealed = check_seal(path)
    spec = None if is_xml else spec_of(path)  # read by ONNX Runtime, which also reports what is wrong with the file
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(
            f"{path} cannot be read by OpenVINO; it may be truncated or not a model",
            found=first_line(error),
            remedy="copy or build it again",
        ) from error
    if spec is None:
        there = model.has_rt_info(SPEC_PATH)
        spec = ModelSpec.from_metadata({METADATA_KEY: model.get_rt_info(SPEC_PATH).astype(str)} if there else {}, path)
        check_is_sealed(path, is_sealed=is_sealed, expected=spec.sealed)
    tensors = [
        (port.get_any_name(), port.get_element_type().to_dtype().name, [_side(side) for side in port.partial_shape][1:])
        for port in (*model.inputs, *model.outputs)
    ]
    check_tensors(tensors, spec, path)
    return model, spec


def save_xml(model: Path, out: Path) -> None:
    """Convert an .onnx file to OpenVINO's two files, which load faster; `out` is written only once its weights are in
    place.
    """
    core = open_core()
    content, spec = read_model(core, model)
    content.set_rt_info(replace(spec, sealed=True).metadata()[METADATA_KEY], SPEC_PATH)
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.xml"
        ov.save_model(content, made, compress_to_fp16=False)
        weights = made.with_suffix(".bin").read_bytes()
        write_bytes(weights, out.with_suffix(".bin"))
        write_bytes(sealed_xml(made.read_bytes(), weights), out)


def open_core() -> ov.Core:
    try:
        import openvino as ov

        return ov.Core()
    except (ImportError, OSError, RuntimeError) as error:
        if find_spec("openvino") is None:
            raise MissingExtra("openvino", "openvino", "the OpenVINO engine") from error
        remedy = f"run: {install_command('openvino')} --force-reinstall"
        raise EngineError(
            "OpenVINO is installed but cannot be loaded", found=first_line(error), remedy=remedy
        ) from error


def _side(dimension: ov.Dimension) -> int:
    return dimension.get_length() if dimension.is_static else -1

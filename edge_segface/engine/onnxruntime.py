"""ONNX Runtime, the engine that runs everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from edge_segface.engine.base import check_has_labels, check_images, check_model_file, check_tensors, check_threads
from edge_segface.errors import ModelError, first_line
from edge_segface.frames import UInt8Array
from edge_segface.seal import check_is_sealed, check_seal
from edge_segface.spec import ModelSpec

TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}


class OnnxRuntimeEngine:
    """One session, which threads may share.

    `threads`: cores per inference, default all. `provider`: one of `PROVIDERS`; one that is not available is an error,
    never a silent fallback to the CPU. `spin`: whether idle threads busy-wait, which shortens latency in a loop but
    takes cores from everything else.
    """

    gpu_ms: list[tuple[float, float, float]] | None = None  # not measured

    def __init__(self, path: Path, *, threads: int | None = None, provider: str = "cpu", spin: bool = True) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = check_threads(threads)
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        wanted = _provider(provider)
        session, self.spec = open_model(path, options, [wanted])
        if (used := session.get_providers()[0]) != wanted:
            raise ModelError(
                f"ONNX Runtime {ort.__version__} could not start its {provider} provider",
                found=f"{used} instead",
                remedy="install the libraries it needs, or use provider cpu",
            )
        self._session: ort.InferenceSession | None = session
        items = (*session.get_inputs(), *session.get_outputs())
        check_tensors([(item.name, TYPES.get(item.type, item.type), item.shape[1:]) for item in items], self.spec, path)
        self.description = f"ONNX Runtime {ort.__version__}, {provider}, {threads or 'all'} threads"

    def infer(self, images: UInt8Array) -> UInt8Array:
        check_has_labels(self.spec)
        labels: UInt8Array = self._run(["labels"], images)[0]
        return labels

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        return dict(zip(self.spec.outputs, self._run(list(self.spec.outputs), images), strict=True))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, outputs: list[str], images: UInt8Array) -> list[npt.NDArray[Any]]:
        if self._session is None:
            raise ModelError(f"the engine of {self.spec.name} is closed", remedy="open it again")
        feed = {"image": check_images(images, self.spec)}
        try:
            return list(self._session.run(outputs, feed))
        except Exception as error:  # see open_session
            raise ModelError(
                f"ONNX Runtime could not run {self.spec.name} on {len(images)} images",
                found=first_line(error),
                remedy="try a smaller batch",
            ) from error


def spec_of(path: Path) -> ModelSpec:
    """Return the specification inside an ONNX file without preparing it for inference."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_model(path, options)[1]


def open_model(
    path: Path, options: ort.SessionOptions, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> tuple[ort.InferenceSession, ModelSpec]:
    """Open a file whose checksum is right, and read its specification."""
    check_model_file(path)
    is_sealed = check_seal(path)
    session = open_session(path, options, providers)
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map, path)
    check_is_sealed(path, is_sealed=is_sealed, expected=spec.sealed)
    return session, spec


def installed() -> list[str]:
    """Return the installed distributions of ONNX Runtime. There must be only one: they overwrite each other's files."""
    found = []
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def open_session(
    path: Path, options: ort.SessionOptions | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> ort.InferenceSession:
    """Open a session, or raise one of our errors that says what is wrong with the file."""
    check_model_file(path)
    options = options or ort.SessionOptions()
    options.log_severity_level = 3  # errors only: they are raised as exceptions
    try:
        return ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's exceptions share no narrower base class
        raise ModelError(
            f"{path} cannot be loaded by ONNX Runtime; it may be truncated or not an ONNX file",
            found=first_line(error),
            remedy="copy or export it again",
        ) from error


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        raise ModelError(f"unknown provider {name!r}", remedy=f"choose one of {', '.join(PROVIDERS)}")
    there = ort.get_available_providers()
    if PROVIDERS[name] not in there:
        raise ModelError(
            f"this ONNX Runtime {ort.__version__} has no {name} provider",
            found=", ".join(there),
            remedy="install the onnxruntime build that has it instead, or use provider cpu",
        )
    return PROVIDERS[name]

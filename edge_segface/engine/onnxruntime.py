"""ONNX Runtime, the engine that runs everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import onnxruntime as ort

from edge_segface.engine.base import FloatArray, UInt8Array, check_images, check_outputs
from edge_segface.errors import ModelError, first_line
from edge_segface.spec import ModelSpec

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

ort.set_default_logger_severity(3)  # errors; warnings about folded constants are no user's business


class OnnxRuntimeEngine:
    """One session. It may be shared by threads.

    `threads`: cores for one inference, all of them if None. `provider`: one of `PROVIDERS`; what cannot be had is an
    error, never a silent change to the CPU. `spin`: whether idle threads wait busily, which shortens latency in a loop
    and takes the cores from whatever else runs.
    """

    def __init__(self, path: Path, *, threads: int | None = None, provider: str = "cpu", spin: bool = True) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = _thread_count(threads)
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        self._session = open_session(path, options, [_provider(provider)])
        self.spec = ModelSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map, path)
        self._check_against_spec(path)
        used = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.description = f"ONNX Runtime {ort.__version__}, {used}, {threads or 'all'} threads"

    def infer(self, images: UInt8Array) -> UInt8Array:
        check_outputs(self.spec, "labels")
        labels: UInt8Array = self._session.run(["labels"], {"image": check_images(images, self.spec)})[0]
        return labels

    def infer_with_logits(self, images: UInt8Array) -> tuple[UInt8Array, FloatArray]:
        check_outputs(self.spec, "labels", "logits")
        labels, logits = self._session.run(["labels", "logits"], {"image": check_images(images, self.spec)})
        return labels, logits

    def close(self) -> None:
        self.__dict__.pop("_session", None)

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_against_spec(self, path: Path) -> None:
        side = self.spec.input_size
        inputs = [(item.name, item.type, item.shape[1:]) for item in self._session.get_inputs()]
        outputs = tuple(item.name for item in self._session.get_outputs())
        if inputs != [("image", "tensor(uint8)", [side, side, 3])] or outputs != self.spec.outputs:
            raise ModelError(
                f"{path} is not the graph that its ModelSpec describes",
                found=f"inputs {inputs}, outputs {outputs}",
                remedy="export it again",
            )


def open_session(
    path: Path, options: ort.SessionOptions | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> ort.InferenceSession:
    """A session, or one of our errors that says what is wrong with the file."""
    check_model_file(path)
    try:
        return ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this
        raise ModelError(
            f"{path} cannot be loaded by ONNX Runtime, perhaps cut short or not an ONNX file",
            found=first_line(error),
            remedy="copy or export it again",
        ) from error


def check_model_file(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path} is not a model", found="a folder", remedy="name the file in it")
    if not path.exists():
        raise ModelError(f"{path} does not exist", remedy="check the path, or name a bundled model such as edge-256")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", found="0 bytes", remedy="copy or export it again")


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        raise ModelError(f"no provider is called {name!r}", remedy=f"choose one of {', '.join(PROVIDERS)}")
    there = ort.get_available_providers()
    if PROVIDERS[name] not in there:
        raise ModelError(
            f"this ONNX Runtime {ort.__version__} has no {name} provider",
            found=", ".join(there),
            remedy="install the onnxruntime build for it in place of this one, or use provider cpu",
        )
    return PROVIDERS[name]


def _thread_count(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise ModelError("an engine needs at least one thread", found=threads)
    return threads or 0

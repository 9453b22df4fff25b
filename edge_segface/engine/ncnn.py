"""ncnn, for small ARM boards and phones: a .param with the graph, and a .bin with the weights beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.engine.base import check_has_labels, check_images, check_model_file, check_threads
from edge_segface.engine.planes import FloatPlanes, labels_of, low_resolution
from edge_segface.errors import ModelError
from edge_segface.extras import check_extra
from edge_segface.files import sha256_of
from edge_segface.frames import UInt8Array
from edge_segface.machine import cpu_cores
from edge_segface.spec import TargetRecord

SUFFIX = ".ncnn.param"
INPUT, OUTPUT = "in0", "out0"  # as pnnx names them


def load_ncnn() -> Any:
    """Return the package, which is optional."""
    check_extra("ncnn", "the ncnn engine", "ncnn")
    import ncnn

    return ncnn


def bin_of(param: Path) -> Path:
    return param.with_suffix(".bin")


class NcnnNetwork:
    """The network alone: one crop to its logits. Threads may share it."""

    def __init__(self, param: Path, threads: int = 0) -> None:
        self._ncnn = ncnn = load_ncnn()
        net = ncnn.Net()
        net.opt.num_threads = threads or cpu_cores()
        if net.load_param(str(param)) or net.load_model(str(bin_of(param))):
            raise ModelError(f"ncnn {ncnn.__version__} cannot load {param}", remedy="export it again")
        self._net: Any = net

    def logits(self, image_bgr: UInt8Array) -> FloatPlanes:
        """Return the logits (n, g, g) of a crop (s, s, 3)."""
        height, width = image_bgr.shape[:2]
        mat = self._ncnn.Mat
        pixels = mat.from_pixels(image_bgr, mat.PixelType.PIXEL_BGR2RGB, width, height)
        with self._net.create_extractor() as extractor:
            extractor.input(INPUT, pixels)
            code, logits = extractor.extract(OUTPUT)
            if code:
                raise ModelError("ncnn could not run the network", found=f"code {code}")
            planes = np.array(logits, dtype=np.float32)  # in some networks with a leading axis of one
            return planes.reshape(-1, *planes.shape[-2:])

    def close(self) -> None:
        self._net.clear()


class NcnnEngine:
    """An exported ncnn model. `threads`: cores per inference, default all."""

    gpu_ms: list[tuple[float, float, float]] | None = None  # not measured

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        for file in (path, bin_of(path)):
            check_model_file(file)
        record = TargetRecord.load(path)
        found = {file.name: sha256_of(file) for file in (path, bin_of(path))}
        if changed := [name for name, digest in found.items() if record.files.get(name) != digest]:
            raise ModelError(
                f"{path} is damaged or was changed",
                found=f"{changed[0]} does not match its checksum",
                remedy="copy or export it again",
            )
        self.spec = record.model
        self._network: NcnnNetwork | None = NcnnNetwork(path, check_threads(threads))
        self.description = f"ncnn {load_ncnn().__version__}, CPU, {self.spec.precision}, {threads or 'all'} threads"

    def infer(self, images: UInt8Array) -> UInt8Array:
        check_has_labels(self.spec)
        side = self.spec.input_size
        return np.stack([labels_of(logits, side) for logits in self._logits(images)])

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        side = self.spec.input_size
        logits = self._logits(images)
        compute: dict[str, Callable[[FloatPlanes, int], npt.NDArray[Any]]] = {
            "labels": labels_of,
            "logits": low_resolution,
        }
        return {name: np.stack([compute[name](one, side) for one in logits]) for name in self.spec.outputs}

    def close(self) -> None:
        if self._network is not None:
            self._network.close()
            self._network = None

    def __enter__(self) -> NcnnEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _logits(self, images: UInt8Array) -> list[FloatPlanes]:
        if self._network is None:
            raise ModelError(f"the engine of {self.spec.name} is closed", remedy="open it again")
        return [self._network.logits(image) for image in check_images(images, self.spec)]

"""Running plans of TensorRT and TensorRT-RTX on the machine they were built for."""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from edge_segface.engine.base import check_has_labels, check_images, check_model_file
from edge_segface.engine.tensorrt.common import MODULES, TITLES, NvidiaRuntime, load_tensorrt, new_log, this_system
from edge_segface.engine.tensorrt.cuda import Cuda, Device, HostBuffer, open_cuda
from edge_segface.errors import EngineError, ModelError, OutputError
from edge_segface.files import write_bytes
from edge_segface.frames import UInt8Array
from edge_segface.spec import EngineRecord

Memory = Literal["auto", "copy", "mapped"]

SLOTS = 2  # one batch uploads while the previous one computes
DTYPES = {"FLOAT": "f4", "HALF": "f2", "UINT8": "u1", "INT8": "i1", "INT32": "i4", "INT64": "i8"}


@dataclass(eq=False)
class Buffer:
    """One tensor of one slot: the host's array, and the address that TensorRT gets."""

    host: HostBuffer
    address: int
    array: npt.NDArray[Any]
    copied: bool


@dataclass(eq=False)
class Slot:
    context: Any
    buffers: dict[str, Buffer]
    events: tuple[Any, Any, Any, Any]  # events: start, uploaded, computed, downloaded
    graphs: dict[int, Callable[[], None] | None] = field(default_factory=dict)  # by batch
    count: int = 0


class TensorRtEngine:
    """A plan with its record. Threads may share it, one at a time.

    `memory`: `mapped` lets the GPU access host memory, `copy` copies; `auto` maps where both are the same memory
    (Jetson boards). `graphs`: enqueue copies and kernels as one CUDA graph, with cuda-python.
    """

    def __init__(self, path: Path, *, memory: Memory = "auto", graphs: bool = True) -> None:
        data, record = read_engine(path)
        self.spec = record.model
        runtime = cast("NvidiaRuntime", record.engine.runtime)
        trt = load_tensorrt(runtime)
        check_machine(record, path, runtime_version=trt.__version__, system=this_system())
        self._cuda: Cuda = open_cuda()
        try:
            device = self._cuda.device
            check_device(record, path, device)
            self._log = new_log(trt)
            self._runtime = trt.Runtime(self._log)
            engine = self._runtime.deserialize_cuda_engine(data)
            if engine is None:
                raise EngineError(
                    f"{TITLES[runtime]} cannot load {path}", found=self._log.said(), remedy=rebuild(record)
                )
            self._engine = engine
            self._own_graphs = graphs and self._cuda.has_graphs and runtime == "tensorrt"
            self._cache = JitCache(trt, engine, path) if runtime == "tensorrt-rtx" else None
            self._most = record.engine.batch[2]
            self._fixed = record.engine.batch[0] == self._most
            mapped = memory == "mapped" or (memory == "auto" and device.shares_memory)
            self._stream = self._cuda.stream()
            self._slots = [self._new_slot(mapped=mapped) for _ in range(SLOTS)]
        except BaseException:
            self._cuda.close()
            raise
        self._lock = threading.Lock()
        self.gpu_ms: list[tuple[float, float, float]] = []  # of the last call, per batch: upload, compute, download
        how = "mapped memory" if mapped else "copies"
        graph = "CUDA graph" if self._own_graphs or (graphs and runtime == "tensorrt-rtx") else "no graph"
        self.description = f"{TITLES[runtime]} {trt.__version__}, {device.name}, {how}, {graph}, {self._cuda.package}"

    def infer(self, images: UInt8Array) -> UInt8Array:
        check_has_labels(self.spec)
        return self.infer_all(images)["labels"]

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        if not self._slots:
            raise ModelError(f"the engine of {self.spec.name} is closed", remedy="open it again")
        images = check_images(images, self.spec)
        with self._lock:
            self.gpu_ms = []
            found = list(
                self._pipelined(images[start : start + self._most] for start in range(0, len(images), self._most))
            )
        return {name: np.concatenate([batch[name] for batch in found]) for name in self.spec.outputs}

    def close(self) -> None:
        if self._slots:
            self._slots = []
            if self._cache is not None:
                self._cache.save()
            self._cuda.close()

    def __enter__(self) -> TensorRtEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pipelined(self, batches: Iterator[UInt8Array]) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Start each batch before waiting for the previous one."""
        running: Slot | None = None
        for index, batch in enumerate(batches):
            slot = self._slots[index % SLOTS]
            self._start(slot, batch)
            if running is not None:
                yield self._finish(running)
            running = slot
        if running is not None:
            yield self._finish(running)

    def _start(self, slot: Slot, batch: UInt8Array) -> None:
        slot.count = len(batch)
        count = self._most if self._fixed else len(batch)
        slot.buffers["image"].array[: len(batch)] = batch
        if not self._fixed:
            slot.context.set_input_shape("image", (count, *batch.shape[1:]))
        if count not in slot.graphs:
            self._enqueue(slot, count)  # the first run prepares what a graph cannot contain
            self._mark(slot, 3)
            self._cuda.wait(slot.events[3])
            work = partial(self._enqueue, slot, count)
            slot.graphs[count] = self._cuda.capture_graph(work, self._stream) if self._own_graphs else None
        self._mark(slot, 0)
        if (launch := slot.graphs[count]) is not None:
            launch()
        else:
            self._enqueue(slot, count, partial(self._mark, slot))
        self._mark(slot, 3)

    def _enqueue(self, slot: Slot, count: int, mark: Callable[[int], None] | None = None) -> None:
        image = slot.buffers["image"]
        if image.copied:
            self._cuda.to_device(image.address, image.host, image.array[:count].nbytes, self._stream)
        if mark is not None:
            mark(1)
        if not slot.context.execute_async_v3(self._stream):
            raise EngineError(f"{self.spec.name} could not run", found=self._log.said())
        if mark is not None:
            mark(2)
        for name in self.spec.outputs:
            result = slot.buffers[name]
            if result.copied:
                self._cuda.to_host(result.host, result.address, result.array[:count].nbytes, self._stream)

    def _mark(self, slot: Slot, index: int) -> None:
        self._cuda.record(slot.events[index], self._stream)

    def _finish(self, slot: Slot) -> dict[str, npt.NDArray[Any]]:
        self._cuda.wait(slot.events[3])
        if slot.graphs[self._most if self._fixed else slot.count] is None:
            times = [self._cuda.elapsed_ms(*slot.events[at : at + 2]) for at in range(3)]
            self.gpu_ms.append((times[0], times[1], times[2]))
        else:  # events inside a graph have no times, so everything counts as compute
            self.gpu_ms.append((0.0, self._cuda.elapsed_ms(slot.events[0], slot.events[3]), 0.0))
        return {name: slot.buffers[name].array[: slot.count].copy() for name in self.spec.outputs}

    def _new_slot(self, *, mapped: bool) -> Slot:
        context = self._cache.new_context() if self._cache is not None else self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"{self.spec.name} could not be prepared", found=self._log.said())
        buffers = {}
        if not self._fixed:
            side = self.spec.input_size
            context.set_input_shape("image", (self._most, side, side, 3))
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple(context.get_tensor_shape(name))
            dtype = np.dtype(DTYPES[self._engine.get_tensor_dtype(name).name])
            size = int(np.prod(shape)) * dtype.itemsize
            host = self._cuda.alloc_pinned(size, mapped=mapped)
            address = host.device_address if host.device_address is not None else self._cuda.malloc(size)
            context.set_tensor_address(name, address)
            buffers[name] = Buffer(host, address, host.array.view(dtype).reshape(shape), not mapped)
        events = tuple(self._cuda.event() for _ in range(4))
        return Slot(context, buffers, cast("tuple[Any, Any, Any, Any]", events))


class JitCache:
    """What TensorRT-RTX compiled for this GPU when the plan first ran, cached beside the plan."""

    def __init__(self, trt: Any, engine: Any, path: Path) -> None:
        self._engine = engine
        self._path = path.with_name(path.name + ".jit")
        self._config = engine.create_runtime_config()
        self._cache = self._config.create_runtime_cache()
        if self._path.exists():
            self._cache.deserialize(self._path.read_bytes())  # False if it is from another GPU: it is compiled again
        self._config.set_runtime_cache(self._cache)
        self._config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE

    def new_context(self) -> Any:
        return self._engine.create_execution_context(self._config)

    def save(self) -> None:
        with suppress(OutputError):  # a read-only folder; it is compiled again next time
            write_bytes(bytes(self._cache.serialize()), self._path)


def read_engine(path: Path) -> tuple[bytes, EngineRecord]:
    """Read a plan and its record, which must belong together."""
    check_model_file(path)
    record = EngineRecord.load(path)
    if record.engine.runtime not in MODULES:
        raise ModelError(f"{path} is for an unknown runtime", found=record.engine.runtime)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record.engine_sha256:
        raise ModelError(
            f"{path} is not the engine that its record describes; one of them was truncated or replaced",
            found=f"{len(data)} bytes",
            remedy=rebuild(record),
        )
    return data, record


def check_machine(record: EngineRecord, path: Path, **machine: str | None) -> None:
    """Raise unless version, system and GPU are those the engine was built with; `machine` states those found here."""
    if different := record.mismatches(**machine):
        words = ", ".join(f"{name} {recorded}, here {here}" for name, (recorded, here) in different.items())
        raise EngineError(f"{path} was built for another machine", found=words, remedy=rebuild(record))


def check_device(record: EngineRecord, path: Path, device: Device) -> None:
    capability = f"{device.compute_capability[0]}.{device.compute_capability[1]}"
    if record.engine.runtime == "tensorrt":
        check_machine(record, path, device=device.name, compute_capability=capability)
    elif record.targets and f"sm{capability.replace('.', '')}" not in record.targets:
        found = f"{device.name}, sm{capability.replace('.', '')}"
        raise EngineError(f"{path} was built for {', '.join(record.targets)}", found=found, remedy=rebuild(record))


def rebuild(record: EngineRecord) -> str:
    """Return how to rebuild an engine. A command that a shell would read as more than one of ours is not repeated."""
    try:
        words = shlex.split(record.command)
    except ValueError:
        words = []
    if words[:2] == ["edge-segface", "build-engine"] and shlex.join(words) == record.command:
        return f"run: {record.command}"
    return "rebuild it with edge-segface build-engine"

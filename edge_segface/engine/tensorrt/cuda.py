"""The few CUDA calls that the runner needs, through cuda-python or pycuda.

Addresses, streams, events and graphs are plain integers or opaque objects of that package. Per frame only copies,
event records and graph launches are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_segface.errors import EngineError, first_line

HOST_MAPPED = 2  # cudaHostAllocMapped
NON_BLOCKING = 1  # cudaStreamNonBlocking
THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
COHERENT = (7, 2)  # from compute capability 7.2 on, integrated GPUs are coherent with the CPU's caches


@dataclass(frozen=True)
class Device:
    name: str
    compute_capability: tuple[int, int]
    integrated: bool

    @property
    def shares_memory(self) -> bool:
        """Whether both sides can use pinned memory without copies (Xavier and later)."""
        return self.integrated and self.compute_capability >= COHERENT


@dataclass(frozen=True, eq=False)
class HostBuffer:
    """Page-locked memory: an array for the host and, if it is mapped, an address for the device."""

    array: npt.NDArray[np.uint8]
    address: int
    device_address: int | None


class Cuda(Protocol):
    """One device. `close` frees everything that was allocated."""

    package: str
    device: Device
    has_graphs: bool

    def stream(self) -> int: ...
    def alloc_pinned(self, size: int, *, mapped: bool) -> HostBuffer: ...
    def malloc(self, size: int) -> int: ...
    def to_device(self, address: int, source: HostBuffer, size: int, stream: int) -> None: ...
    def to_host(self, target: HostBuffer, address: int, size: int, stream: int) -> None: ...
    def event(self) -> Any: ...
    def record(self, event: Any, stream: int) -> None: ...
    def wait(self, event: Any) -> None: ...
    def elapsed_ms(self, start: Any, end: Any) -> float: ...
    def capture_graph(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None: ...
    def close(self) -> None: ...


def open_cuda() -> Cuda:
    """Open the first CUDA device, through cuda-python if installed, else pycuda."""
    try:
        return CudaPython()
    except ImportError as first:
        try:
            return PyCuda()
        except ImportError:
            raise EngineError(
                "running an engine needs cuda-python or pycuda; neither is installed",
                found=first_line(first),
                remedy="run: pip install cuda-python (on JetPack 6 'cuda-python<13'), or pip install pycuda",
            ) from first


class CudaPython:
    """NVIDIA's bindings of the runtime API, whose calls return a tuple that begins with an error."""

    package = "cuda-python"
    has_graphs = True

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:  # before 12.8
            from cuda import cudart as runtime
        self._runtime = runtime
        self._undo: list[Callable[[], object]] = []
        self._call("cudaSetDevice", 0)
        major, minor, integrated = (
            self._call("cudaDeviceGetAttribute", getattr(runtime.cudaDeviceAttr, f"cudaDevAttr{name}"), 0)
            for name in ("ComputeCapabilityMajor", "ComputeCapabilityMinor", "Integrated")
        )
        name = self._call("cudaGetDeviceProperties", 0).name.decode().rstrip("\0")
        self.device = Device(name, (major, minor), bool(integrated))

    def stream(self) -> int:
        stream = self._call("cudaStreamCreateWithFlags", NON_BLOCKING)
        self._undo.append(lambda: self._call("cudaStreamDestroy", stream))
        return int(stream)

    def alloc_pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        import ctypes

        address = int(self._call("cudaHostAlloc", size, HOST_MAPPED if mapped else 0))
        self._undo.append(lambda: self._call("cudaFreeHost", address))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        device_address = int(self._call("cudaHostGetDevicePointer", address, 0)) if mapped else None
        return HostBuffer(array, address, device_address)

    def malloc(self, size: int) -> int:
        address = int(self._call("cudaMalloc", size))
        self._undo.append(lambda: self._call("cudaFree", address))
        return address

    def to_device(self, address: int, source: HostBuffer, size: int, stream: int) -> None:
        self._call("cudaMemcpyAsync", address, source.address, size, self._runtime.cudaMemcpyKind(TO_DEVICE), stream)

    def to_host(self, target: HostBuffer, address: int, size: int, stream: int) -> None:
        self._call("cudaMemcpyAsync", target.address, address, size, self._runtime.cudaMemcpyKind(TO_HOST), stream)

    def event(self) -> Any:
        event = self._call("cudaEventCreate")
        self._undo.append(lambda: self._call("cudaEventDestroy", event))
        return event

    def record(self, event: Any, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def wait(self, event: Any) -> None:
        self._call("cudaEventSynchronize", event)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        return float(self._call("cudaEventElapsedTime", start, end))

    def capture_graph(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None:
        """Return what `work` enqueues as one graph, or None if it cannot be captured."""
        self._call("cudaStreamBeginCapture", stream, self._runtime.cudaStreamCaptureMode(THREAD_LOCAL))
        try:
            work()
        except EngineError:
            self._runtime.cudaStreamEndCapture(stream)
            self._runtime.cudaGetLastError()  # clears it
            return None
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            launchable = self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)
        self._undo.append(lambda: self._call("cudaGraphExecDestroy", launchable))
        return lambda: self._call("cudaGraphLaunch", launchable, stream)

    def close(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *values = getattr(self._runtime, name)(*arguments)
        if int(code):
            _, words = self._runtime.cudaGetErrorString(code)
            raise EngineError(
                f"CUDA failed in {name}", found=f"{code.name}: {words.decode()}", remedy=_remedy(code.name)
            )
        return values[0] if values else None


class PyCuda:
    """pycuda, which pip builds against a board's own toolkit. It has no graphs."""

    package = "pycuda"
    has_graphs = False

    def __init__(self) -> None:
        import pycuda.driver as driver

        self._driver = driver
        try:
            driver.init()
            handle = driver.Device(0)
            self._context = handle.retain_primary_context()
        except driver.Error as error:
            raise EngineError("CUDA cannot start", found=first_line(error), remedy=_remedy(str(error))) from error
        self._context.push()
        integrated = handle.get_attribute(driver.device_attribute.INTEGRATED)
        self.device = Device(handle.name(), handle.compute_capability(), bool(integrated))
        self._kept: list[Any] = []

    def stream(self) -> int:
        stream = self._driver.Stream(NON_BLOCKING)
        self._kept.append(stream)
        return int(stream.handle)

    def alloc_pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        flags = self._driver.host_alloc_flags.DEVICEMAP if mapped else 0
        array = self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        self._kept.append(array)
        device_address = int(array.base.get_device_pointer()) if mapped else None
        return HostBuffer(array, array.ctypes.data, device_address)

    def malloc(self, size: int) -> int:
        memory = self._driver.mem_alloc(size)
        self._kept.append(memory)
        return int(memory)

    def to_device(self, address: int, source: HostBuffer, size: int, stream: int) -> None:
        self._driver.memcpy_htod_async(address, source.array[:size], self._stream(stream))

    def to_host(self, target: HostBuffer, address: int, size: int, stream: int) -> None:
        self._driver.memcpy_dtoh_async(target.array[:size], address, self._stream(stream))

    def event(self) -> Any:
        return self._driver.Event()

    def record(self, event: Any, stream: int) -> None:
        event.record(self._stream(stream))

    def wait(self, event: Any) -> None:
        event.synchronize()

    def elapsed_ms(self, start: Any, end: Any) -> float:
        return float(start.time_till(end))

    def capture_graph(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        if self._kept:
            self._kept.clear()
            self._context.pop()

    def _stream(self, handle: int) -> Any:
        return next(kept for kept in self._kept if getattr(kept, "handle", None) == handle)


def _remedy(words: str) -> str:
    if "memory" in words.lower():
        return "free memory on the device, or use a smaller batch"
    if "driver" in words.lower() or "device" in words.lower():
        return "engines need an NVIDIA GPU and its driver; here use --runtime onnxruntime or openvino"
    return ""

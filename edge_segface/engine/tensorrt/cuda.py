"""The little that a runner needs of CUDA, by cuda-python or by pycuda, whichever is installed.

Addresses, streams, events and graphs are handled as plain integers or opaque objects of that package. Nothing here is
called per frame but copies, records and graph launches.
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
COHERENT = (7, 2)  # from here on integrated GPUs see what the processor has in its caches


@dataclass(frozen=True)
class Device:
    name: str
    compute_capability: tuple[int, int]
    integrated: bool

    @property
    def shares_memory(self) -> bool:
        """Whether pinned memory may be used by both sides as it is, without copies (Xavier and later)."""
        return self.integrated and self.compute_capability >= COHERENT


@dataclass(frozen=True, eq=False)
class HostBuffer:
    """Page-locked memory: an array for us, and for the device an address, if it is mapped."""

    array: npt.NDArray[np.uint8]
    address: int
    device_address: int | None


class Cuda(Protocol):
    """One device. Whatever is made is freed by `free`, all of it by `close`."""

    package: str
    device: Device
    has_graphs: bool

    def stream(self) -> int: ...
    def host(self, size: int, *, mapped: bool) -> HostBuffer: ...
    def memory(self, size: int) -> int: ...
    def to_device(self, address: int, source: HostBuffer, size: int, stream: int) -> None: ...
    def to_host(self, target: HostBuffer, address: int, size: int, stream: int) -> None: ...
    def event(self) -> Any: ...
    def record(self, event: Any, stream: int) -> None: ...
    def wait(self, event: Any) -> None: ...
    def elapsed_ms(self, start: Any, end: Any) -> float: ...
    def captured(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None: ...
    def close(self) -> None: ...


def open_cuda() -> Cuda:
    """The first CUDA device, by cuda-python if that is installed, else by pycuda."""
    try:
        return CudaPython()
    except ImportError as first:
        try:
            return PyCuda()
        except ImportError:
            raise EngineError(
                "running an engine needs cuda-python or pycuda, and neither is installed here",
                found=first_line(first),
                remedy="run: pip install cuda-python (on JetPack 6 'cuda-python<13'), or pip install pycuda",
            ) from first


class CudaPython:
    """By NVIDIA's bindings of the runtime API, whose calls return a tuple that begins with an error."""

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

    def host(self, size: int, *, mapped: bool) -> HostBuffer:
        import ctypes

        address = int(self._call("cudaHostAlloc", size, HOST_MAPPED if mapped else 0))
        self._undo.append(lambda: self._call("cudaFreeHost", address))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        device_address = int(self._call("cudaHostGetDevicePointer", address, 0)) if mapped else None
        return HostBuffer(array, address, device_address)

    def memory(self, size: int) -> int:
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

    def captured(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None:
        """What `work` enqueues, as one graph; None where that cannot be captured."""
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
    """By pycuda, which pip builds against a board's own toolkit. It has no graphs."""

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

    def host(self, size: int, *, mapped: bool) -> HostBuffer:
        flags = self._driver.host_alloc_flags.DEVICEMAP if mapped else 0
        array = self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        self._kept.append(array)
        device_address = int(array.base.get_device_pointer()) if mapped else None
        return HostBuffer(array, array.ctypes.data, device_address)

    def memory(self, size: int) -> int:
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

    def captured(self, work: Callable[[], None], stream: int) -> Callable[[], None] | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        if self._kept:
            self._kept.clear()
            self._context.pop()

    def _stream(self, handle: int) -> Any:
        return next(kept for kept in self._kept if getattr(kept, "handle", None) == handle)


def _remedy(words: str) -> str:
    if "memory" in words.lower():
        return "free memory on the device, or take a smaller batch"
    if "driver" in words.lower() or "device" in words.lower():
        return "engines run on a machine with an NVIDIA GPU and its driver; here take --runtime onnxruntime or openvino"
    return ""

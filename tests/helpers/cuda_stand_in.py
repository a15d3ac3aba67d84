"""A GPU for tests on a machine without one: CUDA's names in torch, which keep CUDA's contract.

Tensors stay on the CPU and kernels run at once, in the order of the calls. What a GPU does late, or
may do in another order, is kept track of:

- A copy to pinned memory has happened only once its stream or a later event was waited for; until
  then the memory holds nonsense. Pinned memory from which a copy is on its way must not be written.
- A graph repeats, at the same addresses and with the same Python numbers, what its thread computed
  on the capture stream. It records nothing if that stream is another device's.
- One recording at a time in the process. It fails if its thread looks at a value, and if any thread
  waits for the device. After a failure torch is left on the capture stream, and its allocator
  believes that the recording is still under way.
- Graphs that share memory, or the workspace of the stream on which they were recorded, must not run
  before the one before them and the copies of its outputs have ended, as far as streams tell.

Names of CUDA are `torch.cuda`'s; see there for what they do.
"""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._C import DisableTorchFunction
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sipmask_core.inference import cuda_graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

NONSENSE = 0xA5  # each byte of pinned memory on the way to which a copy is
POOL_BYTES = 1 << 20
EAGER_BYTES = 1 << 16
PAUSE = 0.0005  # seconds in which other threads go on


class StandIn:
    """A machine with so many GPUs."""

    def __init__(self, gpus: int) -> None:
        self.devices = [torch.device("cuda", index) for index in range(gpus)]
        self.here = threading.local()
        self.here.device = 0
        self.streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self.streams_made = 0
        self.defaults = [Stream(self, device) for device in self.devices]
        self.capturing: Graph | None = None
        self.is_ill = False
        self.busy: dict[int, int] = {}  # copies on their way from pinned storages, by address
        self.pinned: set[int] = set()
        self.graphs: weakref.WeakSet[Graph] = weakref.WeakSet()
        self.outputs: dict[int, Graph] = {}  # by address of storage
        self.pools = 0
        self.peak = EAGER_BYTES
        self.clones = 0

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Let the calling thread have this machine's GPUs."""
        self.here.device = 0
        self.here.stream = {}
        with _OnCpu(self):
            yield

    def run(self, *works: Callable[[], object]) -> None:
        """Do all the works, each in a thread of its own; raise what one raises."""
        run_in_threads(works, self.thread)

    def current(self) -> Stream:
        device = self.here.device
        return self.here.stream.get(device, self.defaults[device])

    def reserved(self) -> int:
        pools = {graph.pool_id for graph in self.graphs}
        self.peak = max(self.peak, EAGER_BYTES + POOL_BYTES * len(pools))
        return EAGER_BYTES + POOL_BYTES * len(pools)

    def synchronize(self, *_: object) -> None:
        if self.capturing is not None:
            self.capturing.is_broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        for stream in list(self.streams):
            stream.finish(stream.queued)

    def empty_cache(self) -> None:
        if self.is_ill or self.capturing is not None:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")


class Stream:
    """torch.cuda.Stream. clock: how far the work of each stream is done before its next work."""

    def __init__(self, cuda: StandIn, device: Any = None) -> None:
        self.cuda = cuda
        index = None if device is None else torch.device(device).index
        self.device = cuda.devices[cuda.here.device if index is None else index]
        self.pending: list[tuple[int, Callable[[], None]]] = []
        self.queued = 0
        self.clock: dict[Stream, int] = {}
        cuda.streams.add(self)
        cuda.streams_made += 1

    def enqueue(self, action: Callable[[], None] = lambda: None) -> int:
        self.queued += 1
        self.clock[self] = self.queued
        self.pending.append((self.queued, action))
        return self.queued

    def finish(self, until: int) -> None:
        while self.pending and self.pending[0][0] <= until:
            self.pending.pop(0)[1]()

    def synchronize(self) -> None:
        capturing = self.cuda.capturing
        if capturing is not None and capturing.stream is self:
            capturing.is_broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        self.finish(self.queued)

    def wait_event(self, event: Event) -> None:
        for stream, tick in event.clock.items():
            self.clock[stream] = max(tick, self.clock.get(stream, 0))

    def wait_stream(self, other: Stream) -> None:
        event = Event(self.cuda)
        event.record(other)
        self.wait_event(event)


class Event:
    """torch.cuda.Event."""

    def __init__(self, cuda: StandIn, enable_timing: bool = False) -> None:
        self.cuda = cuda
        self.clock: dict[Stream, int] = {}
        self.recorded: tuple[Stream, int] | None = None
        self.time = 0.0
        self.is_waited_for = False

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or self.cuda.current()
        if self.recorded is not None and self.recorded[0].device != stream.device:
            raise RuntimeError("Event device does not match recording stream's device.")
        self.recorded = stream, stream.enqueue()
        self.clock = dict(stream.clock)
        self.time = time.perf_counter()
        self.is_waited_for = False

    def synchronize(self) -> None:
        self.is_waited_for = True
        if self.recorded is not None:
            self.recorded[0].finish(self.recorded[1])

    def elapsed_time(self, other: Event) -> float:
        if not other.is_waited_for:
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return 1e3 * (other.time - self.time)


class Graph:
    """torch.cuda.CUDAGraph."""

    def __init__(self, cuda: StandIn) -> None:
        self.cuda = cuda
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.is_broken = False
        self.stream: Stream | None = None
        self.pool_id = -1
        self.last: tuple[Stream, int] | None = None  # what ran last in this memory
        self._recording: _Recording | None = None

    def pool(self) -> int:
        return self.pool_id

    def capture_begin(self, pool: int | None) -> None:
        cuda = self.cuda
        if cuda.capturing is not None:
            raise RuntimeError("a capture is already under way")
        if pool is None:
            cuda.pools += 1
            pool = cuda.pools
        elif pool not in {graph.pool_id for graph in cuda.graphs}:
            raise RuntimeError("use_count > 0 INTERNAL ASSERT FAILED")
        self.pool_id = pool
        self.stream = cuda.current()
        cuda.capturing = self
        time.sleep(PAUSE)  # a recording takes its time, in which other threads go on
        if self.stream.device.index == cuda.here.capture_device:
            self._recording = _Recording(self)
            self._recording.__enter__()

    def capture_end(self) -> None:
        cuda = self.cuda
        if self._recording is not None:
            self._recording.__exit__(None, None, None)
        cuda.capturing = None
        if self.is_broken:
            cuda.is_ill = True
            raise RuntimeError("operation failed due to a previous error during capture")
        if not self.operations:
            warnings.warn("The CUDA Graph is empty.", stacklevel=3)
        cuda.graphs.add(self)
        cuda.reserved()
        for *_, outputs in self.operations:
            for x in tree_leaves(outputs):
                if isinstance(x, torch.Tensor):
                    cuda.outputs[x.untyped_storage().data_ptr()] = self

    def replay(self) -> None:
        stream = self.cuda.current()
        for other in self.cuda.graphs:
            if other.last is not None and (
                other.pool_id == self.pool_id or other.stream is self.stream
            ):
                before, tick = other.last
                assert stream.clock.get(before, 0) >= tick, "two graphs run at once in one memory"
        self.note_use()
        time.sleep(PAUSE)
        with torch.inference_mode():
            for function, args, kwargs, outputs in self.operations:
                anew = tree_leaves(function(*args, **kwargs))
                for x, y in zip(tree_leaves(outputs), anew, strict=True):
                    if isinstance(x, torch.Tensor) and x.data_ptr() != y.data_ptr():
                        x.copy_(y)
        time.sleep(PAUSE)

    def note_use(self) -> None:
        stream = self.cuda.current()
        self.last = stream, stream.enqueue()


class _Recording(TorchDispatchMode):
    """Notes what its thread computes."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(word in name for word in ("_local_scalar_dense", "nonzero", "masked_select")):
            self._graph.is_broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        outputs = func(*args, **(kwargs or {}))
        self._graph.operations.append((func, args, kwargs or {}, outputs))
        return outputs


class _GraphContext:
    """torch.cuda.graph, with the order of its steps and its stream for all devices."""

    default_capture_stream: Stream | None = None

    def __init__(
        self,
        cuda: StandIn,
        cuda_graph: Graph,
        pool: int | None = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        kind = type(self)
        if stream is None and kind.default_capture_stream is None:
            kind.default_capture_stream = Stream(cuda)
        self._cuda, self._graph, self._pool = cuda, cuda_graph, pool
        self._stream = stream or kind.default_capture_stream
        self._context = _StreamContext(cuda, self._stream)

    def __enter__(self) -> None:
        self._cuda.synchronize()
        self._cuda.empty_cache()
        self._cuda.here.capture_device = self._cuda.here.device
        self._context.__enter__()
        self._graph.capture_begin(self._pool)

    def __exit__(self, *error: object) -> None:
        self._graph.capture_end()
        self._context.__exit__(*error)


class _StreamContext:
    """torch.cuda.stream."""

    def __init__(self, cuda: StandIn, stream: Stream) -> None:
        self._cuda, self._stream = cuda, stream

    def __enter__(self) -> None:
        here = self._cuda.here
        self._before = here.device, dict(here.stream)
        here.device = self._stream.device.index
        here.stream[here.device] = self._stream

    def __exit__(self, *_: object) -> None:
        self._cuda.here.device, self._cuda.here.stream = self._before


class _DeviceContext:
    """torch.cuda.device."""

    def __init__(self, cuda: StandIn, device: Any) -> None:
        self._cuda, self._index = cuda, torch.device(device).index

    def __enter__(self) -> None:
        self._before = self._cuda.here.device
        if self._index is not None:
            self._cuda.here.device = self._index

    def __exit__(self, *_: object) -> None:
        self._cuda.here.device = self._before


class _OnCpu(TorchFunctionMode):
    """Puts what is for a GPU on the CPU, and keeps track of pinned memory."""

    def __init__(self, cuda: StandIn) -> None:
        super().__init__()
        self._cuda = cuda

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == torch.Tensor.is_cuda.__get__:
            return True
        if func is torch.device:
            return torch.device(*args, **(kwargs or {}))
        kwargs = dict(kwargs or {})
        pin = kwargs.pop("pin_memory", False)
        if func is torch.Tensor.copy_:
            return self._copy(*args, **kwargs)
        args, kwargs = tree_map(_cpu, (args, kwargs))
        result = func(*args, **kwargs)
        if pin:
            self._cuda.pinned.add(result.untyped_storage().data_ptr())
        if func is torch.Tensor.clone:
            self._cuda.clones += 1
            if graph := self._cuda.outputs.get(args[0].untyped_storage().data_ptr()):
                graph.note_use()
        return result

    def _copy(self, to: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        cuda = self._cuda
        place, origin = (x.untyped_storage().data_ptr() for x in (to, source))
        assert not cuda.busy.get(place), (
            "pinned memory is written while a copy from it is under way"
        )
        if not non_blocking:
            return to.copy_(source)
        stream = cuda.current()
        if place in cuda.pinned:
            value = source.clone()
            to.view(torch.uint8).fill_(NONSENSE)
            stream.enqueue(lambda: _arrive(to, value))
            return to
        if origin in cuda.pinned:
            cuda.busy[origin] = cuda.busy.get(origin, 0) + 1

            def arrive() -> None:
                cuda.busy[origin] -= 1

            to.copy_(source)
            stream.enqueue(arrive)
            return to
        return to.copy_(source)


def _arrive(to: Tensor, value: Tensor) -> None:
    with DisableTorchFunction():
        to.copy_(value)


def _cpu(value: Any) -> Any:
    if isinstance(value, torch.device) or (isinstance(value, str) and value.startswith("cuda")):
        device = torch.device(value)
        return torch.device("cpu") if device.type == "cuda" else value
    return value


def run_in_threads(works: Sequence[Callable[[], object]], setting: Callable[[], Any]) -> None:
    """Do all the works, each in a thread of its own within a context; raise what one raises."""
    errors: list[BaseException] = []

    def do(work: Callable[[], object]) -> None:
        try:
            with setting():
                work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class RealGpus:
    """The GPUs of this machine, as `StandIn` offers its own."""

    def __init__(self) -> None:
        self.devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]

    def run(self, *works: Callable[[], object]) -> None:
        run_in_threads(works, nullcontext)


@contextmanager
def stand_in(gpus: int = 1) -> Iterator[StandIn]:
    """Let torch see so many GPUs within the block."""
    cuda = StandIn(gpus)
    _GraphContext.default_capture_stream = None
    names = {
        "is_available": lambda: True,
        "device_count": lambda: gpus,
        "current_device": lambda: cuda.here.device,
        "set_device": lambda device: setattr(cuda.here, "device", torch.device(device).index),
        "current_stream": lambda device=None: cuda.current(),
        "is_current_stream_capturing": lambda: (
            cuda.capturing is not None and cuda.capturing.stream is cuda.current()
        ),
        "synchronize": cuda.synchronize,
        "empty_cache": cuda.empty_cache,
        "memory_reserved": lambda *_: cuda.reserved(),
        "max_memory_reserved": lambda *_: (cuda.reserved(), cuda.peak)[1],
        "memory_allocated": lambda *_: EAGER_BYTES,
        "max_memory_allocated": lambda *_: EAGER_BYTES,
        "reset_peak_memory_stats": lambda *_: setattr(cuda, "peak", cuda.reserved()),
    }
    kinds = {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": _GraphContext,
        "stream": _StreamContext,
        "device": _DeviceContext,
    }
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in names.items():
            patch.setattr(torch.cuda, name, value)
        for name, kind in kinds.items():
            patch.setattr(torch.cuda, name, _made_for(cuda, kind))
        cuda_graphs.lane_of.cache_clear()
        stack.callback(cuda_graphs.lane_of.cache_clear)
        stack.enter_context(cuda.thread())
        yield cuda


def _made_for(cuda: StandIn, kind: type) -> Callable[..., Any]:
    return lambda *args, **kwargs: kind(cuda, *args, **kwargs)

"""CUDA graphs: pixels to candidates, recorded once per input shape, replayed in a single launch.

At batch 1 a GPU waits for Python to launch some hundreds of kernels; replaying a graph launches
them all at once.
"""

from __future__ import annotations

import warnings
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from sipmask_core.model.outputs import locations
from sipmask_core.runtime.cuda import TURN, full_float32
from sipmask_core.runtime.devices import upload
from sipmask_core.runtime.memory import is_out_of_memory
from sipmask_core.runtime.stopwatch import stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_core.model.outputs import HeadOutputs, Locate

    Network: TypeAlias = Callable[[Tensor, Tensor, Locate], HeadOutputs]
    Graph: TypeAlias = Callable[[Tensor, tuple[int, int]], HeadOutputs]
    # Makes a graph from what `CapturedGraph` is made of.
    Recorder: TypeAlias = Callable[[Network, Tensor, tuple[int, int], torch.device, Any], Graph]
    _Shape: TypeAlias = tuple[int, ...]

MAX_GRAPHS = 16
MAX_SHAPES_REMEMBERED = 64
# A shape takes another's place only if it came this often while the other did not come at all.
PATIENCE = 16
# Recordings for which memory may run out before there are no more of them.
MOST_SHORTAGES = 3
WARM_UP = 3
_SIZE_BYTES = 16  # of the two int64 of a size


class GraphedNetwork:
    """A network that replays a recorded graph for input shapes that come more than once.

    network: maps pixels (N, H, W, 3) uint8, the size (2,) int64, (h, w), of the image within, and
    what makes grids of locations to outputs, all on the device, without waiting for it.

    A shape is recorded when it comes again, so that a stream of changing shapes never triggers a
    recording. At most `MAX_GRAPHS` graphs are kept; then a shape that comes `PATIENCE` times while
    another's graph is idle takes its place, so that more shapes in turn do not record again and
    again. If a recording fails, a warning says so, and there are no more of them; if memory runs
    out in one, the error passes, for the caller can free memory and call again.

    It may be called from several threads, on streams of their own; one at a time has its turn.
    """

    def __init__(
        self, network: Network, device: torch.device, record: Recorder | None = None
    ) -> None:
        self._network = network
        self._device = device
        self._record: Recorder | None = record or CapturedGraph
        self._graphs: dict[_Shape, Graph] = {}  # in order of their last use
        self._used: dict[_Shape, int] = {}  # the calls of the last uses
        self._seen: dict[_Shape, deque[int]] = {}  # the last calls of shapes without a graph
        self._calls = 0
        self._shortages = 0

    def __call__(self, pixels: Tensor, size: tuple[int, int]) -> HeadOutputs:
        """Run on pixels (N, H, W, 3) uint8 on the CPU; the caller may keep the outputs."""
        with TURN:
            graph = self._graph(pixels, size)
            if graph is not None:
                return graph(pixels, size)
            with stage("upload"):
                pixels = pixels.to(self._device)
                within = upload(torch.tensor(size), self._device)
            with full_float32(self._device):
                return self._network(pixels, within, locations)

    @property
    def graphs(self) -> list[Graph]:
        """The graphs that are kept, in the order of their last use."""
        return list(self._graphs.values())

    def clear(self) -> None:
        """Drop all graphs and their memory; shapes are recorded anew when they come again."""
        with TURN:
            self._graphs.clear()
            self._used.clear()
            self._seen.clear()

    def _graph(self, pixels: Tensor, size: tuple[int, int]) -> Graph | None:
        """Return the graph for pixels of this shape, which may be a new one, or None."""
        shape = tuple(pixels.shape)
        self._calls += 1
        graph = self._graphs.pop(shape, None)
        if graph is None and self._record is not None and self._is_worth_it(shape):
            graph = self._recorded(pixels, size)
        if graph is not None:
            self._graphs[shape] = graph
            self._used[shape] = self._calls
        return graph

    def _is_worth_it(self, shape: _Shape) -> bool:
        """Note that a shape without a graph came; return whether it is to have one, and room."""
        calls = self._seen.pop(shape, None) or deque(maxlen=PATIENCE)
        calls.append(self._calls)
        self._seen[shape] = calls
        if len(self._seen) > MAX_SHAPES_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if len(self._graphs) < MAX_GRAPHS:
            return len(calls) > 1
        idle = next(iter(self._graphs))
        if len(calls) < PATIENCE or calls[0] < self._used[idle]:
            return False
        del self._graphs[idle], self._used[idle]
        return True

    def _recorded(self, pixels: Tensor, size: tuple[int, int]) -> Graph | None:
        assert self._record is not None
        beside = next(iter(self._graphs.values()), None)
        try:
            graph = self._record(self._network, pixels, size, self._device, beside)
        except RuntimeError as error:
            self._shortages += is_out_of_memory(error)
            if is_out_of_memory(error) and self._shortages < MOST_SHORTAGES:
                raise
            warnings.warn(f"CUDA graphs are off, since recording one failed: {error}", stacklevel=4)
            self._record = None
            return None
        del self._seen[tuple(pixels.shape)]
        return graph


class _Lane:
    """What the graphs of one GPU share: the stream on which they are recorded, and their order.

    cuBLAS keeps a workspace for each stream, and the graphs of a network lie in the same memory. So
    they run one after the other, on whichever streams: `free` happens when the results of the last
    one have been copied.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.free = torch.cuda.Event()


lane_of = cache(_Lane)  # one for each GPU; called by the thread that has its turn


class CapturedGraph:
    """One recorded run of the network: pinned staging memory, its input on the GPU, its outputs.

    beside: another graph of the same network, whose memory this one shares.
    """

    def __init__(
        self,
        network: Network,
        pixels: Tensor,
        size: tuple[int, int],
        device: torch.device,
        beside: CapturedGraph | None = None,
    ) -> None:
        self._device = device
        self._lane = lane = lane_of(device)
        self._locate = cache(locations)  # the graph goes on reading the grids of its first run
        with torch.cuda.device(device):
            length = _SIZE_BYTES + pixels.numel()
            self._staging = torch.empty(length, dtype=torch.uint8, pin_memory=True)
            self._input = torch.empty(length, dtype=torch.uint8, device=device)
            self._uploaded = torch.cuda.Event()
            self._graph = torch.cuda.CUDAGraph()
            self._upload(pixels, size)
            arguments = (
                self._input[_SIZE_BYTES:].view(pixels.shape),
                self._input[:_SIZE_BYTES].view(torch.int64),
                self._locate,
            )
            lane.stream.wait_stream(torch.cuda.current_stream())
            lane.stream.wait_event(lane.free)
            # Around all, since torch does not leave the stream of a recording that fails.
            with torch.cuda.stream(lane.stream), full_float32(device):
                # In their first runs libraries set themselves up, which a recording does not allow.
                for _ in range(WARM_UP):
                    network(*arguments)
                with torch.cuda.graph(
                    self._graph,
                    pool=None if beside is None else beside.pool,
                    stream=lane.stream,
                    capture_error_mode="thread_local",  # other threads may use the GPU meanwhile
                ):
                    self._outputs = network(*arguments)
            torch.cuda.current_stream().wait_stream(lane.stream)

    def __call__(self, pixels: Tensor, size: tuple[int, int]) -> HeadOutputs:
        """Queue the work for pixels of the recorded shape, on the CPU; return copied outputs."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._lane.free)
            try:
                with stage("upload"):
                    self._upload(pixels, size)
                self.replay()
                # The next replay overwrites the originals.
                return copied(self._outputs)
            finally:
                self._lane.free.record(stream)

    @property
    def pool(self) -> Any:
        """What names the memory that graphs share; see `torch.cuda.graph`."""
        return self._graph.pool()

    def replay(self) -> None:
        """Queue the recorded work alone, for the input that is on the GPU."""
        self._graph.replay()

    def _upload(self, pixels: Tensor, size: tuple[int, int]) -> None:
        self._uploaded.synchronize()  # the staging memory may still be on its way
        self._staging[:_SIZE_BYTES].view(torch.int64).copy_(torch.tensor(size))
        self._staging[_SIZE_BYTES:].view(pixels.shape).copy_(pixels)
        self._input.copy_(self._staging, non_blocking=True)
        self._uploaded.record()


def copied(value: Any) -> Any:
    """Copy a tensor, None, or a list or named tuple of such."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, list):
        return [copied(x) for x in value]
    if isinstance(value, tuple):
        return type(value)(*map(copied, value))
    return value

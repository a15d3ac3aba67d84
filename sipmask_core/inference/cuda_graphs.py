"""CUDA graphs: pixels to candidates, recorded once per input size, replayed with a single launch.

At batch 1 a GPU waits for Python to launch some hundreds of kernels; replaying a graph launches
them all at once.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from sipmask_core.runtime.stopwatch import stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_core.model.outputs import HeadOutputs

    Network: TypeAlias = Callable[[Tensor, tuple[int, int]], HeadOutputs]
    Recorder: TypeAlias = Callable[
        [Network, Tensor, tuple[int, int], torch.device], Callable[[Tensor], HeadOutputs]
    ]
    _Key: TypeAlias = tuple[tuple[int, ...], tuple[int, int]]

MAX_GRAPHS = 8
MAX_SIZES_REMEMBERED = 64
WARM_UP = 3


class GraphedNetwork:
    """A network that replays a recorded graph for input sizes that come more than once.

    network: maps pixels (N, H, W, 3) uint8 on the device and the size (h, w) of the image within to
    outputs, without waiting for the GPU in between. The `MAX_GRAPHS` sizes used last keep their
    graphs. A size is recorded when it comes again, so that a stream of changing sizes never
    triggers a recording. If recording fails, a warning says so, and the network runs without graphs
    from then on.
    """

    def __init__(
        self, network: Network, device: torch.device, record: Recorder | None = None
    ) -> None:
        self._network = network
        self._device = device
        self._record: Recorder | None = record or CapturedGraph
        self._graphs: dict[_Key, Callable[[Tensor], HeadOutputs]] = {}  # in order of their last use
        self._seen: dict[_Key, None] = {}

    def __call__(self, pixels: Tensor, size: tuple[int, int]) -> HeadOutputs:
        """Run on pixels (N, H, W, 3) uint8 on the CPU; the caller may keep the outputs."""
        key = (tuple(pixels.shape), size)
        graph = self._graphs.pop(key, None) or self._recorded(key, pixels)
        if graph is None:
            with stage("upload"):
                pixels = pixels.to(self._device)
            return self._network(pixels, size)
        self._graphs[key] = graph
        return graph(pixels)

    def clear(self) -> None:
        """Drop all graphs and their memory; sizes are recorded anew when they come again."""
        self._graphs.clear()
        self._seen.clear()

    def _recorded(self, key: _Key, pixels: Tensor) -> Callable[[Tensor], HeadOutputs] | None:
        """Return a new graph if this size came before, else None."""
        if self._record is None:
            return None
        if key not in self._seen:
            self._seen[key] = None
            if len(self._seen) > MAX_SIZES_REMEMBERED:
                del self._seen[next(iter(self._seen))]
            return None
        if len(self._graphs) == MAX_GRAPHS:
            del self._graphs[next(iter(self._graphs))]  # frees its memory for the new one
        try:
            return self._record(self._network, pixels, key[1], self._device)
        except RuntimeError as error:
            warnings.warn(f"CUDA graphs are off, since recording one failed: {error}", stacklevel=3)
            self._record = None
            return None


class CapturedGraph:
    """One recorded run of the network: pinned staging memory, its input on the GPU, its outputs."""

    def __init__(
        self, network: Network, pixels: Tensor, size: tuple[int, int], device: torch.device
    ) -> None:
        self._device = device
        self._staging = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
        self._pixels = pixels.to(device)
        self._uploaded = torch.cuda.Event()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            # In their first runs libraries set themselves up, which a recording does not allow.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    network(self._pixels, size)
            torch.cuda.current_stream().wait_stream(stream)
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = network(self._pixels, size)

    def __call__(self, pixels: Tensor) -> HeadOutputs:
        """Queue the work for pixels of the recorded shape, on the CPU; return copied outputs."""
        with torch.cuda.device(self._device):
            with stage("upload"):
                self._uploaded.synchronize()  # the staging memory may still be on its way
                self._staging.copy_(pixels)
                self._pixels.copy_(self._staging, non_blocking=True)
                self._uploaded.record()
            self._graph.replay()
            # The next replay overwrites the originals.
            return copied(self._outputs)


def copied(value: Any) -> Any:
    """Copy a tensor, None, or a list or named tuple of such."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, list):
        return [copied(x) for x in value]
    if isinstance(value, tuple):
        return type(value)(*map(copied, value))
    return value

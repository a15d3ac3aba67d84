"""Models that are loaded while another one is at work."""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from rclpy.task import Future

import sipmask_core as sm
from sipmask_core.inference.load import load_segmenter
from sipmask_core.inference.tiles import tiled
from sipmask_ros.transport import release_free_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    from rclpy.node import Node

    from sipmask_core.segmenter import Segmenter
    from sipmask_ros.node.parameters import Parameters

    Load: TypeAlias = Callable[[Parameters], Segmenter]

USUAL_SIZE = (480, 640)
# The second call of a size records a graph, which any thread can replay; the third does.
CALLS_ON_GPU = 3


def load_predictor(wanted: Parameters) -> Segmenter:
    """Return the model that the parameters ask for. Raise InputError if there is none."""
    own_choice = _threads_of_torch()
    return load_segmenter(
        wanted.model,
        device=wanted.device,
        precision=wanted.precision,
        score_threshold=wanted.lowest_score,
        num_threads=wanted.num_threads or own_choice,
    )


@cache
def _threads_of_torch() -> int:
    """Return how many CPU threads PyTorch takes by itself; to be called before the first model."""
    import torch

    return torch.get_num_threads()


class ModelLoader:
    """Makes predictors that are ready for their first image.

    load: makes one from the parameters; raises InputError if they name none.
    """

    def __init__(self, node: Node, load: Load) -> None:
        self._node = node
        self._load = load
        self._is_busy = False

    @property
    def is_busy(self) -> bool:
        """Whether one is being loaded in the background."""
        return self._is_busy

    def load(self, wanted: Parameters, sizes: Collection[tuple[int, int]] = ()) -> Segmenter:
        """Return the predictor, warm. Raise what loading raises.

        sizes: (H, W) of the images to come, if they are known.
        """
        predictor = tiled(self._load(wanted), wanted.tiles)
        # The first images of a size take longest: let them be these.
        on_gpu = predictor.device.type == "cuda"
        for size in (sizes if on_gpu else ()) or (USUAL_SIZE,):
            for _ in range(CALLS_ON_GPU if on_gpu else 1):
                predictor(np.zeros((*size, 3), np.uint8))
        release_free_memory()
        return predictor

    def load_in_background(
        self, wanted: Parameters, sizes: Collection[tuple[int, int]] = ()
    ) -> Future:
        """Load in a thread, as `load` does; a callback of the node can await the result.

        Raise InputError while another is being loaded.
        """
        if self._is_busy:
            raise sm.InputError("Another model is being loaded; try again when it is ready.")
        future = Future()
        self._is_busy = True
        threading.Thread(
            target=self._fulfil, args=(future, wanted, sizes), name="model loader", daemon=True
        ).start()
        return future

    def _fulfil(
        self, future: Future, wanted: Parameters, sizes: Collection[tuple[int, int]]
    ) -> None:
        try:
            settle = partial(future.set_result, self.load(wanted, sizes))
        except Exception as error:
            settle = partial(future.set_exception, error)
        # Before the answer: who gets it may ask for the next model before this thread has ended.
        self._is_busy = False
        settle()
        # What awaits it goes on in the executor's next turn.
        if (executor := self._node.executor) is not None:
            executor.wake()

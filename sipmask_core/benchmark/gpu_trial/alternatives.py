"""The network as it ships beside other ways to run it, each as a graph: what would be faster."""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

import torch

from sipmask_core.benchmark.contenders import untrained
from sipmask_core.benchmark.gpu_trial.look import on_gpu
from sipmask_core.benchmark.images import standard_images
from sipmask_core.inference.cuda_graphs import CapturedGraph
from sipmask_core.inference.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable

PRESET = "sipmask_r50_caffe_fpn_ssd_gn_10x"
RUNS = 100


def main() -> None:
    """Time a replay of the R50 at 544x544 for each way; a way that fails is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    args = parser.parse_args()
    predictor = Predictor(untrained(PRESET), args.device)
    prepared = predictor.prepare(standard_images((720, 1280))[0].pixels)
    pixels = torch.from_numpy(prepared.pixels)[None]

    def replay() -> Callable[[], object]:
        with torch.inference_mode():
            graph = CapturedGraph(
                predictor._up_to_candidates, pixels, prepared.size, predictor.device
            )
        return graph._graph.replay

    def measured(name: str) -> None:
        began = time.perf_counter()
        try:
            work = replay()
            ready = time.perf_counter() - began
            took = f"{on_gpu(work, predictor.device, RUNS):.3f} ms, ready after {ready:.1f} s"
        except Exception as error:  # of compilers of all kinds
            took = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"{name:<32} {took}", flush=True)

    measured("as it ships")
    torch.backends.cudnn.benchmark = True
    measured("cudnn.benchmark")
    model = predictor.model
    for mode in ("default", "max-autotune-no-cudagraphs"):
        torch._dynamo.reset()
        predictor._model = partial(torch.compile(model, mode=mode, dynamic=False))  # type: ignore[assignment]
        measured(f"torch.compile, {mode}")


if __name__ == "__main__":
    main()

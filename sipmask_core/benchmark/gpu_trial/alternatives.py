"""The network as it ships beside other ways to run it, each as a graph: what would be faster."""

from __future__ import annotations

import argparse
import time

import torch

from sipmask_core.benchmark.contenders import untrained
from sipmask_core.benchmark.gpu_trial.look import on_gpu
from sipmask_core.benchmark.images import standard_images
from sipmask_core.inference.cuda_graphs import CapturedGraph
from sipmask_core.inference.predictor import Predictor

PRESET = "sipmask_r50_caffe_fpn_ssd_gn_10x"
RUNS = 100


def main() -> None:
    """Time a replay of the R50 at 544x544 for each way; a way that fails is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    args = parser.parse_args()
    predictor = Predictor(untrained(PRESET), args.device)
    image = standard_images((720, 1280))[0].pixels

    def measure(name: str) -> None:
        predictor.release_memory()
        began = time.perf_counter()
        try:
            for _ in range(2):  # the second records a graph
                predictor(image)
            (graph,) = predictor.graphs
            assert isinstance(graph, CapturedGraph)
            ready = time.perf_counter() - began
            took = f"{on_gpu(graph.replay, predictor.device, RUNS):.3f} ms, ready in {ready:.1f} s"
        except Exception as error:  # of compilers of all kinds
            took = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"{name:<42} {took}", flush=True)

    measure("as it ships")
    torch.backends.cudnn.benchmark = True
    measure("cudnn.benchmark")
    forward = predictor.model.forward
    for mode in ("default", "max-autotune-no-cudagraphs"):
        torch._dynamo.reset()
        predictor.model.forward = torch.compile(forward, mode=mode, dynamic=False)  # type: ignore[method-assign]
        measure(f"torch.compile, {mode}")


if __name__ == "__main__":
    main()

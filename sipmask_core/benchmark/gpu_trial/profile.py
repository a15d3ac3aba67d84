"""Where a GPU's time goes in one image: kernels by kind, copies, gaps, and calls of the host."""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile

from sipmask_core.benchmark.contenders import reporting, untrained
from sipmask_core.benchmark.images import standard_images
from sipmask_core.inference.predictor import Predictor
from sipmask_core.runtime.stopwatch import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRESET = "sipmask_r50_caffe_fpn_ssd_gn_10x"
INSTANCES = 20
IMAGES = 10
LONGEST = 25
# The first kind of which a word is in a kernel's name.
KINDS = {
    "layout": ("nchwtonhwc", "nhwctonchw", "transpose"),
    "deformable": ("deform",),
    "group norm": ("rowwisemoments", "group_norm", "groupnorm", "computefused"),
    "convolution": ("conv", "fprop", "implicit", "xmma", "cudnn", "nvjet", "cutlass"),
    "matrix product": ("gemm", "gemv", "splitk"),
    "sort": ("topk", "sort", "radix", "scan"),
    "reduction": ("reduce",),
    "copy": ("memcpy", "memset", "fill", "copy"),
    "upsampling": ("upsample",),
    "index": ("index", "gather"),
    "pointwise": ("elementwise", "vectorized"),
}


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel with this name."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(w in name for w in words)), "other")


def table(events: Sequence[Mapping[str, Any]], images: int) -> str:
    """Sum up the events of a trace of Chrome's format, per image, for people to read."""
    timed = [event for event in events if event.get("ph") == "X"]
    device = sorted(
        (e for e in timed if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")),
        key=lambda e: float(e["ts"]),
    )
    if not device:
        return "Nothing ran on a GPU."
    number: Counter[str] = Counter()
    spent: defaultdict[str, float] = defaultdict(float)
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    gaps, end = [], float(device[0]["ts"])
    for event in device:
        number[event["name"]] += 1
        spent[event["name"]] += event["dur"]
        by_kind[kind_of(event["name"])].append(event["dur"])
        gaps.append(max(0.0, event["ts"] - end))
        end = max(end, event["ts"] + event["dur"])
    lines = [
        f"per image {len(device) / images:.0f} kernels and copies,"
        f" {sum(spent.values()) / images:.0f} us; idle between them {sum(gaps) / images:.0f} us"
    ]
    for kind, times in sorted(by_kind.items(), key=lambda item: -sum(item[1])):
        lines.append(f"  {kind:<15}{len(times) / images:8.1f} x {sum(times) / images:10.1f} us")
    for name, total in sorted(spent.items(), key=lambda item: -item[1])[:LONGEST]:
        lines.append(f"  {total / images:8.1f} us {number[name] / images:6.1f} x  {name[:120]}")
    host: defaultdict[str, list[float]] = defaultdict(list)
    for event in timed:
        if event.get("cat") in ("cuda_runtime", "cuda_driver"):
            host[event["name"]].append(event["dur"])
    for name, times in sorted(host.items(), key=lambda item: -sum(item[1]))[:LONGEST]:
        lines.append(f"  host {name:<32}{len(times) / images:8.1f} x {sum(times) / images:8.1f} us")
    return "\n".join(lines)


def main() -> None:
    """Profile the R50 at 544x544 with 20 instances, print a table, and keep the trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    parser.add_argument("trace", type=Path, help="a name that ends in .json.gz")
    args = parser.parse_args()
    image = standard_images((720, 1280))[0].pixels
    model = untrained(PRESET)
    model = reporting(model, Predictor(model, args.device), image, INSTANCES)
    predictor = Predictor(model, args.device)
    for _ in range(5):
        predictor(image)
    activities = [ProfilerActivity.CPU]
    if predictor.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as found:
        for _ in range(IMAGES):
            predictor(image)
            wait_for(predictor.device)
    found.export_chrome_trace(str(args.trace))
    with gzip.open(args.trace, "rt", encoding="utf-8") as file:
        print(table(json.load(file)["traceEvents"], IMAGES))


if __name__ == "__main__":
    main()

"""One model against its plain form and torchvision's, as an entry of the benchmark's record."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm

from sipmask_core.benchmark.contenders import RIVAL, MaskRCNN, Plain, Shipped, reporting
from sipmask_core.benchmark.measure import batch_timing, measure, summary
from sipmask_core.benchmark.memory import peak_memory
from sipmask_core.benchmark.peak import measured_peak
from sipmask_core.inference.predictor import Predictor
from sipmask_core.model.cost import cost_of_model
from sipmask_core.runtime.devices import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipmask_core.benchmark.contenders import Contender
    from sipmask_core.benchmark.images import Photo
    from sipmask_core.model.sipmask import SipMask

OURS, PLAIN = "sipmask", "plain form"
_CUDA_BATCHES = (1, 4, 8)


class Settings(NamedTuple):
    """How a model is benchmarked.

    device, precision, num_threads: as for `Predictor`. instances: how many the model is made to
    report, 0 for those that it finds. warmup, runs: how many runs come first and are not counted,
    and how many are. batches: sizes at which the network alone is timed, too; None for the device's
    own. rivals: whether torchvision's Mask R-CNN takes part.
    """

    device: str
    precision: str
    num_threads: int | None
    instances: int
    warmup: int
    runs: int
    batches: tuple[int, ...] | None
    rivals: bool


def benchmark_model(
    name: str, model: SipMask, weights: str, photos: Sequence[Photo], settings: Settings
) -> dict[str, Any]:
    """Time everything there is to time about one model; weights: where its weights are from."""
    options = (settings.device, settings.precision, None, settings.num_threads)
    predictor = Predictor(model, *options)
    if settings.instances:
        model = reporting(model, predictor, photos[0].pixels, settings.instances)
        predictor = Predictor(model, *options)
    device = predictor.device
    prepared = predictor.prepare(photos[0].pixels)
    height, width = prepared.pixels.shape[:2]
    cost = cost_of_model(model, (height, width))
    # Batches come first: the benchmark puts a clock into the network for the rest.
    batches = [
        batch_timing(predictor, photos[0], batch, warmup=settings.warmup, runs=settings.runs)
        for batch in _batches(settings, device)
    ]
    contenders: dict[str, Contender] = {OURS: Shipped(predictor), PLAIN: Plain(model, device)}
    if settings.rivals:
        contenders[RIVAL] = MaskRCNN((height, width), device, predictor.precision)
    memory = {}
    for key, contender in contenders.items():
        predictor.release_memory()  # the graphs of the batches
        memory[key] = peak_memory(partial(contender, photos[0].pixels), device)
    total = (settings.warmup + settings.runs) * len(contenders)
    with tqdm(total=total, desc=name, unit="run", leave=False, disable=None) as bar:
        results = measure(
            contenders,
            photos,
            device,
            warmup=settings.warmup,
            runs=settings.runs,
            progress=bar.update,
        )
    entries = {
        key: {
            "precision": contender.precision,
            "peak_memory_bytes": memory[key],
            **summary(results[key]),
        }
        for key, contender in contenders.items()
    }
    for entry in (entries[OURS], entries[PLAIN]):
        entry |= _share_of_peak(entry, cost.flops, device)
    return {
        "name": name,
        "weights": weights,
        "input_size": [height, width],
        "parameters": cost.parameters,
        "gflops": cost.flops / 1e9,
        "device": str(device),
        "speedup": _speedup(entries, "total"),
        "speedup_network": _speedup(entries, "network"),
        "speedup_postprocess": _speedup(entries, "postprocess"),
        "contenders": entries,
        "batches": batches,
    }


def _share_of_peak(entry: dict[str, Any], flops: int, device: torch.device) -> dict[str, Any]:
    peaks = measured_peak(device, PRECISIONS[entry["precision"]])
    rate = 1e3 * flops / entry["network"]["p50_ms"]
    return {"share_of_peak": rate / max(peaks.values()), "measured_peak": peaks}


def _speedup(entries: dict[str, dict[str, Any]], part: str) -> float:
    plain, ours = (entries[key][part]["p50_ms"] for key in (PLAIN, OURS))
    return float(plain / ours)


def _batches(settings: Settings, device: torch.device) -> tuple[int, ...]:
    if settings.batches is not None:
        return settings.batches
    return _CUDA_BATCHES if device.type == "cuda" else ()

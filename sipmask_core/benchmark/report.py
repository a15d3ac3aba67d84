"""A benchmark's record as a table for the terminal and as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipmask_core.benchmark.measure import STAGES
from sipmask_core.runtime.files import write_figure

if TYPE_CHECKING:
    from pathlib import Path

# One hue for each part of the frame: input, network, masks; darker is later in it.
STAGE_COLOURS = {
    "decode": "#d9d9d9",
    "preprocess": "#bdbdbd",
    "upload": "#969696",
    "network": "#08306b",
    "backbone": "#6baed6",
    "neck": "#3182bd",
    "head": "#08519c",
    "nms": "#fdae6b",
    "masks": "#e6550d",
    "rle": "#a63603",
    "other": "#636363",
}


def table(model: dict[str, Any]) -> str:
    """Format the entry of one model of the record, for people to read."""
    contenders = model["contenders"]
    height, width = model["input_size"]
    lines = [
        f"{model['name']}, weights: {model['weights']}, input {height}x{width},"
        f" {model['parameters'] / 1e6:.1f} M parameters, {model['gflops']:.1f} GFLOPs",
        f"  {'p50 ms':<14}" + "".join(f"{name:>22}" for name in contenders),
    ]
    for stage in STAGES:
        times = [c["stages"].get(stage) for c in contenders.values()]
        if any(times):
            cells = (f"{t['p50_ms']:>22.2f}" if t else f"{'-':>22}" for t in times)
            lines.append(f"  {stage:<14}" + "".join(cells))
    for label, key in (("total p50", "p50_ms"), ("total p99", "p99_ms")):
        cells = (f"{c['total'][key]:>22.2f}" for c in contenders.values())
        lines.append(f"  {label:<14}" + "".join(cells))
    if any(c["whole"] for c in contenders.values()):
        cells = (f"{c['whole']['p50_ms']:>22.2f}" for c in contenders.values())
        lines.append(f"  {'undivided p50':<14}" + "".join(cells))
    for label, key, form in (
        ("precision", "precision", ""),
        ("instances", "instances", ".1f"),
        ("share of peak", "share_of_peak", ".0%"),
    ):
        values = (c.get(key) for c in contenders.values())
        cells = ("-" if value is None else format(value, form) for value in values)
        lines.append(f"  {label:<14}" + "".join(f"{cell:>22}" for cell in cells))
    memory = (c["peak_memory_bytes"] for c in contenders.values())
    cells = ("-" if m is None else f"{m / 2**20:.0f}" for m in memory)
    lines.append("  memory, MiB   " + "".join(f"{cell:>22}" for cell in cells))
    lines.append(
        f"  faster than the plain form: {model['speedup']:.1f} times; its network"
        f" {model['speedup_network']:.1f}, its post-processing {model['speedup_postprocess']:.1f}"
    )
    for batch in model["batches"]:
        lines.append(
            f"  network at batch {batch['batch']}: p50 {batch['p50_ms']:.2f} ms,"
            f" {batch['images_per_second']:.1f} images/s"
        )
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw a PNG with a bar for each contender of each model, divided into stages."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = [
        (model, name, contender)
        for model in record["models"]
        for name, contender in model["contenders"].items()
    ]
    height = 1.4 + 0.32 * len(rows) + 0.3 * len(record["models"])
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.add_subplot()
    longest = max(contender["total"]["p50_ms"] for _, _, contender in rows)
    places: list[float] = []
    place = 0.0
    for model, name, contender in rows:
        if name == next(iter(model["contenders"])):
            place += 1.0
            title = f"{model['name']}, {'×'.join(map(str, model['input_size']))}"
            axes.text(0, place - 0.72, title, fontsize=9, fontweight="bold", va="center")
        left = 0.0
        for stage in STAGES:
            length = contender["stages"].get(stage, {"p50_ms": 0.0})["p50_ms"]
            axes.barh(place, length, left=left, color=STAGE_COLOURS[stage], height=0.75)
            left += length
        label = f"{contender['total']['p50_ms']:.1f} ms, instances: {contender['instances']:.0f}"
        axes.text(left + 0.01 * longest, place, label, va="center", fontsize=8)
        places.append(place)
        place += 1.0
    labels = [f"{name} ({contender['precision']})" for _, name, contender in rows]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(0, 1.25 * longest)
    axes.set_ylim(place - 0.4, -0.1)
    axes.set_xlabel("milliseconds from the encoded image to RLEs (median of each stage)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    used = [s for s in STAGES if any(s in contender["stages"] for _, _, contender in rows)]
    axes.legend(
        handles=[Patch(color=STAGE_COLOURS[stage], label=stage) for stage in used],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(used),
        frameon=False,
        fontsize=8,
        handlelength=1,
        columnspacing=1,
    )
    write_figure(path, figure)

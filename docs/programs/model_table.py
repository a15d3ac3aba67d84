"""Write the table of published configurations into docs/models.md, and a short one into README.md.

python docs/programs/model_table.py            parameters, GFLOPs, AP and links; the times stay
python docs/programs/model_table.py --measure  times every configuration here, too, with random
                                               weights

A time is that of the whole `Predictor`, from an encoded image of 640x480 to RLEs, on the CPU in
float32: the median of 10 runs after 2, with thresholds that make it report 20 instances. It means
something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.model.cost import cost_of
from sipmask_core.model.presets import KeepRatio, Preset, get_preset
from sipmask_core.weights.table import PUBLISHED, Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = Path(__file__).parents[1] / "models.md"
README = PAGE.parents[1] / "README.md"
BEGIN, END = "<!-- published configurations -->", "<!-- end of published configurations -->"
HEAD = """\
| preset | backbone | input | parameters | GFLOPs | mask AP | box AP | ms, CPU | verified | file |
|---|---|---|---|---|---|---|---|---|---|"""
SHORT_HEAD = """\
| `sipmask weights get` | mask AP | box AP | parameters | GFLOPs | ms, CPU |
|---|---|---|---|---|---|"""
# The best of each kind, and the fastest for photographs.
SHORT = (
    "sipmask_r101_caffe_fpn_gn_ms_4x",
    "sipmask_r50_caffe_fpn_ssd_gn_10x",
    "sipmask++_r101_caffe_fpn_ssd_gn_10x",
    "vis_sipmask_r50_caffe_fpn_gn_ms_1x",
)
NOT_MEASURED = "not measured"
WARMUP, RUNS, INSTANCES = 2, 10, 20
# What was compared with the authors' code; the page explains the letters.
VERIFIED = {
    "sipmask_r50_caffe_fpn_gn_1x": "K D L",
    "sipmask_r50_caffe_fpn_gn_ms_2x": "K",
    "sipmask_r101_caffe_fpn_gn_ms_4x": "K D",
    "sipmask_r50_caffe_fpn_ssd_6x": "K D L",
    "sipmask_r50_caffe_fpn_ssd_gn_10x": "K D",
    "sipmask_r101_caffe_fpn_ssd_6x": "K",
    "sipmask_r101_caffe_fpn_ssd_gn_10x": "K D",
    "sipmask++_r101_caffe_fpn_ssd_6x": "K D L",
    "sipmask++_r101_caffe_fpn_ssd_gn_10x": "K D",
    "benchmark_sipmask_R_50_FPN_1x": "K D L",
    "benchmark_sipmask_R_101_FPN_ms_3x": "K D",
    "vis_sipmask_r50_caffe_fpn_gn_1x": "K D L",
    "vis_sipmask_r50_caffe_fpn_gn_ms_1x": "K",
}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="time every configuration")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    times, machine = measured() if args.measure else kept(page)
    rows = {
        name: row(weights, times.get(name, NOT_MEASURED)) for name, weights in PUBLISHED.items()
    }
    said = f"Times: {machine}."
    write(PAGE, (HEAD, *map(line, rows.values()), "", said))
    write(README, (SHORT_HEAD, *(short_line(rows[name]) for name in SHORT), "", said))


def write(page: Path, lines: Iterable[str]) -> None:
    """Put the lines between the page's marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(lines)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def row(weights: Weights, time: str) -> tuple[str, ...]:
    """Return the cells of one line of the table."""
    preset = get_preset(weights.name)
    cost = cost_of(preset)
    return (
        f"`{weights.name}`",
        _backbone(preset),
        _input(preset),
        f"{cost.parameters / 1e6:.1f} M",
        f"{cost.flops / 1e9:.1f}",
        f"{weights.mask_ap:.1f}",
        "" if weights.box_ap is None else f"{weights.box_ap:.1f}",
        time,
        VERIFIED[weights.name],
        f"[Drive]({weights.link})",
    )


def line(cells: Iterable[str]) -> str:
    """Return a line of a table with these cells."""
    return f"| {' | '.join(cells)} |"


def short_line(cells: Sequence[str]) -> str:
    """Return what of a line the short table has."""
    name, _, _, parameters, flops, mask_ap, box_ap, time, _, _ = cells
    return line((name, mask_ap, box_ap, parameters, flops, time))


def kept(page: str) -> tuple[dict[str, str], str]:
    """Return the times that the page has, by configuration, and what it says of the machine."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    times = {cells[0].strip("| `"): cells[7] for cells in lines if len(cells) == 10}
    machine = re.search(r"^Times: (.*)\.$", table, re.MULTILINE)
    return times, machine[1] if machine else NOT_MEASURED


def measured() -> tuple[dict[str, str], str]:
    """Time every configuration; return milliseconds, and a few words on the machine."""
    from sipmask_core.benchmark.contenders import Shipped, reporting, untrained
    from sipmask_core.benchmark.images import standard_images
    from sipmask_core.benchmark.measure import measure, summary
    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.runtime.provenance import describe_device

    photo = standard_images((480, 640))[0]
    times = {}
    for name in PUBLISHED:
        model = untrained(name)
        model = reporting(model, Predictor(model, "cpu", "fp32"), photo.pixels, INSTANCES)
        predictor = Predictor(model, "cpu", "fp32")
        contender = {name: Shipped(predictor)}
        runs = measure(
            contender, [photo], predictor.device, warmup=WARMUP, runs=RUNS, progress=lambda: None
        )
        times[name] = f"{summary(runs[name])['total']['p50_ms']:.0f}"
        print(f"{name} {times[name]} ms", flush=True)
    machine = describe_device(predictor.device)
    return times, f"{machine['processor']}, {machine['torch_threads']} threads"


def _backbone(preset: Preset) -> str:
    name = preset.backbone.replace("resnet", "ResNet-")
    return f"{name}, deformable" if preset.deformable else name


def _input(preset: Preset) -> str:
    rule = preset.resize
    if isinstance(rule, KeepRatio):
        return f"{rule.short} × ≤{rule.long}"
    return f"{rule.height} × {rule.width}"


if __name__ == "__main__":
    main()

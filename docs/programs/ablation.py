"""The paper's ablations on a small model: train every variant alike, print the table, draw it.

Each variant starts from the same backbone and sees the same images in the same order, once per
seed. What is finished is kept: the same command goes on where it was stopped.

  python docs/programs/ablation.py --annotations instances.json --images photos \\
      --init resnet18.pth --output runs/ablation --plot docs/ablation.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from sipmask_core.cli.main import main as sipmask

# Name, what `sipmask train --set` changes. The first is the one that the others are compared with.
VARIANTS: dict[str, list[str]] = {
    "2 x 2 sub-regions, aligned, weighted": [],
    "1 x 1 sub-region": ["sub_regions=1"],
    "without mask weighting": ["mask_weighting=false"],
    "without feature alignment": ["feature_alignment=false"],
    "3 x 3 sub-regions": ["sub_regions=3"],
    "4 x 4 sub-regions": ["sub_regions=4"],
    "5 x 5 sub-regions": ["sub_regions=5"],
}
METRICS = ("AP", "AP50", "AP75")


def main() -> int:
    """Train what is missing, then print and draw what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="COCO instances JSON")
    add("--images", type=Path, required=True, help="folder of its images")
    add("--init", type=Path, required=True, help="backbone weights to start from")
    add("--output", type=Path, required=True, help="folder for the runs")
    add("--plot", type=Path, help="PNG to draw the comparison into")
    add("--preset", default="sipmask_r18_lite")
    add("--size", default="256")
    add("--epochs", default="5")
    add("--seeds", type=int, default=2, help="runs of each variant")
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    add("--only-report", action="store_true", help="train nothing")
    args = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.variants}
    for seed in range(args.seeds):
        for name in runs:
            settings = VARIANTS[name]
            folder = args.output / "-".join((*settings, f"seed={seed}"))
            if not args.only_report:
                _train(args, settings, seed, folder)
            if (folder / "result.json").exists():
                result = json.loads((folder / "result.json").read_text())
                runs[name].append(result["validation"])
    print(_table(runs))
    if args.plot is not None:
        _draw(runs, args.plot)
    return 0


def _train(args: argparse.Namespace, settings: list[str], seed: int, folder: Path) -> None:
    if (folder / "result.json").exists():
        return
    options = {
        "--preset": args.preset,
        "--annotations": args.annotations,
        "--images": args.images,
        "--init": args.init,
        "--output": folder,
        "--size": args.size,
        "--epochs": args.epochs,
        "--validate-every": args.epochs,
        "--seed": seed,
        "--threads": 1,
        "--json": folder / "result.json",
    }
    command = ["train", *(str(part) for option in options.items() for part in option)]
    for setting in settings:
        command += ["--set", setting]
    if (folder / "last.pth").exists():
        command.append("--resume")
    if status := sipmask(command):
        raise SystemExit(status)


def _table(runs: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "| variant | runs | mask AP | AP50 | AP75 | AP large | box AP | mask AP of each run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, results in runs.items():
        if results:
            columns = [mean(r["segm"][m] for r in results) for m in (*METRICS, "APl")]
            columns.append(mean(r["bbox"]["AP"] for r in results))
            each = " ".join(f"{r['segm']['AP']:.3f}" for r in results)
            figures = " | ".join(f"{value:.3f}" for value in columns)
            lines.append(f"| {name} | {len(results)} | {figures} | {each} |")
    return "\n".join(lines)


def _draw(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        done = [(name, results) for name, results in runs.items() if results]
        for row, (_, results) in enumerate(done):
            values = [100 * r["segm"][metric] for r in results]
            axes.barh(row, mean(values), color="C0" if row else "C1")
            axes.plot(values, [row] * len(values), "k.")
        axes.set_yticks(range(len(done)), [name for name, _ in done])
        axes.set_xlabel(f"mask {metric}, %")
        axes.grid(axis="x", alpha=0.3)
    axes.invert_yaxis()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())

"""Draw how good and how fast networks are that learnt alike, from the folders of their runs.

AP is that of each run's last validation, speed that of the whole `Predictor` on a photograph of
640 x 480 that scikit-image carries; the networks take turns, so that all meet the same machine.

  python docs/programs/candidates.py runs/width_64 runs/width_96 runs/width_128
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from input_sizes import milliseconds
from matplotlib.figure import Figure

import sipmask_core as sm
from sipmask_core.model.cost import cost_of_model
from sipmask_core.runtime.files import write_figure

_SHOWN = ("AP", "AP50", "APs", "APm", "APl")


def last_validation(run: Path) -> dict[str, dict[str, float]]:
    """Return the figures of the last validation in a run folder, by "segm" and "bbox"."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    validations = [entry["validation"] for entry in map(json.loads, lines) if "validation" in entry]
    if not validations:
        raise SystemExit(f"{run / 'log.jsonl'} has no validation.")
    figures: dict[str, dict[str, float]] = validations[-1]
    return figures


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("runs", type=Path, nargs="+", help="folders of `sipmask train`; their names are shown")
    add("--threads", type=int, default=2)
    add("--rounds", type=int, default=40, help="images timed for each network (40)")
    add("--output", type=Path, default=Path("docs/candidates.png"))
    args = parser.parse_args()
    models = [sm.load_model(run / "best.safetensors") for run in args.runs]
    predictors = {
        run: sm.Predictor(model, device="cpu", num_threads=args.threads)
        for run, model in zip(args.runs, models, strict=True)
    }
    took = milliseconds(predictors, args.rounds)
    rows: list[dict[str, Any]] = []
    for run, model in zip(args.runs, models, strict=True):
        figures = last_validation(run)
        cost = cost_of_model(model, (288, 384))
        own = {name: round(figures["segm"][name], 3) for name in _SHOWN}
        rows.append(
            {
                "name": run.name.replace("_", " "),
                "ms": round(took[run], 1),
                "parameters": cost.parameters,
                "GFLOPs": round(cost.flops / 1e9, 1),
                **own,
                "box AP": round(figures["bbox"]["AP"], 3),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    draw(rows, args.output)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw AP against images per second."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        x, y = 1e3 / row["ms"], row["AP"]
        axes.plot(x, y, "o")
        axes.annotate(row["name"], (x, y), (0, 6), textcoords="offset points", ha="center")
    axes.set(xlabel="images per second", ylabel="mask AP")
    axes.margins(0.2)
    axes.grid(alpha=0.3)
    write_figure(path, figure)


if __name__ == "__main__":
    main()

"""What a change of the online tracker is worth on made-up videos that the report does not show.

Shapes that walk, orbit, bounce off the borders, or are seen by a shaking camera, whole and damaged
as in the report; other motions and other seeds than the report's, so that its rows stay a test.

  python docs/programs/tracking_tuning.py
  python docs/programs/tracking_tuning.py --constant BOX_NOISE 0.03 0.06 0.12
"""

from __future__ import annotations

import argparse
import sys
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
from made_up_video import FRAMES, made_up_video
from tracking_damage import DAMAGE
from tracking_report import TRACKERS, Run

from sipmask_core.tracking import box_motion, online

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_SEED = 100
MOTIONS = ("bounces", "walks", "orbits", "shaken camera")
DAMAGES = (
    "true masks",
    "every 3rd frame",
    "20 % of detections left out",
    "displaced by 5 % of their size",
    "displaced by 10 % of their size",
    "2 false alarms a frame",
)
METRICS = ("HOTA", "AssA", "id_switches")


def main() -> int:
    """Print a table of the tracker as it is, or with other values of one of its constants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--constant", nargs="+", metavar="NAME VALUE", help="and values to try")
    parser.add_argument("--videos", type=int, default=4, help="of each motion (4)")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"of each video ({FRAMES})")
    args = parser.parse_args()
    runs = tuning_runs(args.videos, args.frames)
    if args.constant is None:
        for name, damaged in runs.items():
            print(f"{name:52} {_line(score(damaged))}")
        print(f"{'mean':52} {_line(score([run for damaged in runs.values() for run in damaged]))}")
        return 0
    name, *values = args.constant
    module = next((m for m in (online, box_motion) if hasattr(m, name)), None)
    if module is None:
        parser.error(f"--constant {name}: neither online nor box_motion has it")
    for value in values:
        setattr(module, name, float(value))
        print(f"{name} {value:8} {_line(score([r for damaged in runs.values() for r in damaged]))}")
    return 0


def tuning_runs(videos: int, frames: int) -> dict[str, list[Run]]:
    """Return the damaged videos by motion and damage."""
    seeds = range(FIRST_SEED, FIRST_SEED + videos)
    whole = {motion: [made_up_video(seed, motion, frames) for seed in seeds] for motion in MOTIONS}
    return {
        f"{motion}, {damage}": [
            Run(video, DAMAGE[damage](list(video), np.random.default_rng(seed)))
            for video, seed in zip(whole[motion], seeds, strict=True)
        ]
        for motion in MOTIONS
        for damage in DAMAGES
    }


def score(runs: Sequence[Run]) -> dict[str, float]:
    """Mean metrics of all tracks and, with C- before their names, of the confirmed ones."""
    columns = {"": TRACKERS["online"], "C-": TRACKERS["online, confirmed"]}
    results = {mark: [run.score(make()) for run in runs] for mark, make in columns.items()}
    return {
        mark + metric: mean(result[metric] for result in column)
        for mark, column in results.items()
        for metric in METRICS
    }


def _line(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())


if __name__ == "__main__":
    sys.exit(main())

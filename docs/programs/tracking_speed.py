"""Processor time of the online tracker for a frame of 1280 x 720 with as many tracks as instances.

taskset -c 0 python docs/programs/tracking_speed.py
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded

from time import thread_time
from typing import TYPE_CHECKING

import numpy as np

import sipmask_core as sm
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    from sipmask_core.instances import Instances

WARM_UP = 5  # frames
SIZE = np.array([1280, 720])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[10, 20, 50, 100])
    parser.add_argument("--frames", type=int, default=115, help="of which the median counts (115)")
    args = parser.parse_args()
    print("| instances | median | with 64-number embeddings |\n|---|---|---|")
    for count in args.instances:
        times = (_median_ms(_video(WARM_UP + args.frames, count, n)) for n in (0, 64))
        print(f"| {count} | {' | '.join(f'{ms:.2f} ms' for ms in times)} |")


def _median_ms(video: list[Instances]) -> float:
    tracker = OnlineTracker(TrackerSettings())
    seconds = []
    for number, frame in enumerate(video):
        began = thread_time()
        tracker.update(frame, number / 30)
        seconds.append(thread_time() - began)
    return 1e3 * float(np.median(seconds[WARM_UP:]))


def _video(frames: int, count: int, embedding_length: int) -> list[Instances]:
    """Return a video of ellipses the size of people that walk and tremble."""
    rng = np.random.default_rng(0)
    sides = rng.uniform((60, 120), (160, 300), (count, 2))
    places = rng.uniform(0, SIZE - sides)
    steps = rng.normal(0, 4, (count, 2))
    looks = rng.normal(size=(count, embedding_length)).astype(np.float32)
    video = []
    for _ in range(frames):
        places = np.clip(places + steps, 0, SIZE - sides)
        boxes = np.concatenate([places, places + sides], axis=1) + rng.normal(0, 1, (count, 4))
        video.append(
            sm.Instances(
                boxes=boxes.astype(np.float32),
                scores=np.full(count, 0.9, np.float32),
                labels=np.zeros(count, np.int64),
                mask_crops=[_ellipse(*box) for box in np.clip(boxes, 0, np.tile(SIZE, 2)).tolist()],
                image_size=(720, 1280),
                embeddings=looks,
            )
        )
    return video


def _ellipse(x0: float, y0: float, x1: float, y1: float) -> sm.MaskCrop:
    width, height = int(x1) - int(x0), int(y1) - int(y0)
    rows, columns = np.ogrid[:height, :width]
    inside = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2 <= 0.25
    return sm.MaskCrop(int(x0), int(y0), inside)


if __name__ == "__main__":
    main()

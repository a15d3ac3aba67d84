"""Follow the objects of a video and print how long each was seen.

python examples/track_video.py street.mp4
"""

import sys

import sipmask_core as sm
from sipmask_core.video import FPS_WHERE_UNKNOWN, Frames


def main(video: str) -> None:
    """Print a line for each confirmed track: id, class, first and last second."""
    predictor = sm.Predictor.from_pretrained(score_threshold=0.3)
    tracker = sm.Tracker()
    seen: dict[int, tuple[str, float, float]] = {}
    with Frames(video) as frames:
        fps = frames.fps or FPS_WHERE_UNKNOWN
        for frame in frames:
            seconds = frame.index / fps
            instances = tracker.update(predictor(frame.image), stamp=seconds)
            for number, label in zip(instances.track_ids, instances.labels, strict=True):
                if number >= 0:  # -1: too uncertain to be followed
                    name, first, _ = seen.get(number, (predictor.class_names[label], seconds, 0))
                    seen[number] = (name, first, seconds)
    for number, (name, first, last) in seen.items():
        print(f"{number}: {name} from {first:.2f} s to {last:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])

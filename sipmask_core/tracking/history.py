"""What became of each track of a video: its trail, its timeline and its masks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.data.classes import category_ids
from sipmask_core.data.youtube_vis_results import youtube_vis_results
from sipmask_core.drawing import colour, draw_trail
from sipmask_core.instances import UNTRACKED
from sipmask_core.runtime.files import write_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sipmask_core.data.coco_results import Result
    from sipmask_core.instances import Instances

TRAIL_SECONDS = 1.5
MOST_ROWS = 60  # of the timeline; it shows the tracks that were seen most


@dataclass
class _History:
    """One track: the frames that showed it, as [first, last]; its labels and latest places."""

    trail: deque[tuple[int, float, float]]  # frame, x, y
    stretches: list[list[int]] = field(default_factory=list)
    labels: dict[int, int] = field(default_factory=dict)
    seen: int = 0

    @property
    def label(self) -> int:
        return max(self.labels, key=lambda label: self.labels[label])


class TrackHistory:
    """Follows the instances of one video, frame by frame, and keeps a short record of each track.

    fps: frames per second of the video.
    keep_masks: keep what `youtube_vis_results` needs; memory then grows with every mask.
    """

    def __init__(self, fps: float, *, keep_masks: bool = False) -> None:
        self.fps = fps
        self.frame_count = 0
        self.instance_count = 0
        self._tracks: dict[int, _History] = {}
        self._present: list[int] = []
        self._masks: list[Instances] | None = [] if keep_masks else None

    def __len__(self) -> int:
        return len(self._tracks)

    def add(self, instances: Instances) -> None:
        """Append the instances of the next frame."""
        frame = self.frame_count
        self.frame_count += 1
        self.instance_count += len(instances)
        self._present = [i for i in instances.track_ids.tolist() if i != UNTRACKED]
        if self._masks is not None:
            self._masks.append(instances)
        rows = zip(instances.track_ids.tolist(), instances.labels.tolist(), strict=True)
        for (track_id, label), (x0, _, x1, y1) in zip(rows, instances.boxes.tolist(), strict=True):
            if track_id == UNTRACKED:
                continue
            track = self._tracks.setdefault(
                track_id, _History(deque(maxlen=max(2, round(TRAIL_SECONDS * self.fps))))
            )
            if track.stretches and track.stretches[-1][1] >= frame - 1:
                track.stretches[-1][1] = frame
            else:
                track.stretches.append([frame, frame])
            track.seen += 1
            track.labels[label] = track.labels.get(label, 0) + 1
            track.trail.append((frame, (x0 + x1) / 2, y1))

    def draw_trails(self, image: NDArray[np.uint8]) -> None:
        """Draw into the (H, W, 3) BGR image the latest places of each track that it shows."""
        oldest = self.frame_count - TRAIL_SECONDS * self.fps
        for track_id in self._present:
            points = [(x, y) for frame, x, y in self._tracks[track_id].trail if frame >= oldest]
            draw_trail(image, points, colour(track_id))

    def tracks(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a record of each track, in order of id.

        It has the track's id and class, the number of frames that show it, and these frames as
        stretches [first, last].
        """
        return [
            {
                "id": track_id,
                "class": class_names[track.label],
                "frames": track.seen,
                "seen": track.stretches,
            }
            for track_id, track in sorted(self._tracks.items())
        ]

    def youtube_vis_results(self, class_names: Sequence[str]) -> list[Result]:
        """Return the tracks as results of video 1; needs `keep_masks`."""
        assert self._masks is not None
        return youtube_vis_results(self._masks, 1, category_ids(class_names))

    def draw_timeline(self, path: Path, class_names: Sequence[str]) -> None:
        """Draw a PNG of when each track was seen; raise InputError if it cannot be written."""
        from matplotlib.figure import Figure

        longest = sorted(self._tracks, key=lambda number: -self._tracks[number].seen)[:MOST_ROWS]
        rows = sorted(longest)
        figure = Figure(figsize=(9, 1.2 + 0.25 * max(3, len(rows))), layout="constrained")
        axes = figure.add_subplot()
        for row, track_id in enumerate(rows):
            blue, green, red = colour(track_id)
            bars = [
                (first / self.fps, (last - first + 1) / self.fps)
                for first, last in self._tracks[track_id].stretches
            ]
            tone = (red / 255, green / 255, blue / 255)
            axes.broken_barh(bars, (row - 0.4, 0.8), color=tone)
            axes.hlines(row, bars[0][0], sum(bars[-1]), color=tone, linewidth=1)  # over the gaps
        names = [f"{class_names[self._tracks[number].label]} #{number}" for number in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_xlim(0, max(1, self.frame_count) / self.fps)
        axes.set_ylim(len(rows) - 0.5 if rows else 1, -0.5)
        axes.set_xlabel("seconds")
        left_out = len(self._tracks) - len(rows)
        axes.set_title(
            f"{len(self._tracks)} tracks" + f", the {MOST_ROWS} longest" * (left_out > 0)
        )
        axes.grid(axis="x", alpha=0.3)
        write_figure(path, figure)

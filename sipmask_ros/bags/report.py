"""The account of a recording, as figures and plots: rates, gaps, latencies, instances, tracks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.drawing import colour
from sipmask_core.imaging.left_out import LeftOut
from sipmask_core.instances import UNTRACKED, TrackState
from sipmask_core.runtime.files import write_figure
from sipmask_core.runtime.stopwatch import by_stage, distribution, latencies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sipmask_core.instances import Instances

GAP = 1.5  # more than this many median periods between two images are a gap
LISTED_GAPS = 20  # this many of the longest gaps are listed in a report
DRAWN_TRACKS = 60  # this many of the tracks seen most are in the time line


class TopicAccount:
    """What is noted of each image of one topic: a few numbers, and one per track seen in it."""

    def __init__(self, topic: str, kind: str, class_names: Sequence[str]) -> None:
        self.topic = topic
        self.kind = kind
        self.left_out = LeftOut(topic)
        self.received = 0  # images, readable or not
        self.missing_results = 0
        self._class_names = class_names
        self._recorded: list[int] = []  # ns, of the images that have a header
        self._stamps: list[int] = []
        self._times: list[float] = []  # s, of the images that were segmented
        self._counts: list[int] = []
        self._classes: Counter[str] = Counter()
        self._seconds: list[Mapping[str, float]] = []
        self._tracks: dict[int, list[int]] = {}  # per id, indices of images
        self._confirmed: set[int] = set()
        self._labels: dict[int, int] = {}

    @property
    def segmented(self) -> int:
        """For how many images there are instances, if only an empty list."""
        return len(self._counts)

    def receive(self, recorded: int, stamp: int | None) -> None:
        """Note that an image came: when it was recorded and its stamp, in ns.

        The stamp is 0 if the camera left it empty, None if there is no header to read.
        """
        self.received += 1
        if stamp is not None:
            self._recorded.append(recorded)
            self._stamps.append(stamp or recorded)

    def add(self, instances: Instances, seconds: Mapping[str, float]) -> None:
        """Note what was seen in the image that came last, and how long each stage took."""
        index = len(self._counts)
        self._times.append((self._stamps[-1] - self._stamps[0]) * 1e-9)
        self._counts.append(len(instances))
        self._classes.update(self._class_names[label] for label in instances.labels)
        self._seconds.append(seconds)
        for track_id, state, label in zip(
            instances.track_ids.tolist(),
            instances.track_states.tolist(),
            instances.labels.tolist(),
            strict=True,
        ):
            if track_id != UNTRACKED:
                self._tracks.setdefault(track_id, []).append(index)
                self._labels[track_id] = label
                if state == TrackState.CONFIRMED:
                    self._confirmed.add(track_id)

    def figures(self) -> dict[str, Any]:
        """Return everything that was noted, as a JSON object; names of times end in their unit."""
        stamps = np.array(self._stamps, np.int64)
        periods = np.diff(stamps) * 1e-9  # (images - 1,) s
        forward = periods[periods > 0]
        period = float(np.median(forward)) if len(forward) else 0.0
        # Of a recording that was played in a loop, every round counts.
        duration = float(forward.sum())
        gaps = [
            {
                "start_s": float(stamps[i] - stamps[0]) * 1e-9,
                "seconds": float(periods[i]),
                "missing_images": round(float(periods[i]) / period) - 1,
            }
            for i in np.flatnonzero(periods > GAP * period)
            if period
        ]
        counts = np.array(self._counts)
        lengths = [len(seen) for seen in self._tracks.values()]
        return {
            "type": self.kind,
            "images": self.received,
            "refused_images": self.left_out.count,
            "segmented_images": self.segmented,
            "images_without_results": self.missing_results,
            "duration_s": duration,
            "rate_hz": len(forward) / duration if duration else 0.0,
            "period_ms": distribution(1e3 * forward),
            "stamps_not_rising": int(np.count_nonzero(periods <= 0)),
            "recording_delay_ms": distribution((np.array(self._recorded) - stamps) * 1e-6),
            "gaps": {
                "count": len(gaps),
                "missing_images": sum(gap["missing_images"] for gap in gaps),
                "longest": sorted(gaps, key=lambda gap: -gap["seconds"])[:LISTED_GAPS],
            },
            "latency_ms": self._latencies(),
            "instances": {
                "total": int(counts.sum()),
                "mean": float(counts.mean()) if len(counts) else 0.0,
                "max": int(counts.max(initial=0)),
                "by_class": dict(self._classes.most_common()),
            },
            "tracks": {
                "total": len(lengths),
                "confirmed": len(self._confirmed),
                "median_images": float(np.median(lengths)) if lengths else 0.0,
                "longest_images": max(lengths, default=0),
            },
        }

    def _latencies(self) -> dict[str, Any]:
        """Return latencies by stage and in total; empty if no model ran."""
        return latencies([seconds for seconds in self._seconds if seconds])

    def draw(self, path: Path) -> None:
        """Plot rate, latency, number of instances and tracks over time."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 11), layout="constrained")
        figure.suptitle(self.topic)
        rate, latency, number, tracks = figure.subplots(
            4, 1, sharex=True, height_ratios=[2, 2, 2, 4]
        )
        self._draw_periods(rate)
        if any(self._seconds):
            stages = by_stage(self._seconds)
            milliseconds = 1e3 * np.array(list(stages.values()))
            latency.stackplot(self._times, milliseconds, labels=stages, alpha=0.8)
            latency.legend(loc="upper right", ncols=len(stages))
        latency.set(ylabel="latency (ms)", ylim=(0, None))
        number.plot(self._times, self._counts, drawstyle="steps-post")
        number.set(ylabel="instances", ylim=(0, None))
        self._draw_tracks(tracks)
        for axes in (rate, latency, number, tracks):
            axes.grid(alpha=0.3)
        write_figure(path, figure)

    def _draw_periods(self, axes: Any) -> None:
        """Draw the time from each image to the one before; gaps in red, in all plots."""
        stamps = np.array(self._stamps, np.int64)
        seconds = (stamps - stamps[0]) * 1e-9 if len(stamps) else stamps
        periods = np.diff(seconds)
        if np.any(periods > 0):
            median = float(np.median(periods[periods > 0]))
            axes.plot(seconds[1:], 1e3 * periods, ".", markersize=4)
            axes.axhline(1e3 * median, color="0.5", linewidth=0.8)
            for i in np.flatnonzero(periods > GAP * median):
                for shaded in axes.figure.axes:
                    shaded.axvspan(seconds[i], seconds[i + 1], color="red", alpha=0.2, zorder=3)
        axes.set(ylabel="since last image (ms)", ylim=(0, None))

    def _draw_tracks(self, axes: Any) -> None:
        """Draw a line per track, broken while it was not seen."""
        most_seen = sorted(self._tracks.items(), key=lambda item: -len(item[1]))[:DRAWN_TRACKS]
        shown = sorted(most_seen, key=lambda item: item[1][0])
        edges = self._edges()
        for row, (track_id, seen) in enumerate(shown):
            blue, green, red = (level / 255 for level in colour(track_id))  # as in the overlay
            for first, last in _runs(seen):
                axes.hlines(row, edges[first], edges[last + 1], [(red, green, blue)], linewidth=5)
        axes.set_yticks(
            range(len(shown)),
            [f"{self._class_names[self._labels[track_id]]} #{track_id}" for track_id, _ in shown],
            fontsize=8 if len(shown) <= 30 else 5,
        )
        axes.invert_yaxis()
        title = f"{len(shown)} of {len(self._tracks)} tracks" if self._tracks else "no tracks"
        axes.set(xlabel="seconds since the first image", title=title)

    def _edges(self) -> list[float]:
        """Return when each segmented image begins to count, in s, and when the last one ends."""
        if not self._times:
            return []
        period = float(np.median(np.diff(self._times))) if len(self._times) > 1 else 1.0
        return [*self._times, self._times[-1] + period]


def format_account(topic: str, figures: dict[str, Any]) -> str:
    """Return the figures of a topic in a few lines for the terminal."""
    gaps, instances, tracks = figures["gaps"], figures["instances"], figures["tracks"]
    lines = [
        f"{topic}: {figures['images']} images in {figures['duration_s']:.1f} s"
        f" ({figures['rate_hz']:.1f} Hz), {figures['refused_images']} left out,"
        f" {gaps['count']} gaps ({gaps['missing_images']} images missing)",
        f"  {instances['total']} instances, {instances['mean']:.1f} an image;"
        f" {tracks['total']} tracks, {tracks['confirmed']} confirmed",
    ]
    if total := figures["latency_ms"].get("total"):
        lines.append(
            f"  {total['mean']:.1f} ms an image (p50 {total['p50']:.1f}, p99 {total['p99']:.1f})"
        )
    scores = figures.get("scores", {})
    if scores:
        lines.append(
            f"  ground truth: {scores['scored_images']} of {scores['annotated_images']} annotated"
            " images"
        )
    for kind in ("segm", "bbox"):
        if kind in scores:
            values = scores[kind]
            lines.append(
                f"  {kind} " + "  ".join(f"{m} {values[m]:.3f}" for m in ("AP", "AP50", "AP75"))
            )
    if "tracking" in scores:
        t = scores["tracking"]
        lines.append(
            f"  HOTA {t['HOTA']:.3f}  IDF1 {t['IDF1']:.3f}  MOTA {t['MOTA']:.3f}"
            f"  id switches {t['id_switches']:.0f}"
        )
    return "\n".join(lines)


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of consecutive numbers in a rising list."""
    breaks = [i + 1 for i, (a, b) in enumerate(pairwise(indices)) if b > a + 1]
    starts, ends = [0, *breaks], [*breaks, len(indices)]
    return [(indices[s], indices[e - 1]) for s, e in zip(starts, ends, strict=True)]

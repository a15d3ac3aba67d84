"""How well trackers hold ids on a video with true masks: tables and a plot.

They are fed with what the model sees, and with the true masks, whole and damaged: frames and
detections left out, boxes and masks displaced, false alarms. Random damage is averaged over seeds,
and so are made-up videos of shapes that hide each other.

  python docs/programs/tracking_report.py --annotations ytvis_schoolgirls.json \\
      --images JPEGImages --plot docs/tracking.png

SORT, ByteTrack, OC-SORT, C-BIoU and BoT-SORT take part where the package of `pip install trackers`
is there. With a --checkpoint that has a track branch, its embeddings are put to the test as well;
--only-model and --no-model print one part.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from made_up_video import FRAMES, made_up_video
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment
from tracking_damage import DAMAGE, every
from tracking_peers import FPS, available_peers

import sipmask_core as sm
from sipmask_core.data.shapes import region
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.evaluation.track_metrics import TrackedFrame, count_tracks
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.instances import UNTRACKED, TrackState
from sipmask_core.model.outputs import embeddings_at
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tracking_damage import Frames

    from sipmask_core.instances import Instances

    Rows = dict[str, dict[str, dict[str, float]]]  # by what was fed, tracker and metric

SHOWN = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "id_switches")
COMPARED = ("HOTA", "AssA", "id_switches", "ms")


class PlainIoU:
    """The baseline: boxes of one class that overlap by 0.3 from frame to frame are one object.

    A track that is not seen for 15 frames ends.
    """

    def __init__(self) -> None:
        self._tracks: list[tuple[int, Any, int, int]] = []  # id, box, label, frame
        self._frame = 0
        self._next_id = 0

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """Return the instances with track ids."""
        self._frame += 1
        tracks = [t for t in self._tracks if self._frame - t[3] <= 15]
        ids = np.full(len(instances), UNTRACKED, np.int64)
        if tracks and len(instances):
            a, b = (_xywh(boxes) for boxes in ([t[1] for t in tracks], instances.boxes))
            same = np.array([t[2] for t in tracks])[:, None] == instances.labels
            iou = np.where(same, coco_mask.iou(a, b, [0] * len(b)), 0)
            for row, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
                if iou[row, column] >= 0.3:
                    ids[column] = tracks[row][0]
        for index in np.flatnonzero(ids == UNTRACKED):
            ids[index] = self._next_id
            self._next_id += 1
        now = [
            (int(i), box, int(label), self._frame)
            for i, box, label in zip(ids, instances.boxes, instances.labels, strict=True)
        ]
        self._tracks = now + [t for t in tracks if t[0] not in ids]
        return replace(instances, track_ids=ids)


def _xywh(boxes: Any) -> Any:
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


class Confirmed:
    """The online tracker without embeddings, and of its tracks only those that are confirmed."""

    def __init__(self) -> None:
        self._tracker = OnlineTracker(TrackerSettings(embedding_weight=0))

    def update(self, instances: Instances, stamp: float) -> Instances:
        """Return the instances; those of new tracks have no id."""
        tracked = self._tracker.update(instances, stamp)
        new = tracked.track_states == TrackState.NEW
        return replace(tracked, track_ids=np.where(new, UNTRACKED, tracked.track_ids))


TRACKERS: dict[str, Callable[[], Any]] = {
    "online": lambda: OnlineTracker(TrackerSettings(embedding_weight=0)),
    "online, confirmed": Confirmed,
    "online without masks": lambda: OnlineTracker(
        TrackerSettings(embedding_weight=0, mask_weight=0)
    ),
    "plain box IoU": PlainIoU,
}
# For detections that have embeddings.
EMBEDDING_TRACKERS: dict[str, Callable[[], Any]] = {
    "youtube-vis (the authors')": lambda: sm.Tracker("youtube-vis"),
    "online with embeddings": lambda: OnlineTracker(TrackerSettings()),
}

RANDOM = tuple(DAMAGE)[5:]
MADE_UP = (
    "true masks",
    "every 2nd frame",
    "every 3rd frame",
    "20 % of detections left out",
    "2 false alarms a frame",
)


def main() -> int:
    """Print the tables and, where asked, draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="YouTube-VIS JSON; its first video is used")
    add("--images", type=Path, required=True, help="folder of its frames")
    add("--plot", type=Path, help="PNG to draw the comparison on true masks into")
    add("--seeds", type=int, default=5, help="runs of each random damage")
    add("--videos", type=int, default=20, help="made-up videos")
    add("--frames", type=int, default=FRAMES, help=f"of each made-up video ({FRAMES})")
    add("--checkpoint", type=Path, help="the model to track with, by default the one that ships")
    add("--no-model", action="store_true", help="only the true masks")
    add("--only-model", action="store_true", help="only what the model sees")
    args = parser.parse_args()
    trackers = TRACKERS | available_peers()
    if len(trackers) == len(TRACKERS):
        print("Without other people's trackers, which `pip install trackers` brings.")
    data = read_videos(args.annotations)
    truth = _true_instances(data)
    if not args.no_model:
        person = data.class_names.index("person")
        people = [frame[frame.labels == person] for frame in truth]
        images = [cv2.imread(str(args.images / name)) for name in data.videos[0].file_names]
        model = sm.load_model(args.checkpoint or PRETRAINED)
        print(_table(_score_model(model, images, people, trackers)))
    if args.only_model:
        return 0
    rows = {
        name: _compare([truth] * number, name, trackers)
        for name in DAMAGE
        for number in [args.seeds if name in RANDOM else 1]
    }
    videos = [made_up_video(seed, frames=args.frames) for seed in range(args.videos)]
    rows |= {f"made-up, {name}": _compare(videos, name, trackers) for name in MADE_UP}
    for metric in COMPARED:
        print(f"\n{metric}\n\n{_comparison(rows, metric)}")
    if args.plot is not None:
        _draw(rows, args.plot)
    return 0


def _compare(
    videos: Sequence[list[Instances]], damage: str, trackers: dict[str, Callable[[], Any]]
) -> dict[str, dict[str, float]]:
    """Mean metrics by tracker; the damage of each video has its number as seed."""
    runs = [
        Run(video, DAMAGE[damage](list(video), np.random.default_rng(seed)))
        for seed, video in enumerate(videos)
    ]
    return {name: _mean([run.score(make()) for run in runs]) for name, make in trackers.items()}


def _true_instances(data: Any) -> list[Instances]:
    """Of each frame the true objects, with their number as track id."""
    video = data.videos[0]
    frames = []
    for frame in range(len(video.file_names)):
        size = (video.height, video.width)
        shapes = [(n, t.label, t.shapes[frame]) for n, t in enumerate(video.tracks)]
        there = [
            (n, label, coco_mask.decode(region(shape, size)))
            for n, label, shape in shapes
            if shape is not None and shape.area
        ]
        crops = [_crop(mask) for _, _, mask in there]
        frames.append(
            sm.Instances(
                boxes=np.array(
                    [(x, y, x + b.shape[1], y + b.shape[0]) for x, y, b in crops], np.float32
                ).reshape(-1, 4),
                scores=np.full(len(there), 0.9, np.float32),
                labels=np.array([label for _, label, _ in there], np.int64),
                mask_crops=crops,
                image_size=size,
                track_ids=np.array([n for n, _, _ in there], np.int64),
            )
        )
    return frames


def _crop(mask: Any) -> sm.MaskCrop:
    x, y, w, h = cv2.boundingRect(mask)
    return sm.MaskCrop(x, y, mask[y : y + h, x : x + w].astype(bool))


class Run:
    """The frames of one video that a tracker gets to see, and what is to be seen in them.

    Masks are encoded once for all trackers. What a tracker does not see is not asked of it either.
    """

    def __init__(self, truth: Sequence[Instances], frames: Frames) -> None:
        pairs = zip(truth, frames, strict=True)
        shown = [(n, true, frame) for n, (true, frame) in enumerate(pairs) if frame is not None]
        self._frames = [(n / FPS, frame, frame.to_rle()) for n, _, frame in shown]
        self._truth = [_tracked(true, true.to_rle()) for _, true, _ in shown]

    def score(self, tracker: Any) -> dict[str, float]:
        """Metrics, and the median time of an update in ms; the stamps tell of gaps."""
        found, seconds = [], []
        for stamp, frame, masks in self._frames:
            began = perf_counter()
            tracked = tracker.update(frame, stamp)
            seconds.append(perf_counter() - began)
            found.append(_tracked(tracked, masks))
        metrics = count_tracks(self._truth, found).metrics()
        return {**metrics, "ms": 1e3 * float(np.median(seconds))}


def _tracked(frame: Instances, masks: list[dict[str, Any]]) -> TrackedFrame:
    visible = np.array([crop.bitmap.any() for crop in frame.mask_crops], bool)
    tracked = np.flatnonzero(visible & (frame.track_ids != UNTRACKED))
    # The authors' association can give an id twice in a frame; the later one counts.
    last = {int(frame.track_ids[index]): int(index) for index in tracked}
    return TrackedFrame(list(last), [masks[index] for index in last.values()])


def _score_model(
    model: sm.SipMask,
    images: list[Any],
    people: list[Instances],
    trackers: dict[str, Callable[[], Any]],
) -> Rows:
    """Rows for what the model finds and, if it has a track branch, for true people as it sees them.

    Every 3rd and every 10th frame are the means over all first frames.
    """
    predictor = sm.Predictor(model, device="cpu", precision="fp32", score_threshold=0.3)
    found = [predictor(image) for image in images]
    runs = {"people by the model": (found, 1), "the same, every 3rd frame": (found, 3)}
    if model.preset.embedding_channels:
        trackers = EMBEDDING_TRACKERS | trackers
        known = [_with_embeddings(predictor, *pair) for pair in zip(images, people, strict=True)]
        runs["true people, every 10th frame"] = (known, 10)
    return {
        name: {
            tracker: _mean(
                [Run(people, every(n, first)(list(seen), None)).score(make()) for first in range(n)]
            )
            for tracker, make in trackers.items()
        }
        for name, (seen, n) in runs.items()
    }


def _with_embeddings(predictor: sm.Predictor, image: Any, people: Instances) -> Instances:
    """Return true objects with the model's embeddings at their places."""
    prepared = predictor.prepare(image)
    features = predictor.forward(prepared).track_features
    assert features is not None
    boxes = torch.from_numpy(people.boxes * np.array([*prepared.scale] * 2, np.float32))
    return replace(people, embeddings=embeddings_at(features[0], boxes).numpy())


def _mean(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: mean(run[name] for run in runs) for name in runs[0]}


def _table(rows: Rows) -> str:
    lines = [
        f"| fed with | tracker | {' | '.join(SHOWN).replace('id_', 'id ')} | ms a frame |",
        f"|---|---|{'---|' * (len(SHOWN) + 1)}",
    ]
    for name, trackers in rows.items():
        for tracker, result in trackers.items():
            rates = [f"{result[m]:.3f}" for m in SHOWN[:-1]]
            switches = f"{result['id_switches']:.1f}".removesuffix(".0")
            cells = [name, tracker, *rates, switches, f"{result['ms']:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _comparison(rows: Rows, metric: str) -> str:
    """Return a table, a column for each tracker; the best rate or switches of a row are bold."""
    names = list(next(iter(rows.values())))
    lines = [f"| fed with | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    digits = {"id_switches": 1, "ms": 2}.get(metric, 3)
    best = {"id_switches": min, "ms": None}.get(metric, max)
    for fed, trackers in rows.items():
        values = [round(trackers[name][metric], digits) for name in names]
        cells = [
            f"**{value:.{digits}f}**" if best and value == best(values) else f"{value:.{digits}f}"
            for value in values
        ]
        lines.append(f"| {fed} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _draw(rows: Rows, path: Path) -> None:
    """Draw a dot for each tracker; the online tracker's are joined by a line."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Room for a legend above, which Matplotlib leaves by itself only from 3.7 on.
    figure = Figure(figsize=(13, 7), layout=ConstrainedLayoutEngine(rect=(0, 0, 1, 0.94)))
    panels = (("HOTA", "HOTA, %", 100), ("AssA", "AssA, %", 100), ("id_switches", "id switches", 1))
    markers = dict(zip(next(iter(rows.values())), "oDs+^v<>Xp", strict=False))
    places = np.arange(len(rows))
    for axes, (metric, title, scale) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        for number, (name, marker) in enumerate(markers.items()):
            ours = name.startswith("online")
            axes.plot(
                [scale * trackers[name][metric] for trackers in rows.values()],
                # Side by side, for many have the same value.
                places + 0.6 * (number / (len(markers) - 1) - 0.5),
                marker=marker,
                markersize=8 if ours else 6,
                linestyle="-" if name == "online" else "",
                linewidth=0.8,
                color=f"C{number}",
                alpha=1 if ours else 0.8,
                label=name,
            )
        for place in places[:-1]:
            axes.axhline(place + 0.5, color="0.9", linewidth=0.8)
        axes.set_yticks(places, list(rows))
        axes.set_xlabel(title)
        axes.grid(axis="x", alpha=0.3)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=len(markers))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())

"""How well the online tracker holds ids on a video with true masks: a table and a plot.

The tracker is fed with what the model sees, and with the true masks, whole and damaged: frames and
detections left out, boxes and masks displaced, false alarms. Random damage is averaged over seeds,
and so are made-up videos of shapes that hide each other.

  python docs/tracking_report.py --annotations ytvis_schoolgirls.json --images JPEGImages \\
      --plot docs/tracking.png

With a --checkpoint that has a track branch, its embeddings are put to the test as well.
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
from made_up_video import made_up_video
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

import sipmask_core as sm
from sipmask_core.data.document import merged_rle
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.evaluation.track_metrics import TrackedFrame, count_tracks
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.instances import UNTRACKED
from sipmask_core.model.outputs import embeddings_at
from sipmask_core.tracking.online import OnlineTracker, TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sipmask_core.instances import Instances

SHOWN = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "id_switches")
FPS = 30


class PlainIoU:
    """The baseline: boxes of one class that overlap by 0.3 from frame to frame are one object.

    A track that is not seen for 15 frames ends.
    """

    def __init__(self) -> None:
        self._tracks: list[tuple[int, Any, int, int]] = []  # id, box, label, frame
        self._frame = 0
        self._next_id = 0

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """The instances with track ids."""
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


TRACKERS: dict[str, Callable[[], Any]] = {
    "online": lambda: OnlineTracker(TrackerSettings(embedding_weight=0)),
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

# How the true masks are damaged: a function of the frames and a random generator. What a tracker
# does not get to see is not asked of it either.
Frames = list["Instances | None"]


def _every(n: int, first: int = 0) -> Callable[[Frames, Any], Frames]:
    return lambda frames, rng: [f if i % n == first else None for i, f in enumerate(frames)]


def _dropped(share: float) -> Callable[[Frames, Any], Frames]:
    return lambda frames, rng: [f and f[rng.random(len(f)) >= share] for f in frames]


def _jittered(share: float) -> Callable[[Frames, Any], Frames]:
    """Boxes, with their masks, are displaced; a standard deviation of that share of their sides."""

    def moved(instances: Instances, rng: Any) -> Instances:
        sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
        shift = np.rint(rng.normal(0, share, sides.shape) * sides).astype(int)
        size = instances.image_size
        crops = [_move(c, s, size) for c, s in zip(instances.mask_crops, shift, strict=True)]
        boxes = instances.boxes + np.tile(shift, 2).astype(np.float32)
        return replace(instances, boxes=boxes, mask_crops=crops)

    return lambda frames, rng: [f and moved(f, rng) for f in frames]


def _move(crop: sm.MaskCrop, shift: Any, image_size: tuple[int, int]) -> sm.MaskCrop:
    x, y = crop.x + int(shift[0]), crop.y + int(shift[1])
    inside = crop.bitmap[max(0, -y) : image_size[0] - y, max(0, -x) : image_size[1] - x]
    return sm.MaskCrop(max(0, x), max(0, y), inside)


def _with_false_alarms(per_frame: float) -> Callable[[Frames, Any], Frames]:
    """Masks of true objects at places of chance, with scores between 0.3 and 0.9."""

    def added(instances: Instances, rng: Any) -> Instances:
        number = rng.poisson(per_frame) if len(instances) else 0
        chosen = instances[rng.integers(0, max(1, len(instances)), number)]
        height, width = instances.image_size
        crops, boxes = [], []
        for crop in chosen.mask_crops:
            h, w = crop.bitmap.shape
            x, y = (int(rng.integers(0, max(1, room))) for room in (width - w, height - h))
            crops.append(sm.MaskCrop(x, y, crop.bitmap))
            boxes.append((x, y, x + w, y + h))
        return sm.Instances(
            boxes=np.concatenate([instances.boxes, np.array(boxes, np.float32).reshape(-1, 4)]),
            scores=np.concatenate(
                [instances.scores, rng.uniform(0.3, 0.9, number).astype(np.float32)]
            ),
            labels=np.concatenate([instances.labels, chosen.labels]),
            mask_crops=[*instances.mask_crops, *crops],
            image_size=instances.image_size,
        )

    return lambda frames, rng: [f and added(f, rng) for f in frames]


DAMAGE: dict[str, Callable[[Frames, Any], Frames]] = {
    "true masks": _every(1),
    "every 2nd frame": _every(2),
    "every 3rd frame": _every(3),
    "every 5th frame": _every(5),
    "every 8th frame": _every(8),
    "20 % of detections left out": _dropped(0.2),
    "40 % of detections left out": _dropped(0.4),
    "displaced by 5 % of their size": _jittered(0.05),
    "displaced by 10 % of their size": _jittered(0.1),
    "2 false alarms a frame": _with_false_alarms(2),
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
    """Print the table and, where asked, draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="YouTube-VIS JSON; its first video is used")
    add("--images", type=Path, required=True, help="folder of its frames")
    add("--plot", type=Path, help="PNG to draw the comparison into")
    add("--seeds", type=int, default=5, help="runs of each random damage, and made-up videos")
    add("--checkpoint", type=Path, help="the model to track with, by default the one that ships")
    add("--no-model", action="store_true", help="only the true masks")
    args = parser.parse_args()
    data = read_videos(args.annotations)
    truth = _true_instances(data)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    if not args.no_model:
        person = data.class_names.index("person")
        people = [frame[frame.labels == person] for frame in truth]
        images = [cv2.imread(str(args.images / name)) for name in data.videos[0].file_names]
        model = sm.load_model(args.checkpoint or PRETRAINED)
        rows |= _score_model(model, images, people)
    for name, damage in DAMAGE.items():
        seeds = range(args.seeds if name in RANDOM else 1)
        runs = [damage(list(truth), np.random.default_rng(seed)) for seed in seeds]
        rows[name] = {
            tracker: _mean([_score(truth, run, make()) for run in runs])
            for tracker, make in TRACKERS.items()
        }
    videos = [made_up_video(seed) for seed in range(args.seeds)]
    for name in MADE_UP:
        runs = [DAMAGE[name](list(v), np.random.default_rng(n)) for n, v in enumerate(videos)]
        rows[f"made-up shapes, {name}"] = {
            tracker: _mean([_score(*pair, make()) for pair in zip(videos, runs, strict=True)])
            for tracker, make in TRACKERS.items()
        }
    print(_table(rows))
    if args.plot is not None:
        _draw(rows, args.plot)
    return 0


def _true_instances(data: Any) -> list[Instances]:
    """Of each frame the true objects, with their number as track id."""
    video = data.videos[0]
    frames = []
    for frame in range(len(video.file_names)):
        size = (video.height, video.width)
        shapes = [(n, t.label, t.shapes[frame]) for n, t in enumerate(video.tracks)]
        there = [
            (n, label, coco_mask.decode(merged_rle(shape.segmentation, size)))
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


def _tracked(frame: Instances) -> TrackedFrame:
    visible = np.array([crop.bitmap.any() for crop in frame.mask_crops], bool)
    tracked = np.flatnonzero(visible & (frame.track_ids != UNTRACKED))
    # The authors' association can give an id twice in a frame; the later one counts.
    last = {int(frame.track_ids[index]): index for index in tracked}
    chosen = frame[np.array(list(last.values()), np.int64)]
    return TrackedFrame(chosen.track_ids.tolist(), chosen.to_rle())


def _score(truth: Sequence[Instances], frames: Frames, tracker: Any) -> dict[str, float]:
    """Metrics of one run over the frames that the tracker gets to see; its stamps tell of gaps."""
    expected, found, seconds = [], [], []
    for number, (true, frame) in enumerate(zip(truth, frames, strict=True)):
        if frame is None:
            continue
        began = perf_counter()
        tracked = tracker.update(frame, number / FPS)
        seconds.append(perf_counter() - began)
        expected.append(_tracked(true))
        found.append(_tracked(tracked))
    metrics = count_tracks(expected, found).metrics()
    return {**metrics, "ms": 1e3 * float(np.median(seconds))}


def _score_model(
    model: sm.SipMask, images: list[Any], people: list[Instances]
) -> dict[str, dict[str, dict[str, float]]]:
    """Rows for what the model finds and, if it has a track branch, for true people as it sees them.

    Every 3rd and every 10th frame are the means over all first frames.
    """
    predictor = sm.Predictor(model, device="cpu", precision="fp32", score_threshold=0.3)
    found = [predictor(image) for image in images]
    runs = {"people by the model": (found, 1), "the same, every 3rd frame": (found, 3)}
    trackers = TRACKERS
    if model.preset.embedding_channels:
        trackers = EMBEDDING_TRACKERS | TRACKERS
        known = [_with_embeddings(predictor, *pair) for pair in zip(images, people, strict=True)]
        runs["true people, every 10th frame"] = (known, 10)
    return {
        name: {
            tracker: _mean(
                [_score(people, _every(n, first)(list(seen), None), make()) for first in range(n)]
            )
            for tracker, make in trackers.items()
        }
        for name, (seen, n) in runs.items()
    }


def _with_embeddings(predictor: sm.Predictor, image: Any, people: Instances) -> Instances:
    """True objects with the model's embeddings at their places."""
    prepared = predictor.prepare(image)
    features = predictor.forward(prepared).track_features
    assert features is not None
    boxes = torch.from_numpy(people.boxes * np.float32([*prepared.scale, *prepared.scale]))
    return replace(people, embeddings=embeddings_at(features[0], boxes).numpy())


def _mean(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: mean(run[name] for run in runs) for name in runs[0]}


def _table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
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


def _draw(rows: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = (("AssA", "association (AssA), %", 100), ("id_switches", "id switches", 1))
    names = [*TRACKERS, *EMBEDDING_TRACKERS]
    for axes, (metric, title, scale) in zip(
        figure.subplots(1, 2, sharey=True), panels, strict=True
    ):
        for number, trackers in enumerate(rows.values()):
            shown = [name for name in names if name in trackers]
            for place, name in enumerate(shown):
                axes.barh(
                    number + 0.17 * (place - (len(shown) - 1) / 2),
                    scale * trackers[name][metric],
                    height=0.15,
                    color=f"C{names.index(name)}",
                    label=name if trackers is next(iter(rows.values())) else None,
                )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_xlabel(title)
        axes.grid(axis="x", alpha=0.3)
    axes.legend()
    axes.invert_yaxis()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())

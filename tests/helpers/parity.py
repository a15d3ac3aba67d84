"""How far the predictor is from the authors' code, measured on their golden outputs.

`python tests/helpers/parity.py` prints the table of docs/models.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from official import OFFICIAL, Reference, read_reference, reference_model
from pycocotools import mask as coco_mask

import sipmask_core as sm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sipmask_core.model.inputs import NetworkInput
    from sipmask_core.model.outputs import HeadOutputs

HEAD_TENSORS = {
    "cls": "class_logits",
    "reg": "distances",
    "ctr": "centerness",
    "cof": "coefficients",
}


class Differences(NamedTuple):
    """The largest differences of one configuration on one image, or on one frame of a video.

    raw: of any raw head output, relative to that tensor's largest value. unmatched: detections
    that only one side has; in a video, those that only one side has under that track id. box:
    pixels. mask_iou: the lowest.
    """

    raw: float
    detections: int
    unmatched: int
    box: float
    score: float
    mask_score: float
    mask_iou: float


def measure(file: Path) -> Differences:
    """Run the configuration of a golden file through the public predictor."""
    reference = read_reference(file)
    record = reference.record
    predictor = _WatchedPredictor(
        reference_model(record["config"], record["seed"], record["cls_bias"]),
        device="cpu",
        precision="fp32",
    )
    image = np.asarray(cv2.imread(str(OFFICIAL / "images" / f"{record['image']}.jpg")))
    instances = predictor(image)
    raw = _largest_difference(
        reference, {"input": predictor.network_input, **_named(predictor.raw, "head_")}
    )
    results = record["results"] if "results" in record else _benchmark_results(reference)
    return _detection_differences(raw, instances, results)


def _benchmark_results(reference: Reference) -> dict[str, dict]:
    """Return the detections of a maskrcnn-benchmark golden file, by class as in other files."""
    arrays = reference.arrays
    boxes = np.column_stack((arrays["det_bboxes_orig_scale"], arrays["scores"])).tolist()
    results: dict[str, dict] = {}
    for label, box, rle in zip(
        arrays["labels_1based"] - 1, boxes, reference.record["rles"], strict=True
    ):
        found = results.setdefault(str(label), {"bboxes": [], "rles": []})
        found["bboxes"].append(box)
        found["rles"].append(rle)
    return results


def _named(raw: HeadOutputs, prefix: str) -> dict[str, torch.Tensor]:
    """Return raw outputs by the names of the golden files."""
    tensors = {f"{prefix}basis": raw.basis}
    for short, field in HEAD_TENSORS.items():
        tensors |= {f"{prefix}{short}_{i}": x for i, x in enumerate(getattr(raw, field))}
    if raw.track_features is not None:
        tensors[f"{prefix}track"] = raw.track_features
    return tensors


def _largest_difference(reference: Reference, tensors: dict[str, torch.Tensor]) -> float:
    largest = 0.0
    for name, tensor in tensors.items():
        assert list(tensor.shape) == reference.record["stats"][name]["shape"], name
        actual, expected = reference.sampled(name, tensor)
        largest = max(largest, float(np.abs(actual - expected).max() / np.abs(expected).max()))
    return largest


class Frame(NamedTuple):
    """One frame of a video: what the tracker made of it, and how far it is from the original."""

    clip: str
    instances: sm.Instances
    expected_ids: list[int]
    differences: Differences


def track_clips(file: Path) -> Iterator[Frame]:
    """Run the configuration of a golden file over its videos; yield each frame."""
    reference = read_reference(file)
    record = reference.record
    predictor = _WatchedPredictor(
        reference_model(record["config"], record["seed"], record["cls_bias"]),
        device="cpu",
        precision="fp32",
    )
    folder = OFFICIAL / "golden" / "inputs" / "vis"
    golden = enumerate(record["frames"])
    for video in json.loads((folder / "videos.json").read_text())["videos"]:
        images = [np.asarray(cv2.imread(str(folder / name))) for name in video["file_names"]]
        for instances in predictor.track(images):
            number, frame = next(golden)
            raw = _largest_difference(reference, _named(predictor.raw, f"f{number}/"))
            objects = {
                str(found["obj_id"]): {"bboxes": [found["bbox"]], "rles": [found["rle"]]}
                for found in frame["objects"]
            }
            yield Frame(
                video["clip"],
                instances,
                reference.arrays[f"f{number}/det_obj_ids"].tolist(),
                _detection_differences(raw, _by_track(instances), objects),
            )


class _WatchedPredictor(sm.Predictor):
    """Keeps what went into and came out of the network with the latest image."""

    network_input: torch.Tensor
    raw: HeadOutputs

    def forward(self, prepared: NetworkInput) -> HeadOutputs:
        pixels = torch.from_numpy(prepared.pixels)[None]
        self.network_input = self._normalise(pixels, prepared.size, torch.float32)
        self.raw = super().forward(prepared)
        return self.raw


def _by_track(instances: sm.Instances) -> sm.Instances:
    """Return the last detection of each track id in a frame, with the id for a class."""
    last = {track_id: i for i, track_id in enumerate(instances.track_ids.tolist())}
    last.pop(-1, None)
    kept = instances[sorted(last.values())]
    return replace(kept, labels=kept.track_ids)


def _detection_differences(
    raw: float, instances: sm.Instances, results: dict[str, dict]
) -> Differences:
    """Match each golden detection with ours of the same class and nearest box."""
    rles = instances.to_rle()
    free = {
        label: list(np.flatnonzero(instances.labels == label)) for label in set(instances.labels)
    }
    unmatched, box_difference, score_difference, mask_score_difference = 0, 0.0, 0.0, 0.0
    lowest_iou = 1.0
    for label, found in results.items():
        mask_scores = found.get("mask_scores", [box[4] for box in found["bboxes"]])
        for (*box, score), rle, mask_score in zip(
            found["bboxes"], found["rles"], mask_scores, strict=True
        ):
            indices = free.get(int(label), [])
            if not indices:
                unmatched += 1
                continue
            distances = [float(np.abs(instances.boxes[i] - box).max()) for i in indices]
            i = indices.pop(int(np.argmin(distances)))
            box_difference = max(box_difference, min(distances))
            score_difference = max(score_difference, abs(float(instances.scores[i]) - score))
            mask_score_difference = max(
                mask_score_difference, abs(float(instances.mask_scores[i]) - mask_score)
            )
            if not coco_mask.area(rles[i]) == coco_mask.area(rle) == 0:
                lowest_iou = min(lowest_iou, float(coco_mask.iou([rles[i]], [rle], [0])[0, 0]))
    unmatched += sum(len(indices) for indices in free.values())
    return Differences(
        raw,
        len(instances),
        unmatched,
        box_difference,
        score_difference,
        mask_score_difference,
        lowest_iou,
    )


def main() -> None:
    """Print a Markdown table, one row per image or video."""
    print("| preset | image | raw outputs | detections | box, px | score | mask score | mask IoU |")
    print("|---|---|---|---|---|---|---|---|")
    for file in (
        *sorted((OFFICIAL / "golden").glob("sipmask*.json")),
        *sorted((OFFICIAL / "golden").glob("benchmark*.json")),
    ):
        config, _, rest = file.stem.rpartition("_seed")
        _print_row(config, rest.partition("_")[2], measure(file))
    for file in sorted((OFFICIAL / "golden").glob("vis*_clips.json")):
        config, _, _ = file.stem.rpartition("_seed")
        for clip, frames in groupby(track_clips(file), key=lambda frame: frame.clip):
            _print_row(config, f"clip {clip}", _worst([f.differences for f in frames]))


def _worst(frames: list[Differences]) -> Differences:
    """Return the differences of a video: counts summed, all else at its worst."""
    return Differences(
        raw=max(d.raw for d in frames),
        detections=sum(d.detections for d in frames),
        unmatched=sum(d.unmatched for d in frames),
        box=max(d.box for d in frames),
        score=max(d.score for d in frames),
        mask_score=max(d.mask_score for d in frames),
        mask_iou=min(d.mask_iou for d in frames),
    )


def _print_row(config: str, name: str, d: Differences) -> None:
    print(
        f"| `{config}` | {name} | {d.raw:.1e} | {d.detections}"
        f"{f' ({d.unmatched} unmatched)' if d.unmatched else ''} | {d.box:.1e} | {d.score:.1e} "
        f"| {d.mask_score:.1e} | {d.mask_iou:.5f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""How far the predictor is from the authors' code, measured on their golden outputs.

`python tests/parity.py` prints the table of docs/models.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from official import OFFICIAL, Reference, read_reference, reference_model
from pycocotools import mask as coco_mask

import sipmask_core as sm

if TYPE_CHECKING:
    from pathlib import Path

HEAD_TENSORS = {
    "cls": "class_logits",
    "reg": "distances",
    "ctr": "centerness",
    "cof": "coefficients",
}


class Differences(NamedTuple):
    """The largest differences of one configuration on one image.

    raw: of any raw head output, relative to that tensor's largest value. unmatched: detections
    that only one side has. box: pixels. mask_iou: the lowest.
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
    model = reference_model(record["config"], record["seed"], record["cls_bias"])
    predictor = sm.Predictor(model, device="cpu", precision="fp32")
    image = cv2.imread(str(OFFICIAL / "images" / f"{record['image']}.jpg"))
    raw = _raw_difference(reference, model, predictor, np.asarray(image))
    results = record["results"] if "results" in record else _benchmark_results(reference)
    return _detection_differences(raw, predictor(np.asarray(image)), results)


def _benchmark_results(reference: Reference) -> dict[str, dict]:
    """The detections of a golden file of maskrcnn-benchmark, by class as the others have them."""
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


def _raw_difference(
    reference: Reference, model: sm.SipMask, predictor: sm.Predictor, image: np.ndarray
) -> float:
    prepared = predictor.prepare(image)
    with torch.inference_mode():
        pixels = torch.from_numpy(prepared.pixels)[None]
        network_input = predictor._normalise(pixels, prepared.size, torch.float32)
        raw = model(network_input)
    tensors = {"input": network_input, "head_basis": raw.basis}
    for short, field in HEAD_TENSORS.items():
        tensors |= {f"head_{short}_{i}": x for i, x in enumerate(getattr(raw, field))}
    largest = 0.0
    for name, tensor in tensors.items():
        assert list(tensor.shape) == reference.record["stats"][name]["shape"], name
        actual, expected = reference.sampled(name, tensor)
        largest = max(largest, float(np.abs(actual - expected).max() / np.abs(expected).max()))
    return largest


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
    """Print a Markdown table, one row per golden file."""
    print("| preset | image | raw outputs | detections | box, px | score | mask score | mask IoU |")
    print("|---|---|---|---|---|---|---|---|")
    for file in (
        *sorted((OFFICIAL / "golden").glob("sipmask*.json")),
        *sorted((OFFICIAL / "golden").glob("benchmark_*.json")),
    ):
        d = measure(file)
        config, _, rest = file.stem.rpartition("_seed")
        print(
            f"| `{config}` | {rest.partition('_')[2]} | {d.raw:.1e} | {d.detections}"
            f"{f' ({d.unmatched} unmatched)' if d.unmatched else ''} | {d.box:.1e} | {d.score:.1e} "
            f"| {d.mask_score:.1e} | {d.mask_iou:.5f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

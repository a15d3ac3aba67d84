"""From raw head outputs of one image to detections: decode, top-k, NMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from sipmask_core.model.head import STRIDES, TRACK_STRIDE, HeadOutputs

if TYPE_CHECKING:
    from sipmask_core.presets import Preset

FAST_NMS_PER_CLASS = 200


class Candidates(NamedTuple):
    """Locations worth a look in one image.

    boxes: (M, 4) x0 y0 x1 y1; class_scores: (M, classes) and centerness: (M,)
    in [0, 1]; coefficients: (M, cells * num_bases).
    """

    boxes: Tensor
    class_scores: Tensor
    centerness: Tensor
    coefficients: Tensor


class Detections(NamedTuple):
    """Objects of one image, by falling score: boxes (N, 4), scores (N,), labels (N,) 0-based and
    coefficients (N, cells * num_bases)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    coefficients: Tensor


def locations(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Centres of the cells of one level, row by row: (height * width, 2) x, y in pixels."""
    y = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    x = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((xx, yy), dim=-1).view(-1, 2)


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """(M, 2) x, y and (M, 4) left top right bottom -> boxes (M, 4) x0 y0 x1 y1."""
    return torch.cat((points - distances[:, :2], points + distances[:, 2:]), dim=1)


def embeddings_at(track_features: Tensor, boxes: Tensor) -> Tensor:
    """What the track branch says at the centres of boxes, in the first or last cell for a centre
    off the map: (C, H / 8, W / 8) and (N, 4) in network pixels -> (N, C) float32."""
    height, width = track_features.shape[-2:]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    x, y = (centre / TRACK_STRIDE).floor().long().unbind(1)
    return track_features[:, y.clamp(0, height - 1), x.clamp(0, width - 1)].t().float()


def select_candidates(
    outputs: HeadOutputs, image: int, limit: tuple[float, float], per_level: int
) -> Candidates:
    """The best locations of each level of one image of the batch, boxes clipped to `limit` (y, x).

    A level with more than `per_level` locations keeps those of highest class score x centerness.
    """
    levels = []
    for level, stride in enumerate(STRIDES):
        logits = outputs.class_logits[level][image]  # (classes, H, W)
        height, width = logits.shape[-2:]
        scores = logits.flatten(1).t().float().sigmoid()  # (HW, classes)
        centerness = outputs.centerness[level][image].flatten().float().sigmoid()  # (HW,)
        distances = outputs.distances[level][image].flatten(1).t().float()  # (HW, 4)
        coefficients = outputs.coefficients[level][image].flatten(1).t()  # (HW, cells * bases)
        points = locations(height, width, stride, logits.device)
        if len(points) > per_level:
            keep = (scores.amax(dim=1) * centerness).topk(per_level).indices
            scores, centerness, distances = scores[keep], centerness[keep], distances[keep]
            coefficients, points = coefficients[keep], points[keep]
        boxes = distances_to_boxes(points, distances)
        boxes[:, 0::2].clamp_(0, limit[1])
        boxes[:, 1::2].clamp_(0, limit[0])
        levels.append(Candidates(boxes, scores, centerness, coefficients.float()))
    return Candidates(*(torch.cat(parts) for parts in zip(*levels, strict=True)))


def detect(candidates: Candidates, preset: Preset, score_threshold: float) -> Detections:
    """Threshold, NMS and top-k, by the rules of the preset."""
    if preset.nms == "fast":
        suppress = _fast_nms
    else:
        suppress = _authors_greedy_nms if preset.authors else _greedy_nms
    location, labels, scores = suppress(candidates, preset, score_threshold)
    scores, order = scores.sort(descending=True, stable=True)
    order = order[: preset.max_detections]
    location = location[order]
    return Detections(
        candidates.boxes[location],
        scores[: preset.max_detections],
        labels[order],
        candidates.coefficients[location],
    )


def _greedy_nms(
    candidates: Candidates, preset: Preset, score_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy NMS class by class: (location, label, score) of the survivors."""
    scores = candidates.class_scores * candidates.centerness[:, None]  # (M, classes)
    location, labels = (scores > score_threshold).nonzero(as_tuple=True)
    found = scores[location, labels]
    keep = batched_nms(candidates.boxes[location], found, labels, preset.nms_threshold)
    return location[keep], labels[keep], found[keep]


def _authors_greedy_nms(
    candidates: Candidates, preset: Preset, score_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy NMS as the authors have it: (location, label, score) of the survivors.

    The threshold is on the class score alone, before centerness lowers it, and boxes are measured
    with inclusive pixels; boxes that are one pixel longer have the same IoU in plain arithmetic.
    """
    scores = candidates.class_scores * candidates.centerness[:, None]  # (M, classes)
    above = candidates.class_scores > score_threshold  # (M, classes)
    boxes = candidates.boxes + candidates.boxes.new_tensor([0, 0, 1, 1])
    none = torch.zeros(0, dtype=torch.long, device=scores.device)
    kept = [(none, none, scores.new_zeros(0))]
    for label in above.any(dim=0).nonzero()[:, 0]:
        location = above[:, label].nonzero()[:, 0]
        location = location[nms(boxes[location], scores[location, label], preset.nms_threshold)]
        kept.append((location, label.expand(len(location)), scores[location, label]))
    location, labels, found = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return location, labels, found


def _fast_nms(
    candidates: Candidates, preset: Preset, score_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS (Bolya et al., "YOLACT", ICCV 2019): (location, label, score) of the survivors.

    One matrix operation for all classes; a suppressed box, or one under the threshold, still
    suppresses others.
    """
    scores = (candidates.class_scores * candidates.centerness[:, None]).t()  # (classes, M)
    scores, order = scores.sort(dim=1, descending=True)
    scores, order = scores[:, :FAST_NMS_PER_CLASS], order[:, :FAST_NMS_PER_CLASS]
    boxes = candidates.boxes[order]  # (classes, K, 4)
    overlap = torch.stack([box_iou(b, b) for b in boxes]).triu_(diagonal=1)  # (classes, K, K)
    keep = (overlap.amax(dim=1) <= preset.nms_threshold) & (scores > score_threshold)
    labels = torch.arange(len(scores), device=scores.device)[:, None].expand_as(order)
    return order[keep], labels[keep], scores[keep]

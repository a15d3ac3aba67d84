"""From raw head outputs of one image to detections: decode, top-k, NMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from sipmask_core.model.head import STRIDES, TRACK_STRIDE, HeadOutputs

if TYPE_CHECKING:
    from sipmask_core.preprocess import NetworkInput
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


def find_objects(
    outputs: HeadOutputs, prepared: NetworkInput, preset: Preset, score_threshold: float | None
) -> Detections:
    """The objects of the first image of the batch, boxes in pixels of the image before its resize.

    score_threshold: lowest score to report; where None, the preset's own rule, which for the
    authors' accurate presets is on the class score alone, so that scores can be lower.
    """
    threshold = preset.score_threshold if score_threshold is None else score_threshold
    edge = 1 if preset.authors else 0
    limit = (prepared.size[0] - edge, prepared.size[1] - edge)
    scale = outputs.distances[0].new_tensor([*prepared.scale, *prepared.scale])  # (4,)
    if preset.nms == "pairs":
        found = detect_pairs(outputs, 0, limit, preset, threshold)
        found = found._replace(boxes=found.boxes / scale)
    else:
        candidates = select_candidates(outputs, 0, limit, preset.candidates_per_level)
        # The authors suppress in the coordinates of the original image.
        candidates = candidates._replace(boxes=candidates.boxes / scale)
        found = detect(candidates, preset, threshold)
    if score_threshold is None:
        return found
    above = found.scores >= score_threshold
    return Detections(*(values[above] for values in found))


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
    for level in range(len(STRIDES)):
        scores, centerness = _scores(outputs, image, level)
        keep: Tensor | slice = slice(None)
        if len(scores) > per_level:
            keep = (scores.amax(dim=1) * centerness).topk(per_level).indices
        boxes, coefficients = _boxes_at(outputs, image, level, keep, limit)
        levels.append(Candidates(boxes, scores[keep], centerness[keep], coefficients))
    return Candidates(*(torch.cat(parts) for parts in zip(*levels, strict=True)))


def _scores(outputs: HeadOutputs, image: int, level: int) -> tuple[Tensor, Tensor]:
    """Class scores (H_l * W_l, classes) and centerness (H_l * W_l,) of one level."""
    scores = outputs.class_logits[level][image].flatten(1).t().float().sigmoid()
    centerness = outputs.centerness[level][image].flatten().float().sigmoid()
    return scores, centerness


def _boxes_at(
    outputs: HeadOutputs, image: int, level: int, where: Tensor | slice, limit: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Boxes (M, 4), clipped to `limit` (y, x), and coefficients (M, cells * num_bases)."""
    distances = outputs.distances[level][image]  # (4, H, W)
    height, width = distances.shape[-2:]
    points = locations(height, width, STRIDES[level], distances.device)[where]
    boxes = distances_to_boxes(points, distances.flatten(1).t().float()[where])
    boxes[:, 0::2].clamp_(0, limit[1])
    boxes[:, 1::2].clamp_(0, limit[0])
    coefficients = outputs.coefficients[level][image].flatten(1).t()[where]
    return boxes, coefficients.float()


def detect_pairs(
    outputs: HeadOutputs,
    image: int,
    limit: tuple[float, float],
    preset: Preset,
    score_threshold: float,
) -> Detections:
    """The objects of one image, by the rule of the authors' maskrcnn-benchmark code.

    Candidates are pairs of a location and a class: of each level, the best `candidates_per_level`
    whose class score is above the threshold. Scores are the geometric mean of class score and
    centerness. Pairs that score as high as the last one allowed stay. Boxes are in pixels of the
    network input, clipped to `limit` (y, x).

    Since a pair can score higher than its class does, a `score_threshold` above the preset's does
    not apply to class scores.
    """
    threshold = min(score_threshold, preset.score_threshold)
    levels = []
    for level in range(len(STRIDES)):
        class_scores, centerness = _scores(outputs, image, level)
        where, labels = (class_scores > threshold).nonzero(as_tuple=True)
        scores = class_scores[where, labels] * centerness[where]
        if len(scores) > preset.candidates_per_level:
            scores, best = scores.topk(preset.candidates_per_level)
            where, labels = where[best], labels[best]
        boxes, coefficients = _boxes_at(outputs, image, level, where, limit)
        levels.append(Detections(boxes, scores.sqrt(), labels, coefficients))
    pairs = Detections(*(torch.cat(parts) for parts in zip(*levels, strict=True)))
    keep = _inclusive_nms(pairs.boxes, pairs.scores, pairs.labels, preset.nms_threshold)
    scores, order = pairs.scores[keep].sort(descending=True, stable=True)
    last = scores[: preset.max_detections][-1:]  # empty where nothing is found
    keep = keep[order[: int((scores >= last).sum())]]
    return Detections(*(values[keep] for values in pairs))


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
    with inclusive pixels.
    """
    location, labels = (candidates.class_scores > score_threshold).nonzero(as_tuple=True)
    scores = candidates.class_scores[location, labels] * candidates.centerness[location]
    keep = _inclusive_nms(candidates.boxes[location], scores, labels, preset.nms_threshold)
    return location[keep], labels[keep], scores[keep]


def _inclusive_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Greedy NMS class by class, boxes measured with inclusive pixels: indices of the survivors.

    Boxes that are one pixel longer have the same IoU in plain arithmetic. Classes are not moved
    apart to suppress them all at once, which would round their boxes.
    """
    longer = boxes + boxes.new_tensor([0, 0, 1, 1])
    kept = [labels.new_zeros(0)]
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        kept.append(members[nms(longer[members], scores[members], threshold)])
    return torch.cat(kept)


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

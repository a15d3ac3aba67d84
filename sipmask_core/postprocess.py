"""From raw head outputs of one image to detections: decode, top-k, NMS."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from sipmask_core.model.head import STRIDES, TRACK_STRIDE, HeadOutputs

if TYPE_CHECKING:
    from sipmask_core.preprocess import NetworkInput
    from sipmask_core.presets import Preset

FAST_NMS_PER_CLASS = 200
# Grids of locations kept: five levels of a dozen input sizes.
KEPT_GRIDS = 64


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
    return _pick(found, found.scores >= score_threshold)


@lru_cache(KEPT_GRIDS)
@torch.inference_mode(False)  # training may be the next to ask for it
def locations(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Centres of the cells of one level, row by row: (height * width, 2) x, y in pixels.

    The same tensor for every caller: not to be changed.
    """
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
    levels: list[tuple[Tensor, ...]] = []
    for level in range(len(STRIDES)):
        logits, centerness = _logits(outputs, image, level)
        where: Tensor | slice = slice(None)
        if len(logits) > per_level:
            where = (logits.amax(dim=1).sigmoid() * centerness).topk(per_level).indices
        levels.append((logits[where], centerness[where], *_raw_at(outputs, image, level, where)))
    logits, centerness, points, distances, coefficients = _concatenate(levels)
    boxes = _decode(points, distances, limit)
    return Candidates(boxes, logits.sigmoid(), centerness, coefficients)


def _logits(outputs: HeadOutputs, image: int, level: int) -> tuple[Tensor, Tensor]:
    """Class logits (H_l * W_l, classes) and centerness (H_l * W_l,) of one level."""
    logits = outputs.class_logits[level][image].flatten(1).t().float()
    return logits, outputs.centerness[level][image].flatten().float().sigmoid()


def _raw_at(
    outputs: HeadOutputs, image: int, level: int, where: Tensor | slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Points (M, 2), distances (M, 4) and coefficients (M, cells * num_bases) of a level."""
    distances = outputs.distances[level][image]  # (4, H, W)
    points = locations(*distances.shape[-2:], STRIDES[level], distances.device)
    coefficients = outputs.coefficients[level][image].flatten(1).t()
    return points[where], distances.flatten(1).t()[where], coefficients[where]


def _concatenate(levels: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*levels, strict=True))


def _decode(points: Tensor, distances: Tensor, limit: tuple[float, float]) -> Tensor:
    """Boxes (M, 4), clipped to `limit` (y, x)."""
    boxes = distances_to_boxes(points, distances.float())
    boxes[:, 0::2].clamp_(0, limit[1])
    boxes[:, 1::2].clamp_(0, limit[0])
    return boxes


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
    levels: list[tuple[Tensor, ...]] = []
    for level in range(len(STRIDES)):
        logits, centerness = _logits(outputs, image, level)
        class_scores = logits.sigmoid()
        where, labels = (class_scores > threshold).nonzero(as_tuple=True)
        scores = class_scores[where, labels] * centerness[where]
        if len(scores) > preset.candidates_per_level:
            scores, best = scores.topk(preset.candidates_per_level)
            where, labels = where[best], labels[best]
        levels.append((scores, labels, *_raw_at(outputs, image, level, where)))
    scores, labels, points, distances, coefficients = _concatenate(levels)
    pairs = Detections(_decode(points, distances, limit), scores.sqrt(), labels, coefficients)
    keep = _inclusive_nms(pairs.boxes, pairs.scores, pairs.labels, preset.nms_threshold)
    scores, order = pairs.scores[keep].sort(descending=True, stable=True)
    last = scores[: preset.max_detections][-1:]  # empty where nothing is found
    keep = keep[order[: int((scores >= last).sum())]]
    found = _pick(pairs, keep)
    return found._replace(coefficients=found.coefficients.float())


def _pick(found: Detections, keep: Tensor) -> Detections:
    return Detections(*(values[keep] for values in found))


def detect(candidates: Candidates, preset: Preset, score_threshold: float) -> Detections:
    """Threshold, NMS and top-k, by the rules of the preset."""
    scores = candidates.class_scores * candidates.centerness[:, None]  # (M, classes)
    # The authors' greedy form looks at the class score alone, before centerness lowers it.
    by_class_score = preset.authors and preset.nms == "per_class"
    compared = candidates.class_scores if by_class_score else scores
    location, labels = (compared > score_threshold).nonzero(as_tuple=True)
    boxes, scores = candidates.boxes[location], scores[location, labels]
    if preset.nms == "fast":
        keep = _fast_nms(boxes, scores, labels, preset.nms_threshold)
    elif preset.authors:
        keep = _inclusive_nms(boxes, scores, labels, preset.nms_threshold)
    else:
        keep = batched_nms(boxes, scores, labels, preset.nms_threshold)
    keep = keep[scores[keep].argsort(descending=True, stable=True)[: preset.max_detections]]
    coefficients = candidates.coefficients[location[keep]].float()
    return Detections(boxes[keep], scores[keep], labels[keep], coefficients)


def _members(labels: Tensor) -> list[Tensor]:
    """For each class that occurs, the indices of its entries in labels (N,), in their order."""
    by_class = labels.argsort(stable=True).split(labels.bincount().tolist())
    return [members for members in by_class if len(members)]


def _inclusive_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Greedy NMS class by class, boxes measured with inclusive pixels: indices of the survivors.

    Boxes that are one pixel longer have the same IoU in plain arithmetic. Classes are not moved
    apart to suppress them all at once, which would round their boxes.
    """
    longer = boxes + boxes.new_tensor([0, 0, 1, 1])
    kept = [labels.new_zeros(0)]
    for members in _members(labels):
        kept.append(members[nms(longer[members], scores[members], threshold)])
    return torch.cat(kept)


def _fast_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Fast NMS (Bolya et al., "YOLACT", ICCV 2019): indices of the survivors.

    One matrix per class instead of a loop over its boxes: a suppressed box still suppresses others.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = [labels.new_zeros(0)]
    for members in _members(labels[order]):
        best = order[members[:FAST_NMS_PER_CLASS]]
        overlap = box_iou(boxes[best], boxes[best]).triu_(diagonal=1)
        kept.append(best[overlap.amax(dim=0) <= threshold])
    return torch.cat(kept)

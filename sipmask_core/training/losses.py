"""The losses of SipMask (paper, sections 3.2 and 3.3).

Names: loss_cls (focal), loss_bbox (IoU or GIoU, weighted by centerness), loss_centerness, loss_mask
(binary cross entropy inside the predicted boxes, with mask alignment weighting); for SipMask++,
loss_iou (regression of the mask IoU); for SipMask-VIS, loss_match (which object of another frame
each object is). All have weight 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from sipmask_core.model.masks import mask_logits
from sipmask_core.model.outputs import BASIS_STRIDE, distances_to_boxes, embeddings_at
from sipmask_core.training.normaliser import Normaliser
from sipmask_core.training.targets import (
    Assignment,
    Points,
    centerness,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipmask_core.model.presets import Preset
    from sipmask_core.model.sipmask import SipMask

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
MIN_IOU = 1e-6
SCORING_WEIGHT = 10.0
SCORING_MIN_AREA = 100
SCORING_MIN_IOU = 0.1
SCORING_THRESHOLD = 0.4


def focal_loss(logits: Tensor, labels: Tensor, known: Tensor | None = None) -> Tensor:
    """Sum the sigmoid focal loss (Lin et al., ICCV 2017).

    logits: (..., classes); labels: (...) int64, 0 background, 1 + class otherwise, -1 not counted.
    known: (..., classes) bool, which of the other logits are counted; None for all.
    """
    target = F.one_hot(labels.clamp(min=0), logits.shape[-1] + 1)[..., 1:].to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = probability + target - 2 * probability * target  # 1 - probability of the truth
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    counted = (labels >= 0)[..., None]
    if known is not None:
        counted = counted & known
    return (alpha * wrong**FOCAL_GAMMA * cross_entropy * counted).sum()


def aligned_iou(a: Tensor, b: Tensor, inclusive: bool) -> Tensor:
    """Compute the IoU of boxes (P, 4) by pairs; `inclusive` counts the last pixel of each side."""
    one = 1 if inclusive else 0
    overlap = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2]) + one
    intersection = overlap.clamp(min=0).prod(dim=1)
    area_a = (a[:, 2:] - a[:, :2] + one).prod(dim=1)
    area_b = (b[:, 2:] - b[:, :2] + one).prod(dim=1)
    return intersection / (area_a + area_b - intersection)


def giou_of_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute the generalised IoU of boxes around the same locations, by pairs.

    a, b: (P, 4) left top right bottom from the location, not negative. From Rezatofighi et al.,
    CVPR 2019. As in the authors' code, 1 is added to intersection and union, not to the sides.
    """
    area_a, area_b = ((x[:, :2] + x[:, 2:]).prod(dim=1) for x in (a, b))
    inner, outer = torch.minimum(a, b), torch.maximum(a, b)
    intersection = (inner[:, :2] + inner[:, 2:]).prod(dim=1)
    enclosing = (outer[:, :2] + outer[:, 2:]).prod(dim=1) + 1e-7
    union = area_a + area_b - intersection
    return (intersection + 1) / (union + 1) - (enclosing - union) / enclosing


def box_losses(
    points: Points,
    assignments: Sequence[Assignment],
    distances: Tensor,
    center_logits: Tensor,
    preset: Preset,
    normalise: Normaliser,
) -> dict[str, Tensor]:
    """Compute loss_bbox and loss_centerness of a batch.

    distances: (N, L, 4) in pixels and center_logits: (N, L), of all locations.
    """
    images = torch.cat(
        [torch.full_like(a.positives, i) for i, a in enumerate(assignments)]
    )  # (P,) over the batch
    positives = torch.cat([a.positives for a in assignments])
    predicted, logits = distances[images, positives], center_logits[images, positives]
    target = torch.cat([a.distances for a in assignments])  # (P, 4)
    # The authors' image models measure the overlap in strides, around the location in pixels, so
    # that their inclusive "+1" is one stride.
    unit = points.stride[positives][:, None] if preset.iou_unit == "stride" else 1.0
    if preset.box_loss == "giou":
        error = 1 - giou_of_distances(predicted / unit, target / unit)
    else:
        xy = points.xy[positives]
        iou = aligned_iou(
            distances_to_boxes(xy, predicted / unit),
            distances_to_boxes(xy, target / unit),
            inclusive=preset.inclusive_boxes,
        )
        error = -iou.clamp(min=MIN_IOU).log()
    weight = centerness(target)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, weight, reduction="sum")
    return {
        "loss_bbox": normalise((error * weight).sum(), weight.sum()),
        "loss_centerness": normalise(cross_entropy, len(positives)),
    }


def image_mask_loss(
    model: SipMask,
    basis: Tensor,
    boxes: Tensor,
    objects: Tensor,
    logits: Tensor,
    coefficients: Tensor,
    target: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """Compute the mask loss of one image, and (n, 2) predicted and true mask IoU for SipMask++.

    basis: (B, H, W); the other tensors have one row per predicted box, which is in basis pixels.
    Prediction and truth are compared inside that box only; no gradient reaches the box.
    """
    if len(boxes) == 0:
        # Part of the graph, so that every image contributes a (zero) gradient.
        return basis.sum() * 0 + coefficients.sum() * 0, basis.new_zeros(0, 2)
    preset = model.preset
    labels = target["labels"][objects]
    score = logits.detach().gather(1, labels[:, None])[:, 0].sigmoid()

    weight = boxes.new_ones(len(boxes))
    if preset.mask_weighting:
        true_boxes = target["boxes"].float()[objects] / BASIS_STRIDE
        weight = score * aligned_iou(true_boxes, boxes, preset.inclusive_boxes)
        weight = weight / (weight.sum() + preset.mask_weight_eps) * len(boxes)
    if preset.duplicate_iou < 1:
        longer = boxes + boxes.new_tensor([0, 0, 1, 1])  # inclusive pixels
        single = nms(longer, score, preset.duplicate_iou)
        boxes, objects, labels, coefficients, weight = (
            values[single] for values in (boxes, objects, labels, coefficients, weight)
        )

    truth = half_size_masks(target["masks"], basis.shape[-2:])  # (n, H, W)
    predicted, inside = mask_logits(basis, coefficients, boxes, preset.sub_regions)
    error = F.binary_cross_entropy_with_logits(predicted, truth[objects], reduction="none")
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    per_mask = (error * inside).sum(dim=(1, 2)) / area
    loss = (per_mask * weight).sum() / len(boxes)
    if not preset.mask_rescoring:
        return loss, basis.new_zeros(0, 2)

    soft = predicted.detach().sigmoid() * inside
    rating = model.bbox_head.score_masks(soft, labels)
    return loss, torch.stack((rating, _scoring_targets(soft, truth[objects])), dim=1)


def matching_losses(
    model: SipMask,
    track_features: Tensor,
    seen: Sequence[tuple[Tensor, Tensor]],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Compute for each image, (N,), how badly boxes are matched with the objects of its reference.

    track_features: (N, E, H / 8, W / 8); seen: per image predicted boxes (n, 4) in network pixels
    and the index (n,) of their objects. The loss is the mean cross entropy of a softmax over the
    reference's objects and, with logit 0, none of them (Yang et al., "Video Instance Segmentation",
    ICCV 2019). Presets of our own tell them from the objects of the batch's other references, too.
    """
    references = model.track_features(torch.stack([t["reference_image"] for t in targets]))
    known = [
        embeddings_at(reference, target["reference_boxes"].float())  # (m, E)
        for reference, target in zip(references, targets, strict=True)
    ]
    losses = []
    for image, (features, (boxes, objects), target) in enumerate(
        zip(track_features, seen, targets, strict=True)
    ):
        embeddings = embeddings_at(features, boxes)  # (n, E)
        logits = F.pad(embeddings @ known[image].t(), (1, 0))  # (n, 1 + m)
        if model.preset.batch_references and "ids" in target:
            others = _logits_of_others(embeddings, target["ids"][objects], image, known, targets)
            logits = torch.cat((logits, others), dim=1)
        loss = F.cross_entropy(logits, target["reference_match"][objects], reduction="sum")
        losses.append(loss / max(len(objects), 1))
    return torch.stack(losses)


def _logits_of_others(
    embeddings: Tensor,
    ids: Tensor,
    image: int,
    known: Sequence[Tensor],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Rate how alike an image's objects are to those of the other images' references: (n, M).

    embeddings: (n, E) of objects ids (n,); known: per image (m, E). If another reference shows the
    same object, it is not one to tell apart, and its logit is -inf.
    """
    rest = [i for i in range(len(known)) if i != image]
    if not rest:
        return embeddings.new_zeros(len(embeddings), 0)
    logits = embeddings @ torch.cat([known[i] for i in rest]).t()  # (n, M)
    their_ids = torch.cat([targets[i]["reference_ids"] for i in rest])  # (M,)
    return logits.masked_fill(ids[:, None] == their_ids, -math.inf)


def half_size_masks(masks: Tensor, size: torch.Size) -> Tensor:
    """Halve masks (n, H, W) of 0 and 1: float (n, *size) like the basis, cut or zero padded.

    A half-size pixel is set if at least 3 of its 4 pixels are.
    """
    half = F.interpolate(
        masks[:, None].float(), scale_factor=0.5, mode="bilinear", align_corners=False
    )[:, 0]
    height, width = (min(a, b) for a, b in zip(half.shape[-2:], size, strict=True))
    canvas = half.new_zeros(len(masks), *size)
    canvas[:, :height, :width] = half[:, :height, :width] > 0.5
    return canvas


def _scoring_targets(soft: Tensor, truth: Tensor) -> Tensor:
    """Compute the IoU (n,) of soft masks with the whole true masks; -1 if not to be learnt."""
    predicted = (soft > SCORING_THRESHOLD).float()
    intersection = (predicted * truth).sum(dim=(1, 2))
    area = truth.sum(dim=(1, 2))
    iou = intersection / (predicted.sum(dim=(1, 2)) + area - intersection + 0.1)
    learnt = (iou > SCORING_MIN_IOU) & (iou <= 1) & (area >= SCORING_MIN_AREA)
    return torch.where(learnt, iou, -1.0)


def scoring_loss(rated: Tensor, normalise: Normaliser) -> Tensor:
    """Compute loss_iou from the predicted and the true mask IoU (n, 2) of the batch."""
    rating, truth = rated.unbind(1)
    learnt = (truth >= 0).float()
    error = SCORING_WEIGHT * (learnt * (rating - truth) ** 2).sum()
    return normalise(error, learnt.sum(), smoothing=0.1)

"""From a batch to named losses, whose sum training minimises."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sipmask_core.errors import InputError
from sipmask_core.model.outputs import BASIS_STRIDE, HeadOutputs, distances_to_boxes
from sipmask_core.training.losses import (
    box_losses,
    focal_loss,
    image_mask_loss,
    matching_losses,
    scoring_loss,
)
from sipmask_core.training.normaliser import Normaliser
from sipmask_core.training.targets import (
    Assignment,
    Points,
    assign,
    known_places,
    make_points,
    without_crowds,
)

if TYPE_CHECKING:
    from sipmask_core.model.sipmask import SipMask

    Targets = list[dict[str, Tensor]]
    from collections.abc import Sequence

    from sipmask_core.model.presets import Preset


def named_losses(
    model: SipMask,
    images: Tensor,
    targets: Sequence[dict[str, Tensor]],
    normalise: Normaliser | None = None,
) -> dict[str, Tensor]:
    """Compute the named losses of a batch; their sum is what training minimises.

    images: (N, 3, H, W) float, normalised. targets: per image a dict with `boxes` (n, 4)
    x0 y0 x1 y1 in pixels, `labels` (n,) int64 0-based and `masks` (n, H, W) of 0 and 1. In a
    batch of different sizes, H and W are those of the image without its padding.
    The dict may also say what is not known: `ignore` (H, W), 1 where an image shows a crowd and
    background is not to be learnt; `has_mask` (n,) bool: objects without a mask teach class,
    box and centerness alone; `known_classes` (classes,) bool: of other classes it is not known
    whether the image shows any; `unsure_boxes` (k, 4) and `unsure_labels` (k,): within that box
    it is not known whether there is an object of that class.
    Presets with a track branch also need another frame of the same video: `reference_image`
    (3, H, W) float, normalised; `reference_boxes` (m, 4) of the objects in it; and
    `reference_match` (n,) int64: 1 + the index in `reference_boxes` of the same object, 0 for
    an object that the reference does not show. With `ids` (n,) and `reference_ids` (m,) int64,
    our own presets learn to tell objects from those of the batch's other references as well.
    normalise: what sums are divided by if several processes share a batch.
    Raise InputError if an image without objects is given to one of the authors' presets, whose
    loss is undefined then, or if what a track branch needs is missing.
    """
    return losses_of_outputs(model, model(images), targets, normalise or Normaliser())


def losses_of_outputs(
    model: SipMask,
    outputs: HeadOutputs,
    targets: Sequence[dict[str, Tensor]],
    normalise: Normaliser,
) -> dict[str, Tensor]:
    """Compute the named losses of a batch whose outputs are known; see `named_losses`."""
    preset = model.preset
    points = make_points([x.shape[-2:] for x in outputs.class_logits], outputs.basis.device)
    assignments = [
        assign(points, target["boxes"].float(), target["labels"], preset.inclusive_boxes)
        for target in targets
    ]
    if preset.needs_objects and any(len(target["boxes"]) == 0 for target in targets):
        raise InputError(
            f"The loss of {preset.name} is undefined for an image without objects; leave such "
            "images out."
        )
    if outputs.track_features is not None:
        _check_references(targets, preset)
    logits = _flatten(outputs.class_logits)  # (N, L, classes)
    distances = _flatten(outputs.distances)  # (N, L, 4)
    center_logits = _flatten(outputs.centerness)[..., 0]  # (N, L)
    coefficients = _flatten(outputs.coefficients)  # (N, L, cells * bases)

    num_positives = sum(len(a.positives) for a in assignments)
    num_images = len(targets) if preset.images_in_class_loss else 0
    labels = torch.stack(
        [
            without_crowds(a.labels, points, target.get("ignore"))
            for a, target in zip(assignments, targets, strict=True)
        ]
    )  # (N, L)
    named = {
        "loss_cls": normalise(
            focal_loss(logits, labels, known_places(points, targets, labels, logits.shape[-1])),
            num_positives + num_images,
            at_least=1,
        ),
        **box_losses(points, assignments, distances, center_logits, preset, normalise),
    }
    mask_losses, scoring, seen = [], [], []
    for image, (assignment, target) in enumerate(zip(assignments, targets, strict=True)):
        kept, boxes = _predicted_boxes(points, assignment, distances[image], preset.inverted_boxes)
        positives, objects = assignment.positives[kept], assignment.objects[kept]
        seen.append((boxes, objects))
        if "has_mask" in target:
            masked = target["has_mask"][objects]
            positives, objects, boxes = positives[masked], objects[masked], boxes[masked]
        loss, rated = image_mask_loss(
            model,
            outputs.basis[image].float(),
            boxes / BASIS_STRIDE,
            objects,
            logits[image, positives],
            coefficients[image, positives],
            target,
        )
        mask_losses.append(loss)
        scoring.append(rated)
    teaching = sum("has_mask" not in t or bool(t["has_mask"].any()) for t in targets)
    loss_mask = normalise(torch.stack(mask_losses).sum(), teaching, at_least=1)
    if preset.halve_high_mask_loss:  # in each process for itself
        loss_mask = torch.where(loss_mask > 1, 0.5 * loss_mask, loss_mask)
    named["loss_mask"] = loss_mask
    if preset.mask_rescoring:
        named["loss_iou"] = scoring_loss(torch.cat(scoring), normalise)
    if outputs.track_features is not None:
        match_losses = matching_losses(model, outputs.track_features, seen, targets)
        named["loss_match"] = normalise(match_losses.sum(), len(targets))
    return named


def _check_references(targets: Sequence[dict[str, Tensor]], preset: Preset) -> None:
    needed = {"reference_image", "reference_boxes", "reference_match"}
    missing = {key for target in targets for key in needed.difference(target)}
    if missing:
        raise InputError(
            f"The loss of {preset.name} compares two frames of a video; the targets lack "
            f"{', '.join(sorted(missing))}."
        )


def _flatten(levels: Sequence[Tensor]) -> Tensor:
    """Join levels (N, C, H_l, W_l) to (N, L, C) float32, locations in the order of `Points`."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1).float()


def _predicted_boxes(
    points: Points, assignment: Assignment, distances: Tensor, inverted: bool
) -> tuple[Tensor, Tensor]:
    """Select the positives of one image whose predicted box is large enough for a mask.

    distances: (L, 4) of all locations. Return (n,) indices into the positives, and these boxes
    (n, 4) in network pixels, without gradient.
    """
    positives = assignment.positives
    boxes = distances_to_boxes(points.xy[positives], distances[positives].detach())  # (P, 4)
    size = (boxes[:, 2:] - boxes[:, :2]) / BASIS_STRIDE
    large = size.prod(dim=1) > 1
    if not inverted:  # the product of two negative sides is positive
        large &= (size > 0).all(dim=1)
    kept = large.nonzero()[:, 0]
    return kept, boxes[kept]


class Objective(nn.Module):
    """A model's losses as a forward pass: what DistributedDataParallel wraps.

    losses: computes them from images, targets and normaliser; `named_losses` of the model.
    """

    def __init__(self, model: SipMask, normalise: Normaliser) -> None:
        super().__init__()
        self.model = model
        self.normalise = normalise
        self.losses = partial(named_losses, model)

    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Compute named losses, see `named_losses`."""
        return self.losses(images, targets, self.normalise)

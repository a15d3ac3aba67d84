"""Masks the plain way, each at the full size of the image: what the fast way is compared with.

The benchmark measures its speedups against this; tests check that both give the same masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from sipmask_core.inference.detections import as_instances, find_objects
from sipmask_core.inference.masks_cpu import mask_grid
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_core.model.masks import soft_masks
from sipmask_core.model.outputs import BASIS_STRIDE
from sipmask_core.runtime.devices import require_finite
from sipmask_core.runtime.stopwatch import stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sipmask_core.model.inputs import NetworkInput
    from sipmask_core.model.outputs import HeadOutputs
    from sipmask_core.model.presets import Preset


@torch.inference_mode()
def plain_postprocess(
    outputs: HeadOutputs,
    prepared: NetworkInput,
    image_size: tuple[int, int],
    preset: Preset,
    score_threshold: float | None = None,
    rate_masks: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Instances:
    """Do what `Predictor.postprocess` does, with the whole image of (H, W) pixels as mask crops.

    rate_masks: soft masks (N, H / 2, W / 2) and labels (N,) on the CPU -> ratings (N,); needed if
    the preset re-scores masks.
    """
    with stage("nms"):
        found = find_objects(outputs, prepared, preset, score_threshold)
    height, width = image_size
    if len(found.boxes) == 0:
        return Instances.empty((height, width))

    network_boxes = found.boxes * torch.tensor([*prepared.scale, *prepared.scale])
    basis = outputs.basis[0].float()  # (bases, H / 2, W / 2)
    boxes = (network_boxes / BASIS_STRIDE).to(basis.device)
    soft = soft_masks(basis, found.coefficients, boxes, preset.sub_regions)  # (N, H / 2, W / 2)
    require_finite(soft.cpu().numpy())
    grid = mask_grid(preset, (basis.shape[1], basis.shape[2]), prepared.scale, image_size)
    # What F.interpolate calls, which does not take both the size and the scale.
    resized = torch.ops.aten.upsample_bilinear2d(
        soft[None], grid.area, False, 1 / grid.ratio[0], 1 / grid.ratio[1]
    )[0]  # (N, *area)
    masks = torch.zeros(len(soft), height, width, dtype=torch.bool, device=soft.device)
    masks[:, : grid.area[0], : grid.area[1]] = resized > preset.mask_threshold

    mask_scores = found.scores
    if preset.mask_rescoring:
        assert rate_masks is not None
        mask_scores = mask_scores * rate_masks(soft, found.labels).cpu()
    whole = [MaskCrop(0, 0, mask) for mask in masks.cpu().numpy()]
    return as_instances(found, outputs, network_boxes, whole, mask_scores, image_size)


def plain_rle(instances: Instances) -> list[dict[str, Any]]:
    """Do what `Instances.to_rle` does, each mask at full size through pycocotools."""
    rles = []
    for mask in instances.masks:
        rle = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
        rles.append({"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")})
    return rles

"""The masks of one image's detections, made in the way that is fast on the maps' device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sipmask_core.inference.masks_cpu import assemble, mask_grid, on_canvas, resize
from sipmask_core.inference.masks_gpu import cut_masks
from sipmask_core.model.masks import soft_masks
from sipmask_core.model.outputs import BASIS_STRIDE
from sipmask_core.runtime.devices import upload

if TYPE_CHECKING:
    from torch import Tensor

    from sipmask_core.mask_crop import MaskCrop
    from sipmask_core.model.presets import Preset


class ImageMasks:
    """The masks of N detections.

    basis: (B, H / 2, W / 2) on any device; coefficients: (N, cells * B) on the same; network_boxes:
    (N, 4) in network pixels, on the CPU. scale: (x, y) from image to network; image_size: (H, W).
    """

    def __init__(
        self,
        basis: Tensor,
        coefficients: Tensor,
        network_boxes: Tensor,
        preset: Preset,
        scale: tuple[float, float],
        image_size: tuple[int, int],
    ) -> None:
        self._sources = basis, coefficients, network_boxes / BASIS_STRIDE, preset.sub_regions
        self._grid = mask_grid(preset, (basis.shape[1], basis.shape[2]), scale, image_size)
        self._threshold = preset.mask_threshold
        self._soft_crops = None if basis.is_cuda else assemble(*self._sources)

    def crops(self) -> list[MaskCrop]:
        """Return the mask crops in image pixels.

        Raises FloatingPointError if the maps are on a GPU and a mask is not finite; on a CPU the
        constructor does.
        """
        if self._soft_crops is None:
            return cut_masks(*self._sources, self._grid, self._threshold)
        return [resize(crop, self._grid, self._threshold) for crop in self._soft_crops]

    def soft(self) -> Tensor:
        """Return soft masks (N, H / 2, W / 2) float32 in [0, 1], zero outside the boxes.

        They are on the device of the maps.
        """
        if self._soft_crops is not None:
            return torch.from_numpy(on_canvas(self._soft_crops, self._grid.canvas))
        basis, coefficients, boxes, sub_regions = self._sources
        return soft_masks(basis.float(), coefficients, upload(boxes, basis.device), sub_regions)

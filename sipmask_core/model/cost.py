"""What a preset costs: parameters and arithmetic of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from sipmask_core.model.sipmask import build_model
from sipmask_core.preprocess import PAD_MULTIPLE
from sipmask_core.presets import KeepRatio

if TYPE_CHECKING:
    from sipmask_core.presets import Preset


class Cost(NamedTuple):
    """input_size: (H, W) that was counted for. flops: two per multiply-add of the network, masks
    and post-processing not counted."""

    parameters: int
    flops: int
    input_size: tuple[int, int]


def cost_of(preset: Preset) -> Cost:
    """The cost of a fresh model of the preset, with its default classes.

    Where the input keeps the image's ratio, the largest landscape input is counted. It takes place
    on the meta device, which holds shapes without memory or arithmetic.
    """
    size = _largest_input(preset)
    with torch.device("meta"), torch.inference_mode():
        model = build_model(preset)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, *size))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, int(counter.get_total_flops()), size)


def _largest_input(preset: Preset) -> tuple[int, int]:
    resize = preset.resize
    if isinstance(resize, KeepRatio):
        height, width = (side + -side % PAD_MULTIPLE for side in (resize.short, resize.long))
        return height, width
    return resize.height, resize.width

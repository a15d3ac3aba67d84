"""What a preset costs: parameters and arithmetic of one image."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from sipmask_core.model.inputs import PAD_MULTIPLE
from sipmask_core.model.presets import KeepRatio
from sipmask_core.model.sipmask import build_model

if TYPE_CHECKING:
    from sipmask_core.model.presets import Preset
    from sipmask_core.model.sipmask import SipMask


class Cost(NamedTuple):
    """What one image costs.

    input_size: the (H, W) for which it was counted. flops: two per multiply-add of the network;
    masks and post-processing are not counted.
    """

    parameters: int
    flops: int
    input_size: tuple[int, int]


def cost_of(preset: Preset) -> Cost:
    """Count the cost of a model of the preset with its default classes.

    If the input keeps the image's aspect ratio, the largest landscape input is counted.
    """
    with torch.device("meta"):
        model = build_model(preset)
    return cost_of_model(model, _largest_input(preset))


def cost_of_model(model: SipMask, input_size: tuple[int, int]) -> Cost:
    """Count the cost of a model with an input of (H, W) pixels.

    Counts on the meta device, which follows shapes without memory or arithmetic.
    """
    shape = copy.deepcopy(model).to("meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shape(torch.zeros(1, 3, *input_size, device="meta"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, int(counter.get_total_flops()), input_size)


def _largest_input(preset: Preset) -> tuple[int, int]:
    resize = preset.resize
    if isinstance(resize, KeepRatio):
        height, width = (side + -side % PAD_MULTIPLE for side in (resize.short, resize.long))
        return height, width
    return resize.height, resize.width

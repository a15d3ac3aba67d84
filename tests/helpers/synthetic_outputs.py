"""Head outputs as of a network that sees blobs everywhere, without running one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sipmask_core.model.inputs import NetworkInput, prepare
from sipmask_core.model.outputs import BASIS_STRIDE, STRIDES, HeadOutputs
from sipmask_core.model.presets import Preset


def synthetic_outputs(
    preset: Preset, image_size: tuple[int, int], classes: int = 3, objects: int = 60
) -> tuple[HeadOutputs, NetworkInput]:
    """Return what a network of the preset could say about an image (H, W), and its prepared input.

    Basis maps are smooth noise. About `objects` places score well for one class, each at a few
    neighbouring locations with much the same box.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    prepared = prepare(np.zeros((*image_size, 3), np.uint8), preset)
    height, width = prepared.pixels.shape[:2]
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    total = sum(h * w for h, w in sizes)
    levels = []
    for stride, size in zip(STRIDES, sizes, strict=True):
        seeds = torch.rand(1, 1, *size, generator=generator) < objects / total
        seeds[..., prepared.size[0] // stride :, :] = False  # nothing in the padding
        seeds[..., prepared.size[1] // stride :] = False
        seen = F.max_pool2d(seeds.float(), 3, stride=1, padding=1) > 0
        kind = torch.randint(classes, size, generator=generator)
        kind = F.one_hot(kind[::4, ::4].repeat_interleave(4, 0).repeat_interleave(4, 1), classes)
        likely = seen & (kind[: size[0], : size[1]].permute(2, 0, 1)[None] > 0)
        coarse = noise(1, 4, -(-size[0] // 4), -(-size[1] // 4))
        levels.append(
            (
                torch.where(likely, 1.0, -9.0) + noise(1, classes, *size),
                stride * F.interpolate(coarse, size=size).add(1.5).exp2().clamp(1, 16),
                noise(1, 1, *size) + 1,
                noise(1, preset.sub_regions**2 * preset.num_bases, *size) * 0.7,
            )
        )
    logits, distances, centerness, coefficients = (list(x) for x in zip(*levels, strict=True))
    basis = F.interpolate(
        noise(1, preset.num_bases, -(-height // 32), -(-width // 32)),
        size=(height // BASIS_STRIDE, width // BASIS_STRIDE),
        mode="bicubic",
    ).relu()
    track = None
    if preset.embedding_channels:
        track = noise(1, preset.embedding_channels, *sizes[0])
    return HeadOutputs(logits, distances, centerness, coefficients, basis, track), prepared

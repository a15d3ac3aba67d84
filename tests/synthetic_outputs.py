"""Head outputs as of a network that sees blobs everywhere, without running one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sipmask_core.model.head import BASIS_STRIDE, STRIDES, HeadOutputs
from sipmask_core.preprocess import NetworkInput, prepare
from sipmask_core.presets import Preset


def synthetic_outputs(
    preset: Preset, image_size: tuple[int, int], classes: int = 3, objects: int = 60
) -> tuple[HeadOutputs, NetworkInput]:
    """What a network of the preset could say about an image (H, W), and that image's preparation.

    Basis maps are smooth noise, and about `objects` locations score well, with boxes of their own.
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
        sees = torch.rand(1, 1, *size, generator=generator) < objects / total
        levels.append(
            (
                torch.where(sees, 1.0, -7.0) + noise(1, classes, *size),
                stride * noise(1, 4, *size).mul(1.5).add(4).exp2().clamp(max=60) / 4,
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

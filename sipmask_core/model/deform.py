"""3x3 deformable convolution (Dai et al., "Deformable Convolutional Networks", ICCV 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

TAPS = 9


def deformable_conv3x3(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolve x at displaced positions; stride 1, padding 1.

    x: (N, C, H, W); offset: (N, groups * 9 * 2, H, W), (dy, dx) pixels per tap, taps in row-major
    order; weight: (C_out, C, 3, 3); bias: (C_out,). Samples are bilinear and zero outside the map.
    The result has the dtype of `weight`.

    On a GPU this is torchvision's operator. On a CPU that one is neither vectorised nor parallel,
    so the same sum is written with grid_sample and a matrix product.
    """
    x = x.to(weight.dtype)
    if x.is_cuda:
        return deform_conv2d(x, offset, weight, bias, padding=1)
    n, channels, height, width = x.shape
    groups = offset.shape[1] // (2 * TAPS)
    tap = torch.arange(TAPS, device=x.device).view(1, TAPS, 1, 1)
    row = torch.arange(height, device=x.device).view(1, 1, height, 1) + tap // 3 - 1
    column = torch.arange(width, device=x.device).view(1, 1, 1, width) + tap % 3 - 1
    dy, dx = offset.to(weight.dtype).reshape(n * groups, TAPS, 2, height, width).unbind(2)
    grid = torch.stack(
        ((2 * (column + dx) + 1) / width - 1, (2 * (row + dy) + 1) / height - 1), dim=-1
    ).view(n * groups, TAPS * height, width, 2)
    samples = F.grid_sample(
        x.reshape(n * groups, channels // groups, height, width),
        grid,
        padding_mode="zeros",
        align_corners=False,
    ).view(n, channels * TAPS, height * width)
    convolved = (weight.flatten(1) @ samples).view(n, -1, height, width)
    return convolved if bias is None else convolved + bias[:, None, None]

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
    The result has the dtype of `weight`; coordinates have at least float32.

    On a GPU this is torchvision's operator. On a CPU that operator is neither vectorised nor
    parallel, so the same sum is computed as samples and a matrix product. In half precision the
    samples come from a weighted look-up, several times as fast as grid_sample, which would also
    need coordinates in half precision.
    """
    x = x.to(weight.dtype)
    offset = offset.to(torch.promote_types(weight.dtype, torch.float32))
    if x.is_cuda:
        return _on_gpu(x, offset, weight, bias)
    n, _, height, width = x.shape
    if weight.dtype == offset.dtype:
        samples = _grid_samples(x, offset).view(n, -1, height, width)
        # As a convolution: oneDNN reads the samples in place; a product would copy them first.
        return F.conv2d(samples, weight.flatten(1)[..., None, None], bias)
    kernel = weight.permute(0, 2, 3, 1).flatten(1)  # (C_out, 9 * C), a view if channels-last
    convolved = F.linear(_looked_up_samples(x, offset), kernel, bias)
    return convolved.view(n, height, width, -1).permute(0, 3, 1, 2)


def _on_gpu(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Run torchvision's operator in the dtype of `offset`, for it computes coordinates in x's."""
    wide = offset.dtype
    bias = None if bias is None else bias.to(wide)
    return deform_conv2d(x.to(wide), offset, weight.to(wide), bias, padding=1).to(weight.dtype)


def _grid_samples(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x for each tap of each location: (N, C * 9, H * W)."""
    n, channels, height, width = x.shape
    groups = offset.shape[1] // (2 * TAPS)
    tap = torch.arange(TAPS, device=x.device).view(1, TAPS, 1, 1)
    row = torch.arange(height, device=x.device).view(1, 1, height, 1) + tap // 3 - 1
    column = torch.arange(width, device=x.device).view(1, 1, 1, width) + tap % 3 - 1
    dy, dx = offset.reshape(n * groups, TAPS, 2, height, width).unbind(2)
    grid = torch.stack(
        ((2 * (column + dx) + 1) / width - 1, (2 * (row + dy) + 1) / height - 1), dim=-1
    ).view(n * groups, TAPS * height, width, 2)
    return F.grid_sample(
        x.reshape(n * groups, channels // groups, height, width),
        grid,
        padding_mode="zeros",
        align_corners=False,
    ).view(n, channels * TAPS, height * width)


def _looked_up_samples(x: Tensor, offset: Tensor) -> Tensor:
    """Sample x for each tap of each location: (N * H * W, 9 * C)."""
    n, channels, height, width = x.shape
    groups = offset.shape[1] // (2 * TAPS)
    # Zeros around the map, so that samples outside it need no special case.
    table = F.pad(x, (1, 2, 1, 2)).permute(0, 2, 3, 1).reshape(-1, channels // groups)
    stride = (width + 3) * groups  # rows of the table per row of the map

    tap = torch.arange(TAPS, device=x.device).view(TAPS, 1)
    row = torch.arange(height, device=x.device).view(height, 1, 1, 1)
    column = torch.arange(width, device=x.device).view(width, 1, 1)
    offset = offset.view(n, groups, TAPS, 2, height, width).permute(3, 0, 4, 5, 2, 1)
    dy, dx = offset.contiguous().unbind(0)
    top, down = _split(dy + (row + tap // 3 - 1), height)  # each (N, H, W, 9, groups)
    left, right = _split(dx + (column + tap % 3 - 1), width)

    image = torch.arange(n, dtype=torch.int32, device=x.device).view(n, 1, 1, 1, 1)
    group = torch.arange(groups, dtype=torch.int32, device=x.device)
    first = image * ((height + 3) * stride) + group + (stride + groups)  # the map's first pixel
    corner = (top * stride).add_(left, alpha=groups).int().add_(first)
    neighbours = torch.tensor([0, groups, stride, stride + groups], dtype=torch.int32)
    index = corner[..., None] + neighbours.to(x.device)
    up, back = 1 - down, 1 - right
    share = torch.stack((up * back, up * right, down * back, down * right), dim=-1).to(x.dtype)
    samples = F.embedding_bag(
        index.view(-1, 4), table, mode="sum", per_sample_weights=share.view(-1, 4)
    )  # (N * H * W * 9 * groups, channels // groups)
    return samples.view(n * height * width, TAPS * channels)


def _split(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Split positions along an axis into the pixel before them, from -1 to size, and the rest.

    NaN counts as off the axis.
    """
    position = position.nan_to_num_(-1).clamp_(-1, size)
    pixel = position.floor()
    return pixel, position.sub_(pixel)

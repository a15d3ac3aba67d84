"""Deformable convolution, against torchvision's operator."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import deform_conv2d

from sipmask_core.model.deform import deformable_conv3x3


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 5)])
def test_equals_torchvision_in_value_and_gradient(groups: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, *size, dtype=torch.float64).requires_grad_()
    offset = (3 * torch.randn(2, groups * 18, *size, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(5, 8, 3, 3, dtype=torch.float64).requires_grad_()
    bias = torch.randn(5, dtype=torch.float64)
    actual = deformable_conv3x3(x, offset, weight, bias)
    expected = deform_conv2d(x, offset, weight, bias, padding=1)
    torch.testing.assert_close(actual, expected)
    probe = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, (x, offset, weight), probe) for y in (actual, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_zero_offsets_give_a_plain_convolution() -> None:
    x, weight = torch.randn(1, 4, 6, 6), torch.randn(4, 4, 3, 3)
    actual = deformable_conv3x3(x, torch.zeros(1, 72, 6, 6), weight)
    torch.testing.assert_close(actual, torch.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-5)

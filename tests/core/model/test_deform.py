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


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 170)])
def test_half_precision_keeps_coordinates_in_single(groups: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 32, *size), torch.randn(5, 32, 3, 3), torch.randn(5)
    offset = 3 * torch.randn(2, groups * 18, *size)
    expected = deform_conv2d(x, offset, weight, bias, padding=1)
    half = (t.to(torch.bfloat16, memory_format=torch.channels_last) for t in (x, weight))
    x16, weight16 = half
    actual = deformable_conv3x3(x16, offset, weight16, bias.bfloat16())
    assert actual.dtype == torch.bfloat16
    assert actual.is_contiguous(memory_format=torch.channels_last)
    error = (actual.float() - expected).abs()
    assert error.max() < 0.02 * expected.abs().max()
    assert error.mean() < 0.005 * expected.abs().mean() + 1e-3


def test_a_coordinate_that_is_not_a_number_reads_no_memory_outside_the_map() -> None:
    x, weight = torch.ones(1, 4, 3, 3).bfloat16(), torch.ones(1, 4, 3, 3).bfloat16()
    offset = torch.full((1, 18, 3, 3), float("nan"))
    assert torch.equal(deformable_conv3x3(x, offset, weight), torch.zeros(1, 1, 3, 3).bfloat16())

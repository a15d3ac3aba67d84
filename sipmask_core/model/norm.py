"""Batch norm as detectors fine-tune it: with the statistics that ImageNet left."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that always uses its stored statistics; weight and bias are not trained."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(C,) and (C,): the norm as a factor and a summand of each channel."""
        assert self.running_var is not None and self.running_mean is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

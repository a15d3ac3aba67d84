"""Feature pyramid P3 to P7 (Lin et al., CVPR 2017, with the two extra levels of FCOS)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """A convolution, optionally followed by group norm; no activation.

    The convolution has a bias if no norm follows, or with `bias_with_norm`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        padded: bool = True,
        norm_groups: int = 0,
        bias_with_norm: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padded else 0
        bias = norm_groups == 0 or bias_with_norm
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
        self.gn = nn.GroupNorm(norm_groups, outputs) if norm_groups else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        x = self.conv(x)
        return x if self.gn is None else self.gn(x)


class FPN(nn.Module):
    """Maps C3, C4, C5 to P3, P4, P5, P6, P7, each `channels` wide, at strides 8 to 128."""

    def __init__(self, in_channels: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvBlock(c, channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(
            ConvBlock(channels, channels, 3, stride) for stride in (1, 1, 1, 2, 2)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> list[Tensor]:
        """Map C3 to C5 (N, C_l, H / 2^l, W / 2^l) to P3 to P7 (N, channels, H / 2^l, W / 2^l)."""
        l3, l4, l5 = (conv(c) for conv, c in zip(self.lateral_convs, (c3, c4, c5), strict=True))
        l4 = l4 + F.interpolate(l5, size=l4.shape[-2:], mode="nearest")
        l3 = l3 + F.interpolate(l4, size=l3.shape[-2:], mode="nearest")
        p3, p4, p5 = (conv(x) for conv, x in zip(self.fpn_convs[:3], (l3, l4, l5), strict=True))
        p6 = self.fpn_convs[3](p5)
        p7 = self.fpn_convs[4](F.relu(p6))
        return [p3, p4, p5, p6, p7]

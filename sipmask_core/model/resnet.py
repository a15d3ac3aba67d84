"""ResNet with frozen batch-norm statistics, in the Caffe arrangement that the authors trained.

In a bottleneck that reduces resolution, the stride sits on the first 1x1 convolution (and on the
1x1 of the shortcut). SipMask++ replaces every third 3x3 convolution of stages 2 to 4 by a
deformable one (Dai et al., "Deformable Convolutional Networks", ICCV 2017; no modulation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sipmask_core.model.deform import deformable_conv3x3
from sipmask_core.model.norm import FrozenBatchNorm2d

if TYPE_CHECKING:
    from sipmask_core.model.presets import ResNetDepth

DEFORMABLE_EVERY = 3
LAYERS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class DeformableConv2d(nn.Module):
    """3x3 deformable convolution of stride 1 that predicts its offsets from its own input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.conv_offset = nn.Conv2d(channels, 2 * 9, 3, padding=1)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (N, C, H, W) at the predicted places; the shape stays."""
        offset = self.conv_offset(x.to(self.weight.dtype))
        return deformable_conv3x3(x, offset, self.weight).to(x.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, deformable: bool) -> None:
        super().__init__()
        if deformable:
            raise ValueError("Deformable stages need a bottleneck backbone.")
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut, with the stride on the first convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, deformable: bool) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2: nn.Module = (
            DeformableConv2d(width)
            if deformable
            else nn.Conv2d(width, width, 3, padding=1, bias=False)
        )
        self.bn2 = FrozenBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, 4 * width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), FrozenBatchNorm2d(outputs)
    )


def _stage(
    block: type[BasicBlock | Bottleneck],
    inputs: int,
    width: int,
    depth: int,
    stride: int,
    deformable: bool,
) -> nn.Sequential:
    outputs = width * block.expansion
    return nn.Sequential(
        *(
            block(
                inputs if i == 0 else outputs,
                width,
                stride if i == 0 else 1,
                deformable and i % DEFORMABLE_EVERY == 0,
            )
            for i in range(depth)
        )
    )


class ResNet(nn.Module):
    """Maps images (N, 3, H, W) to feature maps at strides 4, 8, 16 and 32.

    The stem and the first stage are frozen, as is every batch norm.
    """

    def __init__(
        self,
        depth: ResNetDepth,
        widths: tuple[int, int, int, int] = (64, 128, 256, 512),
        deformable: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = BasicBlock if depth == "resnet18" else Bottleneck
        self.out_channels = tuple(width * block.expansion for width in widths)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm2d(64)
        w1, w2, w3, w4 = widths
        d1, d2, d3, d4 = LAYERS[depth]
        e = block.expansion
        self.layer1 = _stage(block, 64, w1, d1, stride=1, deformable=False)
        self.layer2 = _stage(block, w1 * e, w2, d2, stride=2, deformable=deformable)
        self.layer3 = _stage(block, w2 * e, w3, d3, stride=2, deformable=deformable)
        self.layer4 = _stage(block, w3 * e, w4, d4, stride=2, deformable=deformable)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, FrozenBatchNorm2d):
                module.eps = norm_eps
        self.conv1.requires_grad_(False)
        self.layer1.requires_grad_(False)

    def fold_batch_norm(self) -> None:
        """Merge every batch norm into the plain convolution before it; for inference."""
        for module in list(self.modules()):
            if isinstance(module, ResNet | BasicBlock | Bottleneck):
                pairs = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3) if hasattr(module, f"bn{i}")]
            elif isinstance(module, nn.Sequential) and isinstance(module[-1], FrozenBatchNorm2d):
                pairs = [("0", "1")]
            else:
                continue
            for conv_name, norm_name in pairs:
                conv, norm = getattr(module, conv_name), getattr(module, norm_name)
                if isinstance(conv, nn.Conv2d):
                    setattr(module, conv_name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
                    setattr(module, norm_name, nn.Identity())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map normalised images (N, 3, H, W) to C2, C3, C4, C5."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        c2 = self.layer1(x)  # (N, C2, H/4, W/4)
        c3 = self.layer2(c2)  # (N, C3, H/8, W/8)
        c4 = self.layer3(c3)  # (N, C4, H/16, W/16)
        c5 = self.layer4(c4)  # (N, C5, H/32, W/32)
        return c2, c3, c4, c5

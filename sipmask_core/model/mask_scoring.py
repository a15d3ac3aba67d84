"""How well a mask fits: the IoU that SipMask++ predicts of a soft mask and its object."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from sipmask_core.model.fpn import ConvBlock

_WIDTHS = (1, 16, 16, 16, 32, 64, 128)


def scoring_layers(num_classes: int) -> tuple[nn.ModuleList, nn.Conv2d]:
    """Make the convolutions that look at a soft mask, and the one that rates it for each class."""
    convs = nn.ModuleList(
        ConvBlock(inputs, outputs, 3, stride=2, padded=False)
        for inputs, outputs in pairwise(_WIDTHS)
    )
    return convs, nn.Conv2d(_WIDTHS[-1], num_classes, 1)


def predicted_ious(
    convs: nn.ModuleList, rating: nn.Conv2d, soft_masks: Tensor, labels: Tensor
) -> Tensor:
    """Predict the IoU (n,) of soft masks (n, H / 2, W / 2) of labels (n,) with `scoring_layers`."""
    x = soft_masks[:, None]  # (n, 1, H / 2, W / 2)
    for conv in convs:
        x = F.relu(conv(x))
    x = F.relu(rating(x)).amax(dim=(2, 3))  # (n, classes)
    return x.gather(1, labels[:, None])[:, 0]


class MaskScorer(nn.Module):
    """The layers that rate masks, for a network that runs without its head.

    They are called as in the head, so that its weights fit.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.convs_scoring, self.mask_scoring = scoring_layers(num_classes)

    def forward(self, soft_masks: Tensor, labels: Tensor) -> Tensor:
        """Do what `predicted_ious` does."""
        return predicted_ious(self.convs_scoring, self.mask_scoring, soft_masks, labels)

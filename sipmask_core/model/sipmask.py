"""The SipMask network: backbone, FPN, head (Cao et al., ECCV 2020)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sipmask_core.data.classes import COCO_CLASSES, YOUTUBE_VIS_2019_CLASSES
from sipmask_core.errors import InputError
from sipmask_core.model.efficientnet import EfficientNetLite
from sipmask_core.model.fpn import FPN
from sipmask_core.model.head import SipMaskHead
from sipmask_core.model.outputs import HeadOutputs
from sipmask_core.model.presets import NETWORK_FIELDS, Preset, get_preset
from sipmask_core.model.resnet import ResNet

if TYPE_CHECKING:
    from collections.abc import Sequence


class SipMask(nn.Module):
    """The whole network: a batch of images in, raw head outputs out.

    Submodules carry the names of the authors' mmdetection code (`backbone`, `neck`, `bbox_head`),
    so that its checkpoints load without translation.

    >>> import torch
    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", num_classes=2)
    >>> with torch.inference_mode():
    ...     outputs = model(torch.zeros(1, 3, 320, 320))
    >>> [tuple(scores.shape) for scores in outputs.class_logits]  # one per level
    [(1, 2, 40, 40), (1, 2, 20, 20), (1, 2, 10, 10), (1, 2, 5, 5), (1, 2, 3, 3)]
    """

    def __init__(self, preset: Preset, class_names: Sequence[str]) -> None:
        super().__init__()
        self.preset = preset
        self.class_names = tuple(class_names)
        self.backbone = _backbone(preset)
        c2, c3, c4, c5 = self.backbone.out_channels
        self.neck = FPN((c3, c4, c5), preset.channels)
        self.bbox_head = SipMaskHead(preset, len(self.class_names), c2)

    def with_preset(self, preset: Preset) -> SipMask:
        """Copy the model, its weights included, with another input, post-processing or training.

        Raises InputError for a preset that is of another network.

        >>> import dataclasses
        >>> import sipmask_core as sm
        >>> model = sm.build_model("sipmask_r18_lite", num_classes=2)
        >>> wary = dataclasses.replace(model.preset, score_threshold=0.5)
        >>> model.with_preset(wary).preset.score_threshold
        0.5
        """
        for name in NETWORK_FIELDS:
            built, asked = getattr(self.preset, name), getattr(preset, name)
            if asked != built:
                raise InputError(f"{name} is {asked}, but the network was built with {built}.")
        model = copy.deepcopy(self)
        model.preset = preset
        return model

    def forward(self, images: Tensor) -> HeadOutputs:
        """Run the network on images (N, 3, H, W) float, normalised as the preset says."""
        c2, c3, c4, c5 = self.backbone(images)
        return self.bbox_head(self.neck(c3, c4, c5), c2)

    def score_masks(self, soft_masks: Tensor, labels: Tensor) -> Tensor:
        """Predict the IoU (n,) of soft masks (n, H / 2, W / 2) of labels (n,). SipMask++ only."""
        return self.bbox_head.score_masks(soft_masks, labels)

    def track_features(self, images: Tensor) -> Tensor:
        """Compute only the `track_features` of `forward`; for presets with a track branch."""
        _, c3, c4, c5 = self.backbone(images)
        return self.bbox_head.track_features(*self.neck(c3, c4, c5)[:3])


def _backbone(preset: Preset) -> ResNet | EfficientNetLite:
    if preset.backbone == "efficientnet_lite0":
        return EfficientNetLite()
    return ResNet(preset.backbone, preset.stage_widths, preset.deformable, preset.batch_norm_eps)


def build_model(
    preset: str | Preset,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> SipMask:
    """Build a model of that preset with fresh weights, in eval mode.

    `class_names` defaults to COCO's 80 names or, with a track branch, to the 40 of YouTube-VIS
    2019; for another `num_classes`, to "class 0", ... Raises InputError for an unknown preset, for
    fewer than one class, and if names and number disagree.

    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cup", "plate"])
    >>> model.class_names
    ('cup', 'plate')
    """
    if isinstance(preset, str):
        preset = get_preset(preset)
    if class_names is None:
        default = YOUTUBE_VIS_2019_CLASSES if preset.embedding_channels else COCO_CLASSES
        number = len(default) if num_classes is None else num_classes
        if number < 1:
            raise InputError(f"num_classes is {number}; a model needs at least one class.")
        class_names = default if number == len(default) else [f"class {i}" for i in range(number)]
    elif num_classes is not None and num_classes != len(class_names):
        raise InputError(f"num_classes is {num_classes}, but {len(class_names)} names were given.")
    return SipMask(preset, class_names).eval()

"""The SipMask network: backbone, FPN, head (Cao et al., ECCV 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sipmask_core.classes import COCO_CLASSES, YOUTUBE_VIS_2019_CLASSES
from sipmask_core.errors import InputError
from sipmask_core.model.efficientnet import EfficientNetLite
from sipmask_core.model.fpn import FPN
from sipmask_core.model.head import HeadOutputs, SipMaskHead
from sipmask_core.model.resnet import ResNet
from sipmask_core.presets import Preset, get_preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipmask_core.training.normaliser import Normaliser


class SipMask(nn.Module):
    """Image batch -> raw head outputs.

    Submodules carry the names of the authors' mmdetection code (`backbone`, `neck`, `bbox_head`),
    so that its checkpoints load without translation.
    """

    def __init__(self, preset: Preset, class_names: Sequence[str]) -> None:
        super().__init__()
        self.preset = preset
        self.class_names = tuple(class_names)
        self.backbone = _backbone(preset)
        c2, c3, c4, c5 = self.backbone.out_channels
        self.neck = FPN((c3, c4, c5), preset.channels)
        self.bbox_head = SipMaskHead(preset, len(self.class_names), c2)

    def forward(self, images: Tensor) -> HeadOutputs:
        """images: (N, 3, H, W) float, normalised as the preset says."""
        c2, c3, c4, c5 = self.backbone(images)
        return self.bbox_head(self.neck(c3, c4, c5), c2)

    def track_features(self, images: Tensor) -> Tensor:
        """Only the `track_features` of `forward`; for presets with a track branch."""
        _, c3, c4, c5 = self.backbone(images)
        return self.bbox_head.track_features(*self.neck(c3, c4, c5)[:3])

    def losses(
        self,
        images: Tensor,
        targets: Sequence[dict[str, Tensor]],
        normalise: Normaliser | None = None,
    ) -> dict[str, Tensor]:
        """Named losses of a batch; their sum is what training minimises.

        images: (N, 3, H, W) float, normalised. targets: per image a dict with `boxes` (n, 4)
        x0 y0 x1 y1 in pixels, `labels` (n,) int64 0-based and `masks` (n, H, W) of 0 and 1. In a
        batch of different sizes, H and W are those of the image without its padding.
        What is not known may be told beside it: `ignore` (H, W), 1 where an image shows a crowd and
        background is not to be learnt; `has_mask` (n,) bool: objects without a mask teach class,
        box and centerness alone; `known_classes` (classes,) bool: of others it is not known whether
        the image shows any; `unsure_boxes` (k, 4) and `unsure_labels` (k,): whether there is an
        object of that class within that box.
        Presets with a track branch also need another frame of the same video: `reference_image`
        (3, H, W) float, normalised; `reference_boxes` (m, 4) of the objects in it; and
        `reference_match` (n,) int64: 1 + the index in `reference_boxes` of the same object, 0 for
        an object that the reference does not show. With `ids` (n,) and `reference_ids` (m,) int64,
        our own presets learn to tell objects from those of the batch's other references as well.
        normalise: what sums are divided by where several processes share a batch.
        Raises InputError when an image of the authors' presets has no object: their loss is
        undefined there, and when what a track branch needs is missing.
        """
        from sipmask_core.training.losses import sipmask_losses
        from sipmask_core.training.normaliser import Normaliser

        return sipmask_losses(self, self(images), targets, normalise or Normaliser())


def _backbone(preset: Preset) -> ResNet | EfficientNetLite:
    if preset.backbone == "efficientnet_lite0":
        return EfficientNetLite()
    return ResNet(preset.backbone, preset.stage_widths, preset.deformable, preset.batch_norm_eps)


def build_model(
    preset: str | Preset,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> SipMask:
    """A model of that preset with fresh weights, in eval mode.

    `class_names` defaults to COCO's 80 names, with a track branch to the 40 of YouTube-VIS 2019,
    or to "class 0", ... for another `num_classes`. Raises InputError for an unknown preset or when
    names and number disagree.
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

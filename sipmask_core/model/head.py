"""The SipMask head: dense boxes, feature alignment, mask coefficients and basis maps.

Paper, section 3: the features of the class tower are re-sampled at places that follow from the
predicted box (feature alignment). They give the class scores and, per location, one set of mask
coefficients for each sub-region of the box. The box tower of P3 to P5 yields the basis maps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sipmask_core.model.deform import deformable_conv3x3
from sipmask_core.model.fpn import ConvBlock
from sipmask_core.model.mask_scoring import predicted_ious, scoring_layers
from sipmask_core.model.outputs import STRIDES, HeadOutputs

if TYPE_CHECKING:
    from sipmask_core.model.presets import Preset

NORM_GROUPS = 32
ALIGN_GROUPS = 4
CLASS_PRIOR = 0.01
# First distance to a box side, in strides: the IoU loss learns only from boxes that overlap.
INITIAL_DISTANCE = 4.0


class Scale(nn.Module):
    """One learnable factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply x, of any shape, by the factor."""
        return x * self.scale


class FeatureAlign(nn.Module):
    """Deformable 3x3 convolution whose offsets come from the box predicted at each location.

    Without `normalise` the norm is skipped, but its parameters stay: the authors' checkpoints of
    such configurations hold them. Without `align` the convolution is a plain one.
    """

    def __init__(
        self, channels: int, normalise: bool, align: bool = True, bias: bool = False
    ) -> None:
        super().__init__()
        if align:
            self.conv_offset = nn.Conv2d(4, ALIGN_GROUPS * 2 * 9, 1, bias=False)
        self.conv_adaption = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.norm = nn.GroupNorm(NORM_GROUPS, channels)
        self.normalise = normalise
        self.align = align

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        """Align x (N, C, H, W) with the boxes of distances (N, 4, H, W) in strides.

        The distances get no gradient. They can have more bits than x; offsets are predicted in
        their dtype.
        """
        if self.align:
            offset = _in_its_own_type(self.conv_offset, distances.detach())
            # (N, groups * 9 * 2, H, W), (dy, dx)
            x = deformable_conv3x3(x, offset, self.conv_adaption.weight, self.conv_adaption.bias)
        else:
            x = self.conv_adaption(x.to(self.conv_adaption.weight.dtype))
        return F.relu(self.norm(x) if self.normalise else x, inplace=True)


class SipMaskHead(nn.Module):
    """Maps FPN features to `HeadOutputs`. The levels share the towers and predicting convolutions.

    `fine_channels`: width of the features at stride 4, for presets with a detail branch.
    """

    def __init__(self, preset: Preset, num_classes: int, fine_channels: int) -> None:
        super().__init__()
        c = preset.channels
        groups = NORM_GROUPS if preset.group_norm else 0
        cells = preset.sub_regions**2

        def tower(depth: int) -> nn.ModuleList:
            return nn.ModuleList(
                ConvBlock(c, c, 3, norm_groups=groups, bias_with_norm=preset.bias_with_norm)
                for _ in range(depth)
            )

        self.cls_convs = tower(preset.tower_convs - 1)
        self.reg_convs = tower(preset.tower_convs)
        self.fcos_cls = nn.Conv2d(c, num_classes, 3, padding=1)
        self.fcos_reg = nn.Conv2d(c, 4, 3, padding=1)
        self.fcos_centerness = nn.Conv2d(c, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in STRIDES)
        self.rectified_distances = preset.rectified_distances
        self.feat_align = FeatureAlign(
            c, preset.group_norm, preset.feature_alignment, preset.bias_with_norm
        )
        self.sip_cof = nn.Conv2d(c, cells * preset.num_bases, 3, padding=1)
        self.sip_mask_lat = nn.Conv2d(preset.basis_channels, preset.num_bases, 3, padding=1)
        self.sip_mask_lat0 = nn.Conv2d(3 * c, preset.basis_channels, 1)
        self.has_detail_branch = preset.detail_channels > 0
        if self.has_detail_branch:
            self.detail_conv = nn.Conv2d(fine_channels, preset.detail_channels, 3, padding=1)
            self.detail_basis = nn.Conv2d(preset.detail_channels, preset.num_bases, 3, padding=1)
        if preset.mask_rescoring:
            self.convs_scoring, self.mask_scoring = scoring_layers(num_classes)
        self.has_track_branch = preset.embedding_channels > 0
        if self.has_track_branch:
            self.track_convs = tower(preset.track_convs)
            self.sipmask_track = nn.Conv2d(3 * c, preset.embedding_channels, 1)
        self._initialise(preset.coefficient_std, preset.zero_distances)

    def _initialise(self, coefficient_std: float | None, zero_distances: bool) -> None:
        for name, module in self.named_modules():
            std = coefficient_std if name == "sip_cof" else 0.01
            if isinstance(module, nn.Conv2d) and std is not None:
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.fcos_cls.bias, -math.log(1 / CLASS_PRIOR - 1))  # type: ignore[arg-type]
        if self.feat_align.align:
            nn.init.zeros_(self.feat_align.conv_offset.weight)
        if self.has_detail_branch:
            # A fresh branch adds zero, so that it can be added to a trained model.
            nn.init.kaiming_normal_(self.detail_conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(self.detail_basis.weight)
        if not zero_distances:
            nn.init.constant_(self.fcos_reg.bias, INITIAL_DISTANCE)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor], fine: Tensor) -> HeadOutputs:
        """Predict from P3 to P7, each (N, C, H_l, W_l), and `fine`: C2 (N, C2, H / 4, W / 4)."""
        levels = [
            self._level(x, scale, stride)
            for x, scale, stride in zip(features, self.scales, STRIDES, strict=True)
        ]
        class_logits, distances, centerness, coefficients, box_features = (
            list(kind) for kind in zip(*levels, strict=True)
        )
        p3, p4, p5 = box_features[:3]
        return HeadOutputs(
            class_logits,
            distances,
            centerness,
            coefficients,
            basis=self.basis_maps(p3, p4, p5, fine),
            track_features=self.track_features(*features[:3]) if self.has_track_branch else None,
        )

    def _level(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, ...]:
        """Predict from one level x (N, C, H_l, W_l).

        Return its part of the lists of `HeadOutputs`, and the box tower's features.
        """
        cls, reg = x, x
        for conv in self.cls_convs:
            cls = F.relu(conv(cls), inplace=True)
        for conv in self.reg_convs:
            reg = F.relu(conv(reg), inplace=True)
        # Coordinates stay in full precision even if the towers run in half.
        distances = scale(_in_its_own_type(self.fcos_reg, reg))
        if self.rectified_distances:
            distances = F.relu(distances)
        cls = self.feat_align(cls, distances).to(x.dtype)
        return (
            self.fcos_cls(cls),
            distances * stride,
            self.fcos_centerness(reg),
            self.sip_cof(cls),
            reg,
        )

    def basis_maps(self, p3: Tensor, p4: Tensor, p5: Tensor, fine: Tensor) -> Tensor:
        """Map box-tower features at strides 8, 16, 32, and C2 to (N, num_bases, H / 2, W / 2)."""
        x = self.sip_mask_lat0(_stack(p3, p4, p5))  # (N, basis_channels, H/8, W/8)
        x = self.sip_mask_lat(F.relu(x, inplace=True))
        x = F.relu(x, inplace=True)  # (N, num_bases, H/8, W/8)
        if not self.has_detail_branch:
            return _upsample(x, 4)
        x = _upsample(x, 2, fine.shape[-2:])  # (N, num_bases, H/4, W/4)
        x = x + self.detail_basis(F.relu(self.detail_conv(fine), inplace=True))
        return _upsample(F.relu(x, inplace=True), 2)

    def track_features(self, p3: Tensor, p4: Tensor, p5: Tensor) -> Tensor:
        """Map P3 to P5 to embeddings (N, embedding_channels, H / 8, W / 8). SipMask-VIS only."""
        pyramid = [p3, p4, p5]
        for conv in self.track_convs:
            pyramid = [F.relu(conv(x)) for x in pyramid]
        return self.sipmask_track(_stack(*pyramid))

    def score_masks(self, soft_masks: Tensor, labels: Tensor) -> Tensor:
        """Predict the IoU (n,) of soft masks (n, H / 2, W / 2) of labels (n,). SipMask++ only."""
        return predicted_ious(self.convs_scoring, self.mask_scoring, soft_masks, labels)


def _in_its_own_type(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve in the dtype of the weights; autocast, if it is on, would convert both to half."""
    x = x.to(convolution.weight.dtype)
    kind = x.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return convolution(x)
    with torch.autocast(kind, enabled=False):
        return convolution(x)


def _stack(p3: Tensor, p4: Tensor, p5: Tensor) -> Tensor:
    """Stack features (N, C, H_l, W_l) at strides 8, 16, 32 to (N, 3C, H / 8, W / 8)."""
    size = p3.shape[-2:]
    return torch.cat((p3, _upsample(p4, 2, size), _upsample(p5, 4, size)), dim=1)


def _upsample(x: Tensor, factor: int, size: torch.Size | None = None) -> Tensor:
    x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x if size is None else x[..., : size[0], : size[1]]

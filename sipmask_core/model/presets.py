"""The configurations from which a model can be built: one frozen record per preset.

The names of the official presets are those of the authors' configuration files, and a preset with
an official name reproduces the authors' behaviour, quirks included: published checkpoints were
trained with them. Each quirk is a field. Presets of our own have none of the quirks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

ResNetDepth = Literal["resnet18", "resnet50", "resnet101"]
Backbone = Literal[ResNetDepth, "efficientnet_lite0"]
MOST_CONVS = 16  # most convolutions of a tower
MOST_SIDE = 8192  # pixels of a side of the network's input that a file may ask for
_LARGEST = 1e18  # number given for a float in a file: tensors cannot hold much larger integers
CAFFE_MEAN_BGR = (102.9801, 115.9465, 122.7717)
IMAGENET_MEAN_RGB = (123.675, 116.28, 103.53)
IMAGENET_STD_RGB = (58.395, 57.12, 57.375)
CENTRED_MEAN = (127.0, 127.0, 127.0)
CENTRED_STD = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class KeepRatio:
    """Resize the short side to `short`, or less if the long one would exceed `long`; pad to /32."""

    long: int
    short: int


@dataclass(frozen=True)
class AntialiasedKeepRatio(KeepRatio):
    """As KeepRatio, but antialiased if it shrinks, and the longer side is truncated."""


@dataclass(frozen=True)
class Stretch:
    """Resize to exactly `height` x `width`, whatever the aspect ratio."""

    height: int
    width: int


@dataclass(frozen=True)
class Letterbox:
    """Resize to fit into `height` x `width` at the image's own aspect ratio; pad to that size."""

    height: int
    width: int


@dataclass(frozen=True)
class Preset:
    """Everything that fixes a network, its input and its post-processing.

    Network
        backbone: a ResNet, whose four stages have the base widths `stage_widths`; `deformable`
            puts deformable convolutions in stages 2 to 4 (SipMask++). Or EfficientNet-Lite0, which
            these two do not change.
        channels: width of FPN and head.
        tower_convs: number of 3x3 convolutions of the box tower; the class tower has one less, for
            feature alignment takes its place. `group_norm` normalises them; `bias_with_norm` keeps
            the biases of normalised convolutions, feature alignment's included.
        sub_regions: the box is cut into sub_regions x sub_regions cells, each with its own
            coefficients (paper, section 3.1). `num_bases` is the number of basis maps.
        basis_channels: width of the 1x1 convolution before the basis maps.
        detail_channels: width of the branch that adds the backbone's features at stride 4 to the
            basis maps, whose own features have stride 8; 0, as in the paper: no such branch.
        mask_rescoring: predict the IoU of each mask (SipMask++).
        feature_alignment: False replaces the deformable convolution of feature alignment by a plain
            one of the same size.
        embedding_channels: length of the vector that tells objects of a video apart
            (SipMask-VIS); 0: no track branch. `track_convs`: its number of 3x3 convolutions.
        rectified_distances: box distances go through a ReLU, so that none is negative.
        batch_norm_eps: added to the variance in the backbone.
    Training
        coefficient_std: standard deviation of the fresh weights that predict the mask coefficients;
            None for PyTorch's own initialisation.
        iou_unit: unit in which the box loss measures boxes, a "stride" of their level or a "pixel".
            It matters only together with `inclusive_boxes`.
        mask_weighting: weight each object's mask loss by its class score x box IoU (paper, section
            3.2); False weights all alike.
        box_loss: -log of the "iou", or 1 - "giou" (generalised IoU).
        images_in_class_loss: the class loss is divided by the number of positive locations plus
            the number of images; False divides by the number of locations alone.
        mask_weight_eps: added to the sum of the mask weights, by which they are divided.
        duplicate_iou: if predicted boxes of positive locations of an image overlap more than this,
            the mask loss takes the location of highest class score; 1 takes all.
        halve_high_mask_loss: a mask loss above 1 counts half.
    Input
        resize: the rule for test images. mean, std: per channel, in the order given by `rgb`.
    Post-processing
        nms: "per_class" (greedy), "fast" (matrix form) or "pairs" (greedy, over pairs of location
            and class; see `detect_pairs`). score_threshold, nms_threshold, max_detections,
            candidates_per_level: its settings. mask_threshold: soft masks above it are foreground.
    Conventions of the authors' code, with which their checkpoints were trained
        inclusive_boxes: a box ends on its last pixel instead of after it: "+1" in sides and areas.
        floored_masks: masks are resized with floored output sizes and one factor for both axes.
        zero_distances: box distances start at zero; False starts them at a few strides, at which
            the IoU loss has a gradient.
        needs_objects: the loss is undefined for images without objects, so they are left out.
        crowds_are_background: training takes regions of crowds for background.
        inverted_boxes: predicted boxes with two negative sides teach masks, too.
        batch_references: a video model also learns to tell objects from those of the other
            references in the batch (False in the authors' code).
        threshold_on_class_score: greedy NMS compares the class score alone with the threshold, so
            that scores, which centerness lowers, can be below it.
        evaluation_threshold: evaluation counts detections from this score on; None: from
            score_threshold on.

    >>> import dataclasses
    >>> import sipmask_core as sm
    >>> preset = sm.get_preset("sipmask_r50_caffe_fpn_ssd_gn_10x")
    >>> preset.backbone, preset.resize, preset.sub_regions
    ('resnet50', Stretch(height=544, width=544), 2)
    >>> coarse = dataclasses.replace(preset, name="one_region", sub_regions=1)
    >>> sm.build_model(coarse, num_classes=3).preset.name
    'one_region'
    """

    name: str
    backbone: Backbone
    resize: KeepRatio | Stretch | Letterbox
    stage_widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    deformable: bool = False
    channels: int = 256
    tower_convs: int = 4
    group_norm: bool = True
    sub_regions: int = 2
    num_bases: int = 32
    basis_channels: int = 512
    detail_channels: int = 0
    mask_rescoring: bool = False
    feature_alignment: bool = True
    embedding_channels: int = 0
    track_convs: int = 2
    rectified_distances: bool = False
    bias_with_norm: bool = False
    batch_norm_eps: float = 1e-5
    coefficient_std: float | None = 0.001
    iou_unit: Literal["stride", "pixel"] = "stride"
    mask_weighting: bool = True
    box_loss: Literal["iou", "giou"] = "iou"
    images_in_class_loss: bool = True
    mask_weight_eps: float = 1e-4
    duplicate_iou: float = 1.0
    halve_high_mask_loss: bool = False
    mean: tuple[float, float, float] = CAFFE_MEAN_BGR
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rgb: bool = False
    nms: Literal["per_class", "fast", "pairs"] = "per_class"
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    candidates_per_level: int = 1000
    mask_threshold: float = 0.4
    inclusive_boxes: bool = True
    floored_masks: bool = True
    zero_distances: bool = True
    needs_objects: bool = True
    crowds_are_background: bool = True
    inverted_boxes: bool = True
    batch_references: bool = False
    threshold_on_class_score: bool = True
    evaluation_threshold: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.sub_regions <= 5:
            raise InputError(f"sub_regions is {self.sub_regions}; it must be between 1 and 5.")
        if self.channels < 32 or self.channels % 32:
            raise InputError(f"channels is {self.channels}; it must be a multiple of 32.")
        if self.backbone not in get_args(Backbone):
            known = ", ".join(get_args(Backbone))
            raise InputError(f"backbone is {self.backbone!r}; it must be {known}.")
        if self.nms not in ("per_class", "fast", "pairs"):
            raise InputError(f"nms is {self.nms!r}; it must be per_class, fast or pairs.")
        if self.box_loss not in ("iou", "giou"):
            raise InputError(f"box_loss is {self.box_loss!r}; it must be iou or giou.")
        for name in ("embedding_channels", "detail_channels"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        for name in ("tower_convs", "track_convs"):
            if not 0 <= getattr(self, name) <= MOST_CONVS:
                raise InputError(
                    f"{name} is {getattr(self, name)}; it must be between 0 and {MOST_CONVS}."
                )
        if self.iou_unit not in ("stride", "pixel"):
            raise InputError(f"iou_unit is {self.iou_unit!r}; it must be stride or pixel.")
        if not self.batch_norm_eps >= 0:
            raise InputError(f"batch_norm_eps is {self.batch_norm_eps}; it must be 0 or more.")
        if not 0 <= self.mask_threshold < 1:
            raise InputError(
                f"mask_threshold is {self.mask_threshold}; it must be 0 or more and below 1."
            )


# Those under "Network": what a network is built from.
NETWORK_FIELDS = (
    "backbone",
    "stage_widths",
    "deformable",
    "channels",
    "tower_convs",
    "group_norm",
    "sub_regions",
    "num_bases",
    "basis_channels",
    "detail_channels",
    "mask_rescoring",
    "feature_alignment",
    "embedding_channels",
    "track_convs",
    "rectified_distances",
    "bias_with_norm",
    "batch_norm_eps",
)

ACCURATE = KeepRatio(long=1333, short=800)
REAL_TIME = Stretch(544, 544)
VIDEO = KeepRatio(long=640, short=360)


def _accurate(name: str, backbone: Backbone) -> Preset:
    return Preset(name, backbone, ACCURATE)


def _real_time(
    name: str,
    backbone: Backbone,
    *,
    group_norm: bool,
    plus_plus: bool = False,
) -> Preset:
    return Preset(
        name,
        backbone,
        REAL_TIME,
        tower_convs=2,
        group_norm=group_norm,
        deformable=plus_plus,
        mask_rescoring=plus_plus,
        nms="fast",
        score_threshold=0.1,
    )


def _benchmark(name: str, backbone: Backbone) -> Preset:
    """Make the authors' variant for the maskrcnn-benchmark code."""
    return Preset(
        name,
        backbone,
        AntialiasedKeepRatio(long=1333, short=800),
        rectified_distances=True,
        bias_with_norm=True,
        coefficient_std=None,
        batch_norm_eps=0.0,
        nms="pairs",
        nms_threshold=0.6,
        box_loss="giou",
        images_in_class_loss=False,
        mask_weight_eps=0.0,
        duplicate_iou=0.9,
        halve_high_mask_loss=True,
    )


def _video(name: str) -> Preset:
    return Preset(
        name,
        "resnet50",
        VIDEO,
        tower_convs=3,
        embedding_channels=512,
        coefficient_std=0.01,
        nms="fast",
        score_threshold=0.03,
        max_detections=10,
        candidates_per_level=200,
        mask_threshold=0.5,
        iou_unit="pixel",
    )


# The conventions of our own presets.
_OWN_CONVENTIONS: dict[str, Any] = {
    "inclusive_boxes": False,
    "floored_masks": False,
    "zero_distances": False,
    "needs_objects": False,
    "crowds_are_background": False,
    "inverted_boxes": False,
    "batch_references": True,
    "threshold_on_class_score": False,
    "evaluation_threshold": 0.05,  # AP wants the uncertain detections too
}

_LITE = Preset(
    "sipmask_r18_lite",
    "resnet18",
    Letterbox(320, 320),
    stage_widths=(64, 128, 256, 256),
    channels=96,
    tower_convs=2,
    basis_channels=128,
    mean=IMAGENET_MEAN_RGB,
    std=IMAGENET_STD_RGB,
    rgb=True,
    score_threshold=0.3,
    mask_threshold=0.5,
    candidates_per_level=300,
    **_OWN_CONVENTIONS,
    iou_unit="pixel",
)

_EFFICIENT = replace(
    _LITE,
    name="sipmask_efficientnet_lite0",
    backbone="efficientnet_lite0",
    resize=KeepRatio(384, 384),
    detail_channels=32,
    mask_threshold=0.4,
    mean=CENTRED_MEAN,
    std=CENTRED_STD,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _accurate("sipmask_r50_caffe_fpn_gn_1x", "resnet50"),
        _accurate("sipmask_r50_caffe_fpn_gn_ms_2x", "resnet50"),
        _accurate("sipmask_r101_caffe_fpn_gn_ms_4x", "resnet101"),
        _real_time("sipmask_r50_caffe_fpn_ssd_6x", "resnet50", group_norm=False),
        _real_time("sipmask_r50_caffe_fpn_ssd_gn_10x", "resnet50", group_norm=True),
        _real_time("sipmask_r101_caffe_fpn_ssd_6x", "resnet101", group_norm=False),
        _real_time("sipmask_r101_caffe_fpn_ssd_gn_10x", "resnet101", group_norm=True),
        _real_time(
            "sipmask++_r101_caffe_fpn_ssd_6x", "resnet101", group_norm=False, plus_plus=True
        ),
        _real_time(
            "sipmask++_r101_caffe_fpn_ssd_gn_10x", "resnet101", group_norm=True, plus_plus=True
        ),
        _benchmark("benchmark_sipmask_R_50_FPN_1x", "resnet50"),
        _benchmark("benchmark_sipmask_R_101_FPN_ms_3x", "resnet101"),
        _video("vis_sipmask_r50_caffe_fpn_gn_1x"),
        _video("vis_sipmask_r50_caffe_fpn_gn_ms_1x"),
        _LITE,
        _EFFICIENT,
        replace(_LITE, name="vis_sipmask_r18_lite", embedding_channels=64, track_convs=1),
    )
}


def preset_names() -> list[str]:
    """Return the names that `build_model` and `--preset` accept.

    >>> import sipmask_core as sm
    >>> "sipmask++_r101_caffe_fpn_ssd_6x" in sm.preset_names()
    True
    """
    return list(PRESETS)


def get_preset(name: str) -> Preset:
    """Return the preset of that name; raise InputError with the known names if there is none.

    >>> import sipmask_core as sm
    >>> sm.get_preset("vis_sipmask_r50_caffe_fpn_gn_1x").embedding_channels
    512
    """
    try:
        return PRESETS[name]
    except KeyError:
        known = ", ".join(PRESETS)
        raise InputError(f"There is no preset {name!r}; the presets are: {known}.") from None


def with_longest_side(preset: Preset, side: int) -> Preset:
    """Return the preset with inputs of that longest side, if its rule knows one side alone."""
    rule = preset.resize
    if isinstance(rule, Letterbox) and rule.height == rule.width:
        return replace(preset, resize=Letterbox(side, side))
    if isinstance(rule, KeepRatio) and rule.long == rule.short:
        return replace(preset, resize=replace(rule, long=side, short=side))
    return preset


def override(preset: Preset, settings: Sequence[str]) -> Preset:
    """Return the preset with some fields changed, for experiments.

    settings: such as ["sub_regions=3", "feature_alignment=false"], values in JSON or plain text.
    They become part of the name: an official name belongs to the official configuration. Raises
    InputError for a field that does not exist and for a value that does not fit it.
    """
    if not settings:
        return preset
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in _CHANGEABLE:
            raise InputError(
                f"{setting!r} changes no field of a preset; give FIELD=VALUE with one of"
                f" {', '.join(_CHANGEABLE)}."
            )
        now = getattr(preset, name)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        value = tuple(value) if isinstance(value, list) else value
        value = float(value) if type(now) is float and type(value) is int else value
        if type(value) is not type(now):
            raise InputError(f"{setting!r} does not fit: {name} is like {json.dumps(now)}.")
        changes[name] = value
    return replace(preset, name="+".join((preset.name, *settings)), **changes)


_CHANGEABLE = [field.name for field in fields(Preset) if field.name not in ("name", "resize")]

_RESIZE_RULES: dict[str, type[KeepRatio | Stretch | Letterbox]] = {
    rule.__name__: rule for rule in (KeepRatio, AntialiasedKeepRatio, Stretch, Letterbox)
}


def preset_to_json(preset: Preset) -> str:
    """Write all fields as text, so that a checkpoint outlives changes of the preset's defaults."""
    return json.dumps({**asdict(preset), "resize_rule": type(preset.resize).__name__})


def preset_from_json(text: str, source: str) -> Preset:
    """Read what `preset_to_json` wrote; raise InputError naming `source` for anything else."""
    try:
        record = json.loads(text)
        rule = _RESIZE_RULES[record.pop("resize_rule")]
        if record.pop("authors", True) is False:  # older files hold this one field instead
            record |= _OWN_CONVENTIONS
        lists = {k: tuple(v) for k, v in record.items() if isinstance(v, list)}
        preset = Preset(**{**record, **lists, "resize": rule(**record["resize"])})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"The preset record of {source!r} cannot be read: {error}.") from None
    _require_sense(preset, f"The preset record of {source!r}")
    return preset


def _require_sense(preset: Preset, what: str) -> None:
    """Raise InputError if a preset from a file has values that no preset can have."""
    examples = {field.name: getattr(_LITE, field.name) for field in fields(Preset)}
    del examples["resize"]
    for name in ("coefficient_std", "evaluation_threshold"):
        if getattr(preset, name) is None:
            del examples[name]
    for name, example in examples.items():
        value = getattr(preset, name)
        if not _is_like(value, example):
            raise InputError(f"{what} has {name} {value!r}; expected is the like of {example!r}.")
    for name, pixels in asdict(preset.resize).items():
        if type(pixels) is not int or not 1 <= pixels <= MOST_SIDE:
            raise InputError(f"{what} has {name} {pixels!r}; expected are 1 to {MOST_SIDE} pixels.")
    if min(preset.std) <= 0:
        raise InputError(f"{what} has std {preset.std}; it must be > 0.")


def _is_like(value: Any, example: Any) -> bool:
    """Return whether a value is like an example: of its type, floats bounded, no integer < 0."""
    if isinstance(example, tuple):
        return (
            isinstance(value, tuple)
            and len(value) == len(example)
            and all(map(_is_like, value, example))
        )
    if type(example) is float:
        return type(value) in (int, float) and abs(value) < _LARGEST
    return type(value) is type(example) and (type(value) is not int or value >= 0)

"""What is timed: the predictor that ships, its plain form, and torchvision's Mask R-CNN."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from sipmask_core.benchmark.plain import plain_postprocess, plain_rle
from sipmask_core.inference.detections import find_objects
from sipmask_core.model.head import INITIAL_DISTANCE
from sipmask_core.model.inputs import Normalise, prepare
from sipmask_core.model.sipmask import build_model
from sipmask_core.runtime.devices import PRECISIONS
from sipmask_core.runtime.stopwatch import stage, time_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.model.sipmask import SipMask

RIVAL = "maskrcnn_resnet50_fpn"
RIVAL_MASK_THRESHOLD = 0.5


class Contender(Protocol):
    """What turns an image into RLEs in named stages; precision: of most of its arithmetic."""

    precision: str

    def __call__(self, image: NDArray[np.uint8]) -> int:
        """Turn an image, (H, W, 3) uint8 BGR, into RLEs; return the number of instances."""


class Shipped:
    """The predictor itself; its network is divided into backbone, neck and head."""

    def __init__(self, predictor: Predictor) -> None:
        self.precision = predictor.precision
        self._predictor = predictor
        _name_parts(predictor.model)

    def __call__(self, image: NDArray[np.uint8]) -> int:
        """Turn an image into RLEs, see `Contender`."""
        instances = self._predictor(image)
        with stage("rle"):
            return len(instances.to_rle())


class Plain:
    """The same model without any of what makes it fast.

    It has float32, batch norm as it is, channels first, and every mask at the size of the image.
    """

    precision = "fp32"

    def __init__(self, model: SipMask, device: torch.device) -> None:
        self._model = copy.deepcopy(model).eval().requires_grad_(False).to(device)
        self._normalise = Normalise(model.preset).to(device)
        self._device = device
        _name_parts(self._model)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> int:
        """Turn an image into RLEs, see `Contender`."""
        preset = self._model.preset
        with stage("preprocess"):
            prepared = prepare(image, preset)
        with stage("upload"):
            pixels = torch.from_numpy(prepared.pixels)[None].to(self._device)
        with stage("preprocess"):
            x = self._normalise(pixels, prepared.size, torch.float32).contiguous()
        with stage("network"):
            outputs = self._model(x)
        with stage("masks"):
            instances = plain_postprocess(
                outputs,
                prepared,
                image.shape[:2],
                preset,
                rate_masks=self._rate_masks,
            )
        with stage("rle"):
            return len(plain_rle(instances))

    def _rate_masks(self, soft: Tensor, labels: Tensor) -> Tensor:
        return self._model.score_masks(soft, labels.to(soft.device))


class MaskRCNN:
    """torchvision's Mask R-CNN with ResNet-50 FPN, its own settings, random weights.

    input_size: (H, W) that images are resized to. How many instances random weights report, and
    with it the time of the mask branch, is chance. If an operator does not know the precision, all
    runs in float32.
    """

    def __init__(self, input_size: tuple[int, int], device: torch.device, precision: str) -> None:
        from torchvision.models.detection import maskrcnn_resnet50_fpn

        height, width = input_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = maskrcnn_resnet50_fpn(
                weights=None, weights_backbone=None, fixed_size=(width, height)
            )
        model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self._model = model
        self._device = device
        self.precision = precision
        try:
            self(np.zeros((height, width, 3), np.uint8))
        except (RuntimeError, NotImplementedError):
            self.precision = "fp32"
        for module, name in (
            (model.transform, "preprocess"),
            (model.backbone.body, "backbone"),
            (model.backbone.fpn, "neck"),
            (model.rpn, "head"),
            (model.roi_heads, "head"),
        ):
            time_module(module, name)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device.type, PRECISIONS[self.precision])

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> int:
        """Turn an image into RLEs, see `Contender`."""
        with stage("upload"):
            pixels = torch.from_numpy(image).to(self._device)
        with stage("preprocess"):
            x = pixels.flip(-1).permute(2, 0, 1).float().div_(255)
        with stage("masks"), self._autocast():  # what is not a stage of its own pastes masks
            (found,) = self._model([x])
            masks: Tensor = found["masks"][:, 0] > RIVAL_MASK_THRESHOLD  # (N, H, W)
            bitmaps = masks.cpu().numpy().view(np.uint8)
        with stage("rle"):
            return len([coco_mask.encode(np.asfortranarray(bitmap)) for bitmap in bitmaps])


def _name_parts(model: SipMask) -> None:
    for module, name in (
        (model.backbone, "backbone"),
        (model.neck, "neck"),
        (model.bbox_head, "head"),
    ):
        time_module(module, name)


def untrained(preset: str) -> SipMask:
    """Build a model of random weights, always the same, whose boxes have the sides of real ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(preset)
    nn.init.constant_(model.bbox_head.fcos_reg.bias, INITIAL_DISTANCE)  # type: ignore[arg-type]
    return model


def reporting(
    model: SipMask, predictor: Predictor, image: NDArray[np.uint8], instances: int
) -> SipMask:
    """Copy the model, with thresholds such that it reports this many instances of the image.

    predictor: of the model, for a look at the image. Fewer are reported if the network has no more
    to say.
    """
    prepared = predictor.prepare(image)
    outputs = predictor.raw_outputs(prepared)
    scores = torch.cat([x[0].float().sigmoid().flatten() for x in outputs.class_logits])
    scores = scores.sort(descending=True).values
    candidates = 2 * instances
    while True:
        threshold = float(scores[min(candidates, len(scores)) - 1])
        preset = replace(model.preset, score_threshold=threshold, max_detections=instances)
        found = find_objects(outputs, prepared, preset, None)
        if len(found.boxes) >= instances or candidates >= len(scores):
            break
        candidates *= 2
    return model.with_preset(preset)

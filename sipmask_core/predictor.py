"""Image in, instances out."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sipmask_core.checkpoints import load_model
from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_core.masks import paste, soft_mask_crop, soft_masks
from sipmask_core.model.backbone import DeformableConv2d
from sipmask_core.model.head import BASIS_STRIDE, FeatureAlign, HeadOutputs, SipMaskHead
from sipmask_core.onnx_model import ONNX_SUFFIX, OnnxModel, OnnxNetwork, default_device
from sipmask_core.postprocess import (
    Detections,
    detect,
    detect_pairs,
    embeddings_at,
    select_candidates,
)
from sipmask_core.preprocess import NetworkInput, Normalise, check_image, prepare
from sipmask_core.presets import Stretch
from sipmask_core.tracking import Tracker

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.tracking import Mode

PRETRAINED = Path(__file__).parent / "weights" / "sipmask_r18_lite_person.safetensors"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Predictor:
    """Runs a model on images of any size.

    model: a `SipMask`, or an `OnnxModel`, whose network onnxruntime runs in float32.
    device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
    precision: "fp32", "fp16", "bf16" or "auto": fp16 on CUDA; on a CPU bf16 where the processor
        multiplies it natively, fp32 otherwise.
    score_threshold: lowest score to report; where None, the preset's own rule, which for the
        authors' accurate presets is on the class score alone, so that scores can be lower.
    num_threads: CPU threads for the whole process, torch's own choice where None.
    Raises InputError for a device or precision that cannot be used.

    The model given is not changed: the predictor works on a copy with batch norm folded into the
    convolutions.
    """

    def __init__(
        self,
        model: SipMask | OnnxModel,
        device: str = "auto",
        precision: str = "auto",
        score_threshold: float | None = None,
        num_threads: int | None = None,
    ) -> None:
        if num_threads is not None:
            if num_threads < 1:
                raise InputError(f"num_threads is {num_threads}; it must be at least 1.")
            torch.set_num_threads(num_threads)
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise InputError(f"score_threshold is {score_threshold}; it must be between 0 and 1.")
        if isinstance(model, OnnxModel):
            self.device = choose_device(default_device() if device == "auto" else device)
            self.precision = _onnx_precision(precision)
            self._model: SipMask | OnnxNetwork = OnnxNetwork(model, self.device)
        else:
            self.device = choose_device(device)
            self.precision = _choose_precision(precision, self.device)
            self._model = _for_inference(model, self.device, PRECISIONS[self.precision])
        self.preset = model.preset
        self.class_names = model.class_names
        self.model_name = model.preset.name
        self.score_threshold = (
            model.preset.score_threshold if score_threshold is None else score_threshold
        )
        self._cut_scores = score_threshold is not None
        self._dtype = PRECISIONS[self.precision]
        self._normalise = Normalise(self.preset).to(self.device)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        device: str = "auto",
        precision: str = "auto",
        score_threshold: float | None = None,
        num_threads: int | None = None,
        preset: str | None = None,
    ) -> Predictor:
        """The model in a checkpoint (.safetensors, .pth) or, run by onnxruntime, in an .onnx file.

        preset: as for `load_model`; an .onnx file has its own. Raises InputError for a file that
        cannot be used.
        """
        if Path(path).suffix != ONNX_SUFFIX:
            model: SipMask | OnnxModel = load_model(path, preset)
        elif preset is None:
            model = OnnxModel(path)
        else:
            raise InputError(f"{str(path)!r} has a preset of its own; {preset} cannot replace it.")
        return cls(model, device, precision, score_threshold, num_threads)

    @classmethod
    def from_pretrained(
        cls,
        device: str = "auto",
        precision: str = "auto",
        score_threshold: float | None = None,
        num_threads: int | None = None,
    ) -> Predictor:
        """The model that ships with the package: people, light enough for a CPU."""
        return cls.from_file(PRETRAINED, device, precision, score_threshold, num_threads)

    def __call__(self, image: NDArray[np.uint8]) -> Instances:
        """image: (H, W, 3) uint8, BGR. Raises InputError for anything else."""
        prepared = self.prepare(image)
        return self.postprocess(self.forward(prepared), prepared, image.shape[:2])

    @property
    def tracking_mode(self) -> Mode:
        """The authors' association for presets with a track branch, the online one for others."""
        return "youtube-vis" if self.preset.embedding_channels else "online"

    def track(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Instances]:
        """The instances of each frame of one video, with track ids; see `Tracker`.

        frames: images as for a call, in order; they are taken one at a time. The mode is
        `tracking_mode`, and the memory is fresh in each call.
        """
        tracker = Tracker(self.tracking_mode)
        return (tracker.update(self(frame)) for frame in frames)

    def prepare(self, image: NDArray[np.uint8]) -> NetworkInput:
        """Resize and pad the image."""
        return prepare(check_image(image), self.preset)

    @torch.inference_mode()
    def forward(self, prepared: NetworkInput) -> HeadOutputs:
        """Upload, normalise and run the network."""
        pixels = torch.from_numpy(prepared.pixels).to(self.device)[None]
        return self._model(self._normalise(pixels, prepared.size, self._dtype))

    @torch.inference_mode()
    def postprocess(
        self, outputs: HeadOutputs, prepared: NetworkInput, image_size: tuple[int, int]
    ) -> Instances:
        """Decode, NMS and masks at the size (H, W) of the original image."""
        preset = self.preset
        edge = 1 if preset.authors else 0
        limit = (prepared.size[0] - edge, prepared.size[1] - edge)
        scale = outputs.distances[0].new_tensor([*prepared.scale, *prepared.scale])  # (4,)
        if preset.nms == "pairs":
            found = detect_pairs(outputs, 0, limit, preset, self.score_threshold)
            found = found._replace(boxes=found.boxes / scale)
        else:
            candidates = select_candidates(outputs, 0, limit, preset.candidates_per_level)
            # The authors suppress in the coordinates of the original image.
            candidates = candidates._replace(boxes=candidates.boxes / scale)
            found = detect(candidates, preset, self.score_threshold)
        if self._cut_scores:
            above = found.scores >= self.score_threshold
            found = Detections(*(values[above] for values in found))
        if len(found.boxes) == 0:
            return Instances.empty((image_size[0], image_size[1]))

        network_boxes = found.boxes * scale  # (N, 4) in network pixels
        basis = outputs.basis[0]  # (bases, H / 2, W / 2)
        canvas = (basis.shape[1], basis.shape[2])
        ratio = self._mask_ratio(canvas, prepared.scale)
        area = _mask_area(canvas, ratio, image_size)
        boxes = network_boxes / BASIS_STRIDE
        coefficients = found.coefficients.view(len(boxes), -1, preset.num_bases)
        crops = [
            paste(
                soft_mask_crop(basis, cells, box, preset.sub_regions),
                canvas,
                ratio,
                area,
                preset.mask_threshold,
            )
            for cells, box in zip(coefficients, boxes.tolist(), strict=True)
        ]
        mask_scores = found.scores
        if preset.mask_rescoring:
            soft = soft_masks(basis.float(), found.coefficients, boxes, preset.sub_regions)
            head = self._model.bbox_head
            rating = head.score_masks(soft.to(self._dtype), found.labels).float()
            mask_scores = mask_scores * rating
        embeddings = found.boxes.new_zeros(len(boxes), 0)
        if outputs.track_features is not None:
            embeddings = embeddings_at(outputs.track_features[0], network_boxes)
        return Instances(
            boxes=found.boxes.cpu().numpy(),
            scores=found.scores.cpu().numpy(),
            labels=found.labels.cpu().numpy(),
            mask_crops=crops,
            image_size=(image_size[0], image_size[1]),
            mask_scores=mask_scores.cpu().numpy(),
            embeddings=embeddings.cpu().numpy(),
        )

    def _mask_ratio(
        self, canvas: tuple[int, int], scale: tuple[float, float]
    ) -> tuple[float, float]:
        """Basis pixels per image pixel, (vertical, horizontal).

        The authors resize the whole canvas to the floor of its size in image pixels, and the
        ratio is that of the rounded sizes. Both axes have one factor, the smaller, except with the
        544 x 544 presets, where factors are float32.
        """
        horizontal, vertical = scale
        if not self.preset.authors:
            return vertical / BASIS_STRIDE, horizontal / BASIS_STRIDE
        if not isinstance(self.preset.resize, Stretch):
            horizontal = vertical = min(scale)
        precise = np.float32 if isinstance(self.preset.resize, Stretch) else np.float64
        height, width = (
            max(1, math.floor(size * float(precise(BASIS_STRIDE) / precise(s))))
            for size, s in zip(canvas, (vertical, horizontal), strict=True)
        )
        return canvas[0] / height, canvas[1] / width


def _mask_area(
    canvas: tuple[int, int], ratio: tuple[float, float], image_size: tuple[int, int]
) -> tuple[int, int]:
    """The part (H, W) of the image that the resized canvas reaches; the authors' can fall short."""
    return (
        min(image_size[0], math.ceil(canvas[0] / ratio[0] - 1e-6)),
        min(image_size[1], math.ceil(canvas[1] / ratio[1] - 1e-6)),
    )


def choose_device(device: str) -> torch.device:
    """The torch device that "auto", "cpu", "cuda" or "cuda:N" means here; InputError otherwise."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device is {device!r}; it must be auto, cpu, cuda or cuda:N.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device is {device!r}, but torch sees {torch.cuda.device_count()} CUDA devices."
        )
    return chosen


def _choose_precision(precision: str, device: torch.device) -> str:
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; it must be auto, fp32, fp16 or bf16.")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision is 'fp16', which CPUs cannot use; it must be fp32 or bf16.")
    return precision


def _onnx_precision(precision: str) -> str:
    if precision not in ("auto", "fp32"):
        raise InputError(
            f"precision is {precision!r}, but ONNX files run in theirs; it must be auto or fp32."
        )
    return "fp32"


def _for_inference(model: SipMask, device: torch.device, dtype: torch.dtype) -> SipMask:
    """A copy of the model, ready to run: folded, on its device, in its precision.

    Box regression, feature alignment and deformable convolutions stay in float32: coordinates
    do not survive fewer bits.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.backbone.fold_batch_norm()
    model = model.to(device, dtype).to(memory_format=torch.channels_last)
    head: SipMaskHead = model.bbox_head
    for module in model.modules():
        if isinstance(module, FeatureAlign | DeformableConv2d):
            module.float()
    head.fcos_reg.float()
    head.scales.float()
    return model

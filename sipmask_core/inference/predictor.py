"""The predictor: an image in, its instances out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from sipmask_core.errors import InputError, PredictionError
from sipmask_core.inference.cuda_graphs import GraphedNetwork
from sipmask_core.inference.detections import (
    as_instances,
    find_objects,
    for_download,
    with_candidates,
)
from sipmask_core.inference.masks import ImageMasks
from sipmask_core.inference.onnx_model import ONNX_SUFFIX, OnnxModel, OnnxNetwork, default_device
from sipmask_core.instances import Instances
from sipmask_core.model.checkpoints import load_model
from sipmask_core.model.head import SipMaskHead
from sipmask_core.model.inputs import NetworkInput, Normalise, check_image, prepare
from sipmask_core.model.outputs import HeadOutputs, locations
from sipmask_core.runtime.cuda import empty_cache, full_float32
from sipmask_core.runtime.devices import (
    PRECISIONS,
    choose_device,
    choose_precision,
    upload,
    use_threads,
)
from sipmask_core.runtime.memory import with_second_try
from sipmask_core.runtime.stopwatch import stage
from sipmask_core.segmenter import require_score
from sipmask_core.tracking.tracker import Tracker
from sipmask_core.weights import home

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sipmask_core.inference.cuda_graphs import Graph
    from sipmask_core.inference.detections import Detections
    from sipmask_core.model.outputs import Locate
    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.tracking.tracker import Mode

T = TypeVar("T")

PRETRAINED = home.SHIPPED_FILE


class Predictor:
    """Runs a model on images of any size.

    model: a `SipMask`, or an `OnnxModel`, whose network onnxruntime runs in float32.
    device: "auto" (CUDA if it can be used), "cpu", "cuda", "cuda:1", ...
    precision: "fp32", "fp16", "bf16" or "auto": fp16 on CUDA; on a CPU bf16 if the processor
        multiplies it natively, fp32 otherwise. An `OnnxModel` takes "fp32" or "auto".
    score_threshold: lowest score to report; None applies the preset's own rule, which in the
        authors' accurate presets looks at the class score alone, so that scores can be lower.
    num_threads: CPU threads of torch in the whole process, whichever of its threads calls; None
        leaves torch's number as it is.
    Raises InputError for a device, precision, threshold or number of threads that cannot be used.

    The given model is not changed: the predictor works on a copy with batch norm folded into the
    convolutions.

    Calls, `predict_batch` and `track` are for use. `prepare`, `forward`, `postprocess` and the like
    are what a call consists of, for those who measure, compare or export its parts.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> predictor = sm.Predictor.from_pretrained(device="cpu", score_threshold=0.4)
    >>> photo = np.zeros((480, 640, 3), np.uint8)  # or cv2.imread(...): BGR
    >>> instances = predictor(photo)
    >>> len(instances), instances.masks.shape  # nothing is to be seen on it
    (0, (0, 480, 640))
    >>> len(predictor.class_names)
    80
    """

    def __init__(
        self,
        model: SipMask | OnnxModel,
        device: str = "auto",
        precision: str = "auto",
        score_threshold: float | None = None,
        num_threads: int | None = None,
    ) -> None:
        use_threads(num_threads)
        self._num_threads = num_threads
        if isinstance(model, OnnxModel):
            self.device = choose_device(default_device() if device == "auto" else device)
            self.precision = _onnx_precision(precision)
            self._model: SipMask | OnnxNetwork = OnnxNetwork(model, self.device)
        else:
            self.device = choose_device(device)
            self.precision = choose_precision(precision, self.device)
            self._model = _for_inference(model, self.device, PRECISIONS[self.precision])
        self.preset = model.preset
        self.class_names = model.class_names
        self.model_name = model.preset.name
        self.score_threshold = score_threshold
        self._dtype = PRECISIONS[self.precision]
        self._normalise = Normalise(self.preset).to(self.device)
        self._graphed = None
        if self.device.type == "cuda" and not isinstance(model, OnnxModel):
            self._graphed = GraphedNetwork(self._up_to_candidates, self.device)

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
        """Load a checkpoint (.safetensors, .pth) or an .onnx file, which onnxruntime runs.

        preset: as for `load_model`; None for an .onnx file, which has its own. Raises InputError
        for a file that cannot be used.
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
        name: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        score_threshold: float | None = None,
        num_threads: int | None = None,
    ) -> Predictor:
        """Load published weights that `sipmask weights get` has fetched, by their name.

        name: None is the model that ships with the package: everyday objects, light enough for a
        CPU. Nothing is downloaded: raises InputError with the command that fetches if the weights
        are not here, and for a name that `sipmask weights list` does not show.
        """
        path = PRETRAINED if name is None else home.find(name)
        return cls.from_file(path, device, precision, score_threshold, num_threads)

    def __call__(self, image: NDArray[np.uint8]) -> Instances:
        """Segment an image (H, W, 3) uint8 BGR. Raises InputError for anything else.

        Raises PredictionError if memory runs out, and again after the recorded graphs have been
        dropped, and if the network's outputs are not finite; the next image may be fine.
        """
        return self.segment(self.prepare(image), image.shape[:2])

    def segment(self, prepared: NetworkInput, image_size: tuple[int, int]) -> Instances:
        """Do the rest of a call, for an image of (H, W) pixels that is prepared already."""
        return self._attempt(
            lambda: self.postprocess(self.forward(prepared), prepared, image_size),
            f"an image of {image_size[1]}x{image_size[0]} pixels",
        )

    def _attempt(self, work: Callable[[], T], what: str) -> T:
        """Return work(), with a second try and the errors of a call, whose messages name `what`."""
        where = f"on {self.device} with {self.model_name} in {self.precision}"
        try:
            return with_second_try(work, self.release_memory)
        except MemoryError:
            raise PredictionError(
                f"There is too little memory for {what} {where}; choose a preset with a smaller "
                "network or input, fewer bits (precision) or fewer images at a time, or end what "
                "else uses the memory."
            ) from None
        except FloatingPointError:
            cause = (
                "they may be too large for fp16: choose precision fp32"
                if self.precision == "fp16"
                else "the weights may be damaged, or their training has diverged"
            )
            raise PredictionError(
                f"The network's outputs for {what} are not finite {where}; {cause}."
            ) from None

    @property
    def graphs(self) -> list[Graph]:
        """The CUDA graphs that are recorded by now."""
        return [] if self._graphed is None else self._graphed.graphs

    def release_memory(self) -> None:
        """Give back what of a GPU's memory only makes later calls faster, graphs above all."""
        if self._graphed is not None:
            self._graphed.clear()
        empty_cache()

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """Segment several images in less time than a call for each would take.

        images: as for a call, of any sizes; those whose network inputs are of one size go through
        the network together. Libraries compute a batch in another order than an image alone, so
        the last bits can differ from those of a call. Raises the errors of a call, for all images
        even if only one is at fault: each of them alone may be fine.
        """
        if len(images) == 1:
            return [self(images[0])]
        prepared = [self.prepare(image) for image in images]
        sizes = [image.shape[:2] for image in images]
        return self._attempt(
            lambda: self._segment_batch(prepared, sizes), f"a batch of {len(images)} images"
        )

    @torch.inference_mode()
    def _segment_batch(
        self, prepared: Sequence[NetworkInput], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        alike: dict[tuple[object, ...], list[int]] = {}
        for index, given in enumerate(prepared):
            alike.setdefault((given.pixels.shape, given.size), []).append(index)
        found = [Instances.empty((0, 0))] * len(prepared)
        for group in alike.values():
            pixels = torch.from_numpy(np.stack([prepared[i].pixels for i in group]))
            outputs = self.forward_batch(pixels, prepared[group[0]].size)
            for row, i in enumerate(group):
                found[i] = self.postprocess(outputs.image(row), prepared[i], image_sizes[i])
        return found

    @property
    def score_threshold(self) -> float | None:
        """The threshold as given; it may be changed between calls."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float | None) -> None:
        require_score(value)
        self._score_threshold = value

    @property
    def model(self) -> SipMask:
        """The copy that runs: folded, on the device, in the precision; TypeError for ONNX files."""
        if isinstance(self._model, OnnxNetwork):
            raise TypeError("The network of an ONNX file is no torch module.")
        return self._model

    @property
    def tracking_mode(self) -> Mode:
        """The authors' association for presets with a track branch, the online one for others."""
        return "youtube-vis" if self.preset.embedding_channels else "online"

    def track(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Instances]:
        """Yield the instances of each frame of one video, with track ids; see `Tracker`.

        frames: images as for a call, in order; they are taken one at a time. The mode is
        `tracking_mode`, and each call starts without any track.
        """
        tracker = Tracker(self.tracking_mode)
        return (tracker.update(self(frame)) for frame in frames)

    def prepare(self, image: NDArray[np.uint8]) -> NetworkInput:
        """Resize and pad the image. Raises InputError for anything but (H, W, 3) uint8."""
        with stage("preprocess"):
            return prepare(check_image(image), self.preset)

    def forward(self, prepared: NetworkInput) -> HeadOutputs:
        """Upload and normalise a prepared image and run the network on it.

        On a GPU candidates are selected at once, and stand in place of the raw outputs that they
        are selected from, which are empty; see `raw_outputs`.
        """
        return self.forward_batch(torch.from_numpy(prepared.pixels)[None], prepared.size)

    @torch.inference_mode()
    def raw_outputs(self, prepared: NetworkInput) -> HeadOutputs:
        """Do what `forward` does, without a graph, and return the raw outputs on any device."""
        pixels = upload(prepared.pixels[None], self.device)
        with full_float32(self.device):
            return self._network(pixels, prepared.size)

    @torch.inference_mode()
    def forward_batch(self, pixels: Tensor, size: tuple[int, int]) -> HeadOutputs:
        """Do what `forward` does for N prepared images of one size, (N, H, W, 3) uint8 on the CPU.

        size: (h, w) of the images within, at the top left.
        """
        # A thread that has computed before keeps its number of threads, even if another sets one.
        if self._num_threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(self._num_threads)
        with stage("network"):
            if self._graphed is None:
                return self._network(pixels.to(self.device), size)
            return self._graphed(pixels, size)

    def _network(self, pixels: Tensor, size: tuple[int, int] | Tensor) -> HeadOutputs:
        """Normalise pixels on the model's device and run the network, without waiting for a GPU."""
        with stage("preprocess"):
            x = self._normalise(pixels, size, self._dtype)  # (N, 3, H, W), channels-last
        return self._model(x)

    def _up_to_candidates(
        self, pixels: Tensor, size: tuple[int, int] | Tensor, locate: Locate = locations
    ) -> HeadOutputs:
        """Do all work whose shapes follow from that of the input, which a graph can record.

        size: a tensor (2,) if on the device of the pixels. locate: as for `with_candidates`.
        """
        outputs = with_candidates(self._network(pixels, size), size, self.preset, locate)
        return for_download(outputs, self.preset)

    @torch.inference_mode()
    def postprocess(
        self, outputs: HeadOutputs, prepared: NetworkInput, image_size: tuple[int, int]
    ) -> Instances:
        """Decode, apply NMS, and compute masks at the size (H, W) of the original image."""
        with stage("nms"):
            found = find_objects(outputs, prepared, self.preset, self.score_threshold)
        with stage("masks"):
            return self._with_masks(found, outputs, prepared, image_size)

    def _with_masks(
        self,
        found: Detections,
        outputs: HeadOutputs,
        prepared: NetworkInput,
        image_size: tuple[int, int],
    ) -> Instances:
        preset = self.preset
        if len(found.boxes) == 0:
            return Instances.empty(image_size)

        network_boxes = found.boxes * torch.tensor([*prepared.scale, *prepared.scale])
        masks = ImageMasks(
            outputs.basis[0],
            found.coefficients,
            network_boxes,
            preset,
            prepared.scale,
            image_size,
        )
        mask_scores = found.scores
        if preset.mask_rescoring:
            mask_scores = mask_scores * self.rate_masks(masks.soft(), found.labels).cpu()
        crops = masks.crops()
        return as_instances(found, outputs, network_boxes, crops, mask_scores, image_size)

    def rate_masks(self, soft: Tensor, labels: Tensor) -> Tensor:
        """Predict the IoU (N,) float32 of soft masks (N, H / 2, W / 2), for SipMask++.

        soft: on the device of the model. labels: (N,) on the CPU.
        """
        labels = upload(labels, soft.device)
        with full_float32(self.device):
            return self._model.score_masks(soft.to(self._dtype), labels).float()


def _onnx_precision(precision: str) -> str:
    if precision not in ("auto", "fp32"):
        raise InputError(
            f"precision is {precision!r}, but ONNX files run in theirs; it must be auto or fp32."
        )
    return "fp32"


def _for_inference(model: SipMask, device: torch.device, dtype: torch.dtype) -> SipMask:
    """Copy the model, ready to run: folded, on its device, in its precision.

    Box regression and the offsets of feature alignment stay in float32: fewer bits would spoil
    coordinates.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.backbone.fold_batch_norm()
    model = model.to(device, dtype).to(memory_format=torch.channels_last)
    head: SipMaskHead = model.bbox_head
    if head.feat_align.align:
        head.feat_align.conv_offset.float()
    head.fcos_reg.float()
    head.scales.float()
    return model

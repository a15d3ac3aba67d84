"""From a model to an ONNX file that other runtimes read, and proof that it computes the same."""

from __future__ import annotations

import base64
import copy
import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from sipmask_core.errors import InputError
from sipmask_core.inference.onnx_model import (
    INPUT_NAME,
    ONNX_SUFFIX,
    RESCORING_KEY,
    OnnxModel,
    OnnxNetwork,
    flat,
    input_size,
    output_channels,
)
from sipmask_core.inference.predictor import Predictor
from sipmask_core.model.checkpoints import describe_model
from sipmask_core.model.inputs import PAD_MULTIPLE, Normalise
from sipmask_core.model.presets import Letterbox, Stretch
from sipmask_core.runtime.files import atomic_path

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.model.head import SipMaskHead
    from sipmask_core.model.sipmask import SipMask

# (H, W) to trace at if any size is allowed: no map of any level is one pixel wide, which the
# exporter would treat as a special case.
_TRACED_SIZE = (256, 320)


def with_input_size(model: SipMask, size: tuple[int, int]) -> SipMask:
    """Copy the model so that its network takes inputs of exactly (H, W), multiples of 32.

    Images are resized bilinearly, to fit at their own aspect ratio and padded, or stretched if the
    preset stretches. Raises InputError for other sizes.
    """
    if min(size) < PAD_MULTIPLE or any(side % PAD_MULTIPLE for side in size):
        raise InputError(
            f"The input size is {size[1]}x{size[0]}; both must be multiples of {PAD_MULTIPLE}."
        )
    rule = Stretch if isinstance(model.preset.resize, Stretch) else Letterbox
    return model.with_preset(replace(model.preset, resize=rule(*size)))


def export_onnx(
    model: SipMask, path: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write the network as an ONNX file that `OnnxModel` opens, atomically.

    Its input is `images` (N, 3, H, W) float32, normalised as the preset says, for any N; H and W
    are fixed if the preset resizes all images to one size, and otherwise any multiples of 32. Its
    outputs are those of `HeadOutputs`, see `output_channels`. The preset and the class names are
    added to the given metadata.
    Raises InputError if onnxscript is not installed or does not go with this PyTorch, for another
    file ending, and if the file cannot be written.

    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cup", "plate"])
    >>> sm.export_onnx(model, "dishes.onnx")
    >>> sm.OnnxModel("dishes.onnx").class_names
    ('cup', 'plate')
    """
    path = Path(path)
    if path.suffix != ONNX_SUFFIX:
        raise InputError(f"{str(path)!r} must end in {ONNX_SUFFIX}.")
    try:
        import onnxscript  # torch's exporter needs it but does not install it
    except ImportError:
        raise InputError(
            "Exporting needs the packages onnx, onnxscript and onnxruntime: "
            "pip install 'sipmask-core[onnx]'."
        ) from None
    network = _FlatNetwork(model)
    size = input_size(model.preset)
    shape: dict[int, Any] = {0: torch.export.Dim("N")}
    if size is None:
        shape[2] = PAD_MULTIPLE * torch.export.Dim("h")
        shape[3] = PAD_MULTIPLE * torch.export.Dim("w")
    described = {**(metadata or {}), **describe_model(model)}
    if model.preset.mask_rescoring:
        weights = safetensors.torch.save(_rescoring_weights(network.model.bbox_head))
        described[RESCORING_KEY] = base64.b64encode(weights).decode()
    try:
        with redirect_stdout(io.StringIO()):  # where PyTorch 2.7 counts what it rewrites
            program = torch.onnx.export(
                network,
                (torch.zeros(2, 3, *(size or _TRACED_SIZE)),),
                input_names=[INPUT_NAME],
                output_names=list(output_channels(model.preset, len(model.class_names))),
                dynamic_shapes=(shape,),
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(described)
        with atomic_path(path) as temporary:
            program.save(temporary, external_data=False)
    except RuntimeError as error:  # of torch's exporter and of onnxscript
        raise InputError(
            f"PyTorch {torch.__version__} cannot export with onnxscript {onnxscript.__version__}"
            f" ({type(error).__name__}); versions of about the same date go together."
        ) from error


def _rescoring_weights(head: SipMaskHead) -> dict[str, Tensor]:
    """Return the part of a head's state that a `MaskScorer` takes."""
    parts = ("convs_scoring.", "mask_scoring.")
    return {key: value for key, value in head.state_dict().items() if key.startswith(parts)}


class _FlatNetwork(nn.Module):
    """A float32 copy of the model on the CPU whose outputs are a plain tuple."""

    def __init__(self, model: SipMask) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float()
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the model on normalised images (N, 3, H, W)."""
        return flat(self.model(images))


class Agreement(NamedTuple):
    """How far an ONNX file is from the model it was made from, in float32 on the CPU.

    differences: for each kind of raw output, the largest absolute difference in a batch of two,
        divided by the largest absolute value. detections: number of instances that PyTorch finds in
        the image. onnx_detections: number that onnxruntime finds. matched: number that both find:
        same class, mask IoU at least MATCHED_MASK_IOU and scores within MATCHED_SCORE.
    """

    differences: dict[str, float]
    detections: int
    onnx_detections: int
    matched: int

    @property
    def holds(self) -> bool:
        """Whether the two are the same up to rounding."""
        return (
            max(self.differences.values()) <= LARGEST_DIFFERENCE
            and self.detections == self.onnx_detections == self.matched
        )


# Rounding, grown through a deep network; a wrong operation makes a much larger difference.
LARGEST_DIFFERENCE = 1e-3
MATCHED_MASK_IOU = 0.99
MATCHED_SCORE = 1e-3


def compare(model: SipMask, exported: OnnxModel, image: NDArray[np.uint8]) -> Agreement:
    """Run both on an image (H, W, 3) uint8 BGR and compare raw outputs and instances."""
    eager = Predictor(model, device="cpu", precision="fp32")
    onnx = Predictor(exported, device="cpu")
    prepared = eager.prepare(image)
    x = Normalise(model.preset)(
        torch.from_numpy(prepared.pixels)[None], prepared.size, torch.float32
    )
    x = torch.cat((x, x.flip(3)))  # (2, 3, H, W)
    with torch.inference_mode():
        wanted, found = _FlatNetwork(model)(x), flat(OnnxNetwork(exported, x.device)(x))
    differences: dict[str, float] = {}
    names = output_channels(model.preset, len(model.class_names))
    for name, a, b in zip(names, wanted, found, strict=True):
        kind = name.partition("_p")[0]
        difference = float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
        differences[kind] = max(difference, differences.get(kind, 0.0))
    ours, theirs = eager(image), onnx(image)
    return Agreement(differences, len(ours), len(theirs), _matched(ours, theirs))


def _matched(ours: Instances, theirs: Instances) -> int:
    """Count the instances that both have.

    That is the lower of two numbers: those of `ours` like one of `theirs`, and the reverse.
    """
    if len(ours) == 0 or len(theirs) == 0:
        return 0
    our_masks, their_masks = ours.to_rle(), theirs.to_rle()
    iou = coco_mask.iou(our_masks, their_masks, [0] * len(their_masks))  # (N, M)
    area = coco_mask.area(our_masks)[:, None] + coco_mask.area(their_masks)
    same = (
        ((iou >= MATCHED_MASK_IOU) | (area == 0))  # a thin box can have an empty mask
        & (ours.labels[:, None] == theirs.labels)
        & (np.abs(ours.scores[:, None] - theirs.scores) <= MATCHED_SCORE)
    )
    return int(min(same.any(axis=0).sum(), same.any(axis=1).sum()))

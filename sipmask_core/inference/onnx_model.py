"""Networks in ONNX files, run by onnxruntime.

The file holds the network from normalised pixels to raw head outputs; resize, NMS and masks stay in
`Predictor`. Its metadata carry the preset and the class names, as those of a checkpoint do. If the
preset re-scores masks (SipMask++), they also carry the weights for it, which are not in the network
because they apply to the masks that NMS leaves.
"""

from __future__ import annotations

import base64
import copy
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from sipmask_core.errors import InputError
from sipmask_core.model.checkpoints import FORMAT, metadata_class_names, misfits
from sipmask_core.model.mask_scoring import MaskScorer
from sipmask_core.model.outputs import BASIS_STRIDE, STRIDES, TRACK_STRIDE, HeadOutputs
from sipmask_core.model.presets import KeepRatio, Preset, preset_from_json
from sipmask_core.runtime.files import require_file
from sipmask_core.runtime.stopwatch import wait_for

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from torch import Tensor

ONNX_SUFFIX = ".onnx"
INPUT_NAME = "images"
RESCORING_KEY = "mask_scoring"
_CPU, _CUDA, _TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
_ONLY_ERRORS = 3  # severity at which onnxruntime logs


def output_channels(preset: Preset, num_classes: int) -> dict[str, int]:
    """Return the names of the network's outputs in their order, with the channels of each.

    They are those of `HeadOutputs`, its lists as class_logits_p3 to class_logits_p7 and so on.
    """
    lists = {
        "class_logits": num_classes,
        "distances": 4,
        "centerness": 1,
        "coefficients": preset.sub_regions**2 * preset.num_bases,
    }
    channels = {
        f"{name}_p{level}": number
        for name, number in lists.items()
        for level, _ in enumerate(STRIDES, start=3)
    }
    channels["basis"] = preset.num_bases
    if preset.embedding_channels:
        channels["track_features"] = preset.embedding_channels
    return channels


def _stride(name: str) -> int:
    """Return the stride of the output of this name."""
    kind, _, level = name.partition("_p")
    if level:
        return STRIDES[int(level) - 3]
    return BASIS_STRIDE if kind == "basis" else TRACK_STRIDE


def flat(outputs: HeadOutputs) -> tuple[Tensor, ...]:
    """Return the outputs as a tuple in the order of `output_channels`."""
    lists = (outputs.class_logits, outputs.distances, outputs.centerness, outputs.coefficients)
    track = () if outputs.track_features is None else (outputs.track_features,)
    return (*chain(*lists), outputs.basis, *track)


def nested(tensors: Sequence[Tensor]) -> HeadOutputs:
    """Turn a tuple that `flat` returned to outputs again."""
    n = len(STRIDES)
    logits, distances, centerness, coefficients = (
        list(tensors[i * n : (i + 1) * n]) for i in range(4)
    )
    basis, *track = tensors[4 * n :]
    return HeadOutputs(
        logits, distances, centerness, coefficients, basis, track[0] if track else None
    )


def input_size(preset: Preset) -> tuple[int, int] | None:
    """Return the (H, W) of the network's input; None if it depends on the image."""
    rule = preset.resize
    return None if isinstance(rule, KeepRatio) else (rule.height, rule.width)


class OnnxModel:
    """An ONNX file that `export_onnx` wrote, to give to a `Predictor`.

    preset, class_names: as in a `SipMask`.
    Raises InputError if onnxruntime is not installed, and if the file is missing, cannot be read or
    holds something else.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> sm.export_onnx(sm.build_model("sipmask_r18_lite", num_classes=2), "lite.onnx")
    >>> predictor = sm.Predictor(sm.OnnxModel("lite.onnx"), device="cpu")
    >>> predictor(np.zeros((48, 64, 3), np.uint8)).image_size
    (48, 64)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        require_file(self.path, "model")
        try:
            self._content = self.path.read_bytes()
        except OSError as error:
            raise InputError(f"{str(self.path)!r} cannot be read: {error.strerror}.") from None
        session = self._read()
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{str(self.path)!r} was not written by `sipmask export`: it names no preset."
            )
        self.preset = preset_from_json(metadata.get("preset", ""), str(self.path))
        self.class_names = metadata_class_names(metadata, str(self.path)) or ()
        self._check_shapes(session)
        self.mask_scorer = self._mask_scorer(metadata) if self.preset.mask_rescoring else None

    def _read(self) -> Any:
        """Open a session that only reads: preparing to run would take several times as long."""
        onnxruntime = _import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        return self.session(options, [_CPU])

    def session(self, options: Any, providers: Sequence[str | tuple[str, dict[str, int]]]) -> Any:
        """Open an onnxruntime session for the network, even if the file has changed since."""
        options.log_severity_level = _ONLY_ERRORS
        try:
            return _import_onnxruntime().InferenceSession(
                self._content, options, providers=providers
            )
        except Exception as error:  # onnxruntime's errors have no common base class
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                f"{str(self.path)!r} is not a readable ONNX file ({reason})."
            ) from None

    def _check_shapes(self, session: Any) -> None:
        """Raise InputError if the network is not the one that the file's metadata describe."""
        inputs, outputs = session.get_inputs(), session.get_outputs()
        found = [(value.name, *value.shape[1:2]) for value in (*inputs, *outputs)]
        expected = [(INPUT_NAME, 3), *output_channels(self.preset, len(self.class_names)).items()]
        found_size = tuple(side for value in inputs for side in value.shape[2:])
        size = input_size(self.preset)
        if found == expected and size in (None, found_size):
            return
        wrong = next((pair for pair in zip_longest(found, expected) if pair[0] != pair[1]), None)
        has, wants = wrong or (found_size, size)
        raise InputError(
            f"The network in {str(self.path)!r} is not that of its preset {self.preset.name} with "
            f"{len(self.class_names)} classes: it has {has} in place of {wants}."
        )

    def _mask_scorer(self, metadata: dict[str, str]) -> MaskScorer:
        """Return what re-scores masks, with the weights that the metadata carry."""
        with torch.device("meta"):  # the weights come from the file
            scorer = MaskScorer(len(self.class_names))
        try:
            content = base64.b64decode(metadata.get(RESCORING_KEY, ""), validate=True)
            state = safetensors.torch.load(content)
        except (ValueError, SafetensorError) as error:
            raise InputError(
                f"The weights that re-score masks in {str(self.path)!r} cannot be read: {error}."
            ) from None
        problems = misfits(scorer.state_dict(), state)
        if problems:
            raise InputError(
                f"The weights that re-score masks in {str(self.path)!r} do not fit: {problems}."
            )
        scorer.load_state_dict(state, assign=True)
        return scorer


class OnnxNetwork:
    """The network of an `OnnxModel` on a device, called like a `SipMask`.

    It uses as many CPU threads as PyTorch does.
    Raises InputError if the installed onnxruntime cannot use the device.
    """

    def __init__(self, model: OnnxModel, device: torch.device) -> None:
        onnxruntime = _import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        fixed_size = input_size(model.preset) is not None
        providers = execution_providers(device, fixed_size, onnxruntime.get_available_providers())
        self._session = model.session(options, providers)
        # If the libraries of a provider are missing, onnxruntime goes on without it.
        if device.type == "cuda" and _CUDA not in self._session.get_providers():
            raise InputError(
                f"device is '{device}', but onnxruntime cannot use CUDA here; install "
                "onnxruntime-gpu and the CUDA libraries of its version, or choose cpu."
            )
        self._channels = output_channels(model.preset, len(model.class_names))
        self._mask_scorer = copy.deepcopy(model.mask_scorer)
        if self._mask_scorer is not None:
            self._mask_scorer.to(device)

    def __call__(self, images: Tensor) -> HeadOutputs:
        """Run on normalised images (N, 3, H, W) float32; the outputs are on the same device."""
        images = images.contiguous()
        if images.is_cuda:
            return nested(self.run_in_place(images))
        arrays = self._session.run(None, {INPUT_NAME: images.numpy()})
        return nested([torch.from_numpy(array) for array in arrays])

    def score_masks(self, soft_masks: Tensor, labels: Tensor) -> Tensor:
        """Predict the IoU (n,) of soft masks (n, H / 2, W / 2) of labels (n,). SipMask++ only."""
        assert self._mask_scorer is not None
        ious: Tensor = self._mask_scorer(soft_masks, labels)
        return ious

    def run_in_place(self, images: Tensor) -> list[Tensor]:
        """Let onnxruntime read and write torch's memory on the device of the images."""
        number, _, height, width = images.shape
        outputs = {
            name: images.new_empty(number, channels, -(-height // stride), -(-width // stride))
            for name, channels in self._channels.items()
            for stride in (_stride(name),)
        }
        binding = self._session.io_binding()
        place = images.device.type, images.device.index or 0, np.float32
        binding.bind_input(INPUT_NAME, *place, tuple(images.shape), images.data_ptr())
        for name, x in outputs.items():
            binding.bind_output(name, *place, tuple(x.shape), x.data_ptr())
        # onnxruntime works on a stream of its own, and when it returns it has done so.
        wait_for(images.device)
        self._session.run_with_iobinding(binding)
        return list(outputs.values())


def default_device() -> str:
    """Return "cuda" if both PyTorch and the installed onnxruntime can use it, else "cpu"."""
    both = torch.cuda.is_available() and _CUDA in _import_onnxruntime().get_available_providers()
    return "cuda" if both else "cpu"


def execution_providers(
    device: torch.device, fixed_size: bool, available: Sequence[str]
) -> list[str | tuple[str, dict[str, int]]]:
    """Return the providers for onnxruntime to use on a device, the fastest first.

    TensorRT builds an engine for each input size, which takes minutes; it is left out unless the
    network has only one input size.
    """
    if device.type == "cpu":
        return [_CPU]
    wanted = (_TENSORRT, _CUDA) if fixed_size else (_CUDA,)
    options = {"device_id": device.index or 0}
    return [*((name, options) for name in wanted if name in available), _CPU]


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "ONNX files are run by onnxruntime, which is not installed; pip install onnxruntime, "
            "or onnxruntime-gpu for CUDA and TensorRT."
        ) from None
    return onnxruntime

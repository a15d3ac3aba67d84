"""SipMask in today's PyTorch: build, load, run and train the models of Cao et al., ECCV 2020.

Names are imported when they are first used, so that `sipmask --help` does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sipmask_core.errors import InputError, PredictionError
    from sipmask_core.inference.onnx_export import export_onnx
    from sipmask_core.inference.onnx_model import OnnxModel
    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.instances import Instances
    from sipmask_core.mask_crop import MaskCrop
    from sipmask_core.model.checkpoints import (
        convert_checkpoint,
        load_backbone,
        load_checkpoint,
        load_model,
        save_checkpoint,
    )
    from sipmask_core.model.presets import Preset, get_preset, preset_names
    from sipmask_core.model.sipmask import SipMask, build_model
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.tracking.settings import TrackerSettings
    from sipmask_core.tracking.tracker import Tracker

_HOME = {
    "InputError": "errors",
    "Instances": "instances",
    "MaskCrop": "mask_crop",
    "OnnxModel": "inference.onnx_model",
    "PredictionError": "errors",
    "Predictor": "inference.predictor",
    "Preset": "model.presets",
    "Segmenter": "segmenter",
    "SipMask": "model.sipmask",
    "Tracker": "tracking.tracker",
    "TrackerSettings": "tracking.settings",
    "build_model": "model.sipmask",
    "convert_checkpoint": "model.checkpoints",
    "export_onnx": "inference.onnx_export",
    "get_preset": "model.presets",
    "load_backbone": "model.checkpoints",
    "load_checkpoint": "model.checkpoints",
    "load_model": "model.checkpoints",
    "preset_names": "model.presets",
    "save_checkpoint": "model.checkpoints",
}

__all__ = [
    "InputError",
    "Instances",
    "MaskCrop",
    "OnnxModel",
    "PredictionError",
    "Predictor",
    "Preset",
    "Segmenter",
    "SipMask",
    "Tracker",
    "TrackerSettings",
    "build_model",
    "convert_checkpoint",
    "export_onnx",
    "get_preset",
    "load_backbone",
    "load_checkpoint",
    "load_model",
    "preset_names",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

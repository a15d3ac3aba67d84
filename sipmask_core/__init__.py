"""SipMask in today's PyTorch: build, load, run and train the models of Cao et al., ECCV 2020.

Names are imported when they are first used, so that `sipmask --help` need not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sipmask_core.checkpoints import (
        convert_checkpoint,
        load_backbone,
        load_checkpoint,
        load_model,
        save_checkpoint,
    )
    from sipmask_core.errors import InputError, PredictionError
    from sipmask_core.instances import Instances, MaskCrop
    from sipmask_core.model.sipmask import SipMask, build_model
    from sipmask_core.online_tracker import TrackerSettings
    from sipmask_core.onnx_export import export_onnx
    from sipmask_core.onnx_model import OnnxModel
    from sipmask_core.predictor import Predictor
    from sipmask_core.presets import Preset, get_preset, preset_names
    from sipmask_core.tracking import Tracker

_HOME = {
    "InputError": "errors",
    "Instances": "instances",
    "MaskCrop": "instances",
    "OnnxModel": "onnx_model",
    "PredictionError": "errors",
    "Predictor": "predictor",
    "Preset": "presets",
    "SipMask": "model.sipmask",
    "Tracker": "tracking",
    "TrackerSettings": "online_tracker",
    "build_model": "model.sipmask",
    "convert_checkpoint": "checkpoints",
    "export_onnx": "onnx_export",
    "get_preset": "presets",
    "load_backbone": "checkpoints",
    "load_checkpoint": "checkpoints",
    "load_model": "checkpoints",
    "preset_names": "presets",
    "save_checkpoint": "checkpoints",
}

__all__ = [
    "InputError",
    "Instances",
    "MaskCrop",
    "OnnxModel",
    "PredictionError",
    "Predictor",
    "Preset",
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

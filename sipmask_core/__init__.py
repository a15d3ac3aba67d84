"""SipMask in today's PyTorch: build, load, run and train the models of Cao et al., ECCV 2020."""

from sipmask_core.checkpoints import (
    convert_checkpoint,
    load_backbone,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from sipmask_core.errors import InputError
from sipmask_core.instances import Instances, MaskCrop
from sipmask_core.model.sipmask import build_model
from sipmask_core.predictor import Predictor
from sipmask_core.presets import Preset, get_preset, preset_names

__all__ = [
    "InputError",
    "Instances",
    "MaskCrop",
    "Predictor",
    "Preset",
    "build_model",
    "convert_checkpoint",
    "get_preset",
    "load_backbone",
    "load_checkpoint",
    "load_model",
    "preset_names",
    "save_checkpoint",
]

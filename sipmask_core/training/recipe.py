"""How a preset is trained: one frozen record per recipe."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Literal

from sipmask_core.data.transforms import Augmentation
from sipmask_core.errors import InputError
from sipmask_core.presets import KeepRatio, Preset

# Below, P6 is a single pixel, and oneDNN 3 leaves part of the bfloat16 gradient of the stride-2
# convolution after it uninitialised.
MIN_SIDE = 96


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training run besides data and initial weights.

    input_size: (H, W) of the training images, multiples of 32 from MIN_SIDE.
    lr: at the recipe's batch size; no scaling happens behind your back. The first `warmup_steps`
        rise linearly from `warmup_factor` x lr, or stay at it ("constant"); then "cosine" falls to
        zero, "step" divides by ten at each of `milestones` (epochs).
    weight_decay: on weights of two or more dimensions ("weights": biases and norm scales have
        none), on all parameters ("all") or on "all_but_biases".
    bias_lr_factor: learning rate of biases relative to `lr`. With "all_but_biases", what group norm
        adds counts as norm and not as bias.
    pretrained_lr_factor: learning rate, relative to `lr`, of weights that start from `--init`.
    clip_norm: gradients are scaled down to this norm; 0 leaves them.
    ema_decay: of the running average of the weights that is validated and published; 0: none.
    precision: "bf16" runs the forward pass under autocast; weights stay float32.
    validate_every: epochs between validations; the last epoch is always validated.

    Raises InputError for values out of range.
    """

    input_size: tuple[int, int]
    epochs: int
    batch_size: int
    lr: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.05
    decayed: Literal["weights", "all", "all_but_biases"] = "weights"
    bias_lr_factor: float = 1.0
    pretrained_lr_factor: float = 1.0
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[int, ...] = ()
    warmup: Literal["linear", "constant"] = "linear"
    warmup_steps: int = 300
    warmup_factor: float = 0.01
    clip_norm: float = 10.0
    ema_decay: float = 0.998
    precision: Literal["fp32", "bf16"] = "fp32"
    validate_every: int = 5
    seed: int = 0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for side in self.input_size:
            _require(
                side >= MIN_SIDE and side % 32 == 0,
                "input size",
                side,
                f"a multiple of 32 from {MIN_SIDE}",
            )
        for name in ("epochs", "batch_size", "validate_every"):
            value = getattr(self, name)
            _require(value >= 1, name, value, "1 or more")
        _require(math.isfinite(self.lr) and self.lr > 0, "lr", self.lr, "a positive number")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")

    def to_json(self) -> str:
        """The recipe as one line of JSON, keys sorted."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def _require(ok: bool, name: str, value: object, accepted: str) -> None:
    if not ok:
        raise InputError(f"The training {name} is {value}; accepted is {accepted}.")


def recipe_for(preset: Preset) -> Recipe:
    """The recipe that a preset is trained with unless told otherwise.

    The authors' presets get their optimiser, learning rates, warm-up, weight decay and number of
    epochs (paper, section 4.1; batch size 16); their photometric and crop augmentation is replaced
    by mirroring alone.
    """
    if not preset.authors:
        return LITE
    epochs, milestones = _AUTHORS_EPOCHS[preset.name.rpartition("_")[2]]
    if isinstance(preset.resize, KeepRatio):
        # A square in which 4:3 images get the scale they are tested at.
        side = math.ceil(preset.resize.short * 4 / 3 / 32) * 32
        accurate, input_size = True, (side, side)
    else:
        accurate, input_size = False, (preset.resize.height, preset.resize.width)
    return Recipe(
        input_size=input_size,
        epochs=epochs,
        batch_size=16,
        lr=0.01,
        optimizer="sgd",
        weight_decay=1e-4,
        decayed="all_but_biases" if accurate else "all",
        bias_lr_factor=2.0 if accurate else 1.0,
        schedule="step",
        milestones=milestones,
        warmup="constant" if accurate else "linear",
        warmup_steps=500,
        warmup_factor=1 / 3,
        clip_norm=0.0,
        ema_decay=0.0,
        augmentation=Augmentation((1.0, 1.0), 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, accurate),
    )


# Epochs over the data and the epochs after which the learning rate falls, by the name's suffix.
_AUTHORS_EPOCHS = {
    "1x": (12, (8, 11)),
    "2x": (24, (20, 23)),
    "3x": (37, (29, 34)),
    "4x": (48, (40, 46)),
    "6x": (72, (60, 69)),
    "10x": (120, (100, 115)),
}

LITE = Recipe(
    input_size=(320, 320),
    epochs=24,
    batch_size=8,
    lr=8e-4,
    pretrained_lr_factor=0.1,
    precision="bf16",
    validate_every=4,
)

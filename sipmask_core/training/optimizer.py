"""Which parameters learn how fast, and which of them decay."""

from __future__ import annotations

import copy
import math
import re
from typing import TYPE_CHECKING

import torch

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.recipe import Recipe

# The authors know norms by these names; feature alignment's has another: its bias counts as one.
_GROUP_NORM = re.compile(r"(bn|gn)\d*\.bias$")


def freeze_all_but(model: torch.nn.Module, part: str) -> None:
    """Freeze the parameters that do not have `part` in their name; those frozen already stay so.

    Raise InputError if none is left to learn.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and part in name)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            f"The model has no trainable parameter with {part!r} in its name; names begin with"
            " backbone, neck or bbox_head, and those of a track branch contain track."
        )


def make_optimizer(
    model: torch.nn.Module, recipe: Recipe, pretrained: Collection[str] = ()
) -> torch.optim.Optimizer:
    """Make AdamW or SGD (momentum 0.9) over the parameters that require gradients.

    Up to four groups: weights of two or more dimensions, with decay; those of them named in
    `pretrained`, with their own learning rate; norm scales and what else has fewer dimensions;
    biases, with their own learning rate. Whether the latter two decay is the recipe's choice, see
    `Recipe`.
    """
    norm_is_no_bias = recipe.decayed == "all_but_biases"
    trained: list[torch.nn.Parameter] = []
    weights: list[torch.nn.Parameter] = []
    scales: list[torch.nn.Parameter] = []
    biases: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if name.endswith("bias") and not (norm_is_no_bias and _GROUP_NORM.search(name)):
                biases.append(parameter)
            elif parameter.ndim < 2:
                scales.append(parameter)
            else:
                (trained if name in pretrained else weights).append(parameter)
    scale_decay = 0.0 if recipe.decayed == "weights" else recipe.weight_decay
    bias_decay = recipe.weight_decay if recipe.decayed == "all" else 0.0
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay, "lr_factor": 1.0},
        {
            "params": trained,
            "weight_decay": recipe.weight_decay,
            "lr_factor": recipe.pretrained_lr_factor,
        },
        {"params": scales, "weight_decay": scale_decay, "lr_factor": 1.0},
        {"params": biases, "weight_decay": bias_decay, "lr_factor": recipe.bias_lr_factor},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=recipe.lr)


def lr_factor(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return what the recipe's learning rate is multiplied by at a step, counted from 0.

    It is the warm-up, linear to 1 or constant, times either half a cosine that would reach 0 one
    step after the last, or a factor 0.1 for each milestone epoch that has begun. The warm-up takes
    a quarter of all steps at most: few images make few steps, which it must not use up.
    """
    steps = recipe.epochs * steps_per_epoch
    warmup_steps = min(recipe.warmup_steps, steps // 4)
    warmup = 1.0
    if step < warmup_steps and recipe.warmup == "constant":
        warmup = recipe.warmup_factor
    elif step < warmup_steps:
        warmup += (recipe.warmup_factor - 1) * (1 - step / warmup_steps)
    if recipe.schedule == "step":
        return warmup * 0.1 ** sum(step >= m * steps_per_epoch for m in recipe.milestones)
    return warmup * 0.5 * (1 + math.cos(math.pi * step / steps))


class WeightAverage:
    """Keeps `model`, a copy whose weights and buffers follow another model's.

    Each update moves them by 1 - d towards the other's, d = min(decay, (1 + n) / (10 + n)) at the
    n-th update, so that the first, random weights are soon forgotten.
    """

    def __init__(self, model: SipMask, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: SipMask, n: int) -> None:
        """Follow `model` after its n-th step, counted from 0."""
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        current = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])

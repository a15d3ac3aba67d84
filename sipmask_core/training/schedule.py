"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipmask_core.training.recipe import Recipe


def lr_factor(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """What the recipe's learning rate is multiplied by at a step, counted from 0.

    Warm-up, linear to 1 or constant, times either half a cosine that reaches 0 with the last step,
    or a factor 0.1 for each milestone epoch that has begun.
    """
    warmup = 1.0
    if step < recipe.warmup_steps and recipe.warmup == "constant":
        warmup = recipe.warmup_factor
    elif step < recipe.warmup_steps:
        warmup += (recipe.warmup_factor - 1) * (1 - step / recipe.warmup_steps)
    if recipe.schedule == "step":
        return warmup * 0.1 ** sum(step >= m * steps_per_epoch for m in recipe.milestones)
    return warmup * 0.5 * (1 + math.cos(math.pi * step / (recipe.epochs * steps_per_epoch)))

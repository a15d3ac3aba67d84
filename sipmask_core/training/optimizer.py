"""Which parameters learn how fast, and which of them decay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sipmask_core.training.recipe import Recipe

# The authors know norms by these names; feature alignment's has another, so its bias is a bias.
_GROUP_NORM = re.compile(r"(bn|gn)\d*\.bias$")


def freeze_all_but(model: torch.nn.Module, part: str) -> None:
    """Let only those parameters learn that have `part` in their name, and not all that could.

    Raises InputError when there is none.
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
    """AdamW or SGD (momentum 0.9) over the parameters that require gradients.

    Four groups: weights of two or more dimensions, with decay; those of them named in `pretrained`,
    with their own learning rate; norm scales; biases, with their own learning rate. Whether the
    latter two decay is the recipe's choice, see `Recipe`.
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

"""What one step of training does: a batch in, its losses out, the weights updated."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sipmask_core.model.inputs import Normalise
from sipmask_core.runtime.devices import PRECISIONS
from sipmask_core.runtime.distributed import summed, world_size
from sipmask_core.training.normaliser import Normaliser
from sipmask_core.training.objective import Objective
from sipmask_core.training.optimizer import WeightAverage, freeze_all_but, make_optimizer
from sipmask_core.training.samples import normalised

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.recipe import Recipe

    Targets = list[dict[str, Tensor]]


class NotFiniteError(RuntimeError):
    """A loss or gradient is no longer finite; the message says which, and what it is."""


class Learner:
    """A model, what updates its weights, and the average of them, if the recipe wants one.

    pretrained: names of the parameters that start from trained weights.

    If torchrun started several processes, each has a Learner and they update one model. Raise
    InputError if there is nothing to train.
    """

    def __init__(
        self,
        model: SipMask,
        recipe: Recipe,
        device: torch.device | str = "cpu",
        pretrained: Collection[str] = (),
    ) -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self.pretrained = sorted(pretrained)
        if recipe.train_only:
            freeze_all_but(model, recipe.train_only)
        self.optimizer = make_optimizer(model, recipe, self.pretrained)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self._normalise = Normalise(model.preset).to(self.device)
        self.objective = Objective(self.model, Normaliser(recipe.normalise == "global"))
        self._shared: nn.Module = self.objective
        if world_size() > 1:
            # A share of a batch may leave parameters unused, such as those that judge masks.
            self._shared = DistributedDataParallel(self.objective, find_unused_parameters=True)

    @property
    def published(self) -> SipMask:
        """The weights to be judged and kept: the average, or without one the model's own."""
        return self.model if self.average is None else self.average.model

    def learn(
        self, images: Tensor, targets: Targets, lr: float, step: int
    ) -> tuple[dict[str, float], float]:
        """Update the weights once; return the batch's losses and the gradient's norm, not clipped.

        images: (N, H, W, 3) uint8, and targets, as `collate` has them: this process's share. lr:
        the learning rate of this step, counted from 0. The norm is not finite if the gradients in
        half precision overflowed; then nothing was updated. Raise NotFiniteError for other losses
        and gradients that are not.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        values = self._backward(images, targets)
        _require_finite(values)
        norm = self._update()
        if self.average is not None:
            self.average.update(self.model, step)
        return values, norm

    def state(self) -> dict[str, Any]:
        """Return all that changes while a model learns."""
        return {
            "pretrained": self.pretrained,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, which also knows what `pretrained` was."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.pretrained = state["pretrained"]
        self.optimizer = make_optimizer(self.model, self.recipe, self.pretrained)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _backward(self, images: Tensor, targets: Targets) -> dict[str, float]:
        """Leave the batch's gradients in the parameters; return its losses.

        Both are the mean over the parts of `accumulate` and over the processes.
        """
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.recipe.accumulate
        size = len(images) // parts
        history = []
        for part in range(parts):
            chosen = slice(part * size, (part + 1) * size)
            with self._gradients_exchanged(part == parts - 1):
                losses = self._losses(images[chosen], targets[chosen])
                total = torch.stack(list(losses.values()))  # (losses,)
                self.scaler.scale(total.sum() / parts).backward()
            history.append(total.detach())
        mean = summed(torch.stack(history).mean(dim=0)) / world_size()
        return dict(zip(losses, mean.tolist(), strict=True))

    def _gradients_exchanged(self, now: bool) -> Any:
        """Return the context of a backward pass, in which gradients are exchanged only if `now`."""
        if now or not isinstance(self._shared, DistributedDataParallel):
            return nullcontext()
        return self._shared.no_sync()

    def _losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Compute named losses. images: (N, H, W, 3) uint8, and targets, as `collate` has them."""
        images = images.to(self.device, non_blocking=True)
        targets = [{k: v.to(self.device, non_blocking=True) for k, v in t.items()} for t in targets]
        pixels, targets = normalised(self._normalise, images, targets)  # (N, 3, H, W)
        precision = self.recipe.precision
        with torch.autocast(self.device.type, PRECISIONS[precision], precision != "fp32"):
            losses: dict[str, Tensor] = self._shared(pixels, targets)
        return losses

    def _update(self) -> float:
        """Clip and apply the gradients; return their norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            (p for group in self.optimizer.param_groups for p in group["params"]),
            self.recipe.clip_norm or math.inf,
        ).item()
        if not self.scaler.is_enabled():
            _require_finite({"gradient norm": norm})
        self.scaler.step(self.optimizer)  # does nothing if fp16 gradients overflowed
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            _require_finite({"gradient norm, even without loss scaling,": math.inf})
        return norm


def _require_finite(values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFiniteError(f"{name} is {value}")

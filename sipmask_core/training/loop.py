"""The training loop: steps, log, validation, checkpoints, and a resume that changes nothing."""

from __future__ import annotations

import math
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from sipmask_core.errors import InputError
from sipmask_core.model.checkpoints import save_checkpoint
from sipmask_core.model.inputs import Normalise
from sipmask_core.runtime.devices import PRECISIONS
from sipmask_core.runtime.distributed import any_process, is_main, rank, summed, world_size
from sipmask_core.runtime.files import make_folder
from sipmask_core.runtime.interruption import Interruption
from sipmask_core.training.journal import Journal
from sipmask_core.training.normaliser import Normaliser
from sipmask_core.training.objective import Objective
from sipmask_core.training.optimizer import WeightAverage, freeze_all_but, lr_factor, make_optimizer
from sipmask_core.training.run_checkpoint import read_run, write_run
from sipmask_core.training.samples import AugmentedSamples, EpochBatches, collate, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.recipe import Recipe

    Metrics = dict[str, dict[str, float]]
    Targets = list[dict[str, Tensor]]

CHECKPOINT_STEPS = 500  # between checkpoints within an epoch; each epoch's end has one anyway


class DivergenceError(RuntimeError):
    """A loss or gradient is no longer finite; the message says which, when and what was kept."""


class Trainer:
    """Trains a model into a folder.

    output: folder for `last.pth` (to go on from), `best.safetensors` (highest validation AP, of
        masks or, if no object has one, boxes; of equals the latest; without a validation the latest
        weights) and what `Journal` writes.
    validate: takes a model in eval mode, returns {"segm": {...}, "bbox": {...}} metrics.
    draw: takes the same model, returns a picture of what it finds, (H, W, 3) uint8 BGR.
    metadata: written into `best.safetensors`, beside step and metrics.
    pretrained: names of the parameters that start from trained weights.

    If torchrun started several processes, each has a Trainer and they train one model: each takes
    an equal share of every batch, all validate, the main one alone writes and draws, and an
    interruption or divergence stops all. Raise InputError if a batch cannot be shared equally, or a
    share cannot be cut into the equal parts of `accumulate`.

    The same model, samples and recipe on the same machine with the same number of threads and
    processes give the same losses, whether the run was stopped and resumed or not, and with any
    number of workers.
    """

    def __init__(
        self,
        model: SipMask,
        samples: AugmentedSamples,
        recipe: Recipe,
        output: Path,
        device: torch.device | str = "cpu",
        workers: int = 0,
        validate: Callable[[SipMask], Metrics] | None = None,
        draw: Callable[[SipMask], NDArray[np.uint8]] | None = None,
        metadata: dict[str, str] | None = None,
        pretrained: Collection[str] = (),
    ) -> None:
        self.recipe = recipe
        self.output = Path(output)
        self.checkpoint = self.output / "last.pth"
        self.device = torch.device(device)
        self.samples = samples
        self.workers = workers
        plan = self._plan(0, 0)
        if plan.share % recipe.accumulate:
            raise InputError(
                f"The {plan.share} images that a process has of each batch cannot be worked off in"
                f" {recipe.accumulate} equal parts."
            )
        self.steps_per_epoch = plan.per_epoch
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self.pretrained = sorted(pretrained)
        if recipe.train_only:
            freeze_all_but(model, recipe.train_only)
        self.optimizer = make_optimizer(model, recipe, self.pretrained)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.validate = validate
        self.draw = draw
        self.metadata = metadata or {}
        self.step = 0
        self.saved_step: int | None = None  # that of `last.pth`, None before the first
        self.validated_step = 0
        self.best = -math.inf
        self.metrics: Metrics | None = None
        self._normalise = Normalise(model.preset).to(self.device)
        self.objective = Objective(self.model, Normaliser(recipe.normalise == "global"))
        self._shared: nn.Module = self.objective
        if world_size() > 1:
            # A share of a batch may leave parameters unused, such as those that judge masks.
            self._shared = DistributedDataParallel(self.objective, find_unused_parameters=True)

    def run(self) -> Metrics | None:
        """Train to the recipe's end; return the last validation's metrics, None without any.

        The first Ctrl-C ends it after the current step with a checkpoint, or at once during a
        validation; a second one ends it at once (with several processes it has no effect). Both
        raise KeyboardInterrupt. Raise DivergenceError if a loss or gradient is not finite.
        """
        self._journal = None
        if is_main():
            make_folder(self.output)
            self._journal = Journal(self.output, self.step)
        batches = iter(self._loader())
        try:
            if self.step and self.step % self.steps_per_epoch == 0:
                self._end_epoch()
            with tqdm(
                total=self.total_steps, initial=self.step, unit="step", disable=not is_main()
            ) as self._progress:
                while self.step < self.total_steps:
                    with self._interruption() as interruption:
                        self._train_to_epoch_end(batches, interruption)
                        self.save()
                    # Asked again: a Ctrl-C may have come while the checkpoint was written.
                    if any_process(interruption.requested):
                        raise KeyboardInterrupt
                    self._end_epoch()
        finally:
            if self._journal is not None:
                try:
                    self._journal.draw()
                finally:
                    self._journal.close()
        return self.metrics

    def _interruption(self) -> Interruption:
        # One process must not leave while the others wait for it.
        return Interruption(patient=world_size() > 1)

    def _train_to_epoch_end(self, batches: Any, interruption: Interruption) -> None:
        """Train until the epoch or an interruption of any process ends."""
        self.model.train()
        while True:
            began = time.perf_counter()
            images, targets = next(batches)
            self._train_step(images, targets, began)
            if any_process(interruption.requested) or self.step % self.steps_per_epoch == 0:
                return
            if self.step % CHECKPOINT_STEPS == 0:
                self.save()

    def _train_step(self, images: Tensor, targets: Targets, began: float) -> None:
        """Update the weights once, and log it. images: (N, H, W, 3) uint8."""
        recipe = self.recipe
        lr = recipe.lr * lr_factor(self.step, self.steps_per_epoch, recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        values = self._backward(images, targets)
        self._require_finite(values)
        norm = self._update()
        if self.average is not None:
            self.average.update(self.model, self.step)

        epoch = self.step // self.steps_per_epoch
        if self._journal is not None:
            self._journal.write(
                {
                    "step": self.step,
                    "epoch": epoch,
                    "lr": lr,
                    "losses": values,
                    "total": sum(values.values()),
                    "grad_norm": norm if math.isfinite(norm) else None,
                    "seconds": round(time.perf_counter() - began, 4),
                }
            )
        self.step += 1
        self._progress.update()
        self._progress.set_description(f"epoch {epoch + 1}/{recipe.epochs}", refresh=False)
        self._progress.set_postfix({k: f"{v:.3f}" for k, v in values.items()}, refresh=False)

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
            self._require_finite({"gradient norm": norm})
        self.scaler.step(self.optimizer)  # does nothing if fp16 gradients overflowed
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            self._require_finite({"gradient norm, even without loss scaling,": math.inf})
        return norm

    def _require_finite(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                kept = f"{self.checkpoint} is kept" if self.checkpoint.exists() else "none was made"
                raise DivergenceError(
                    f"Training stopped at step {self.step}: {name} is {value};"
                    f" of checkpoints, {kept}. A lower learning rate may help."
                )

    def _validation_due(self) -> bool:
        """Return whether the epoch that just ended still awaits its validation."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if position or self.step == self.validated_step:
            return False
        return epoch % self.recipe.validate_every == 0 or self.step == self.total_steps

    def _end_epoch(self) -> None:
        """Validate if that is due, publish the weights if they are the best, redraw the curves."""
        published = self.average.model if self.average is not None else self.model
        metrics = None
        if self.validate is not None and self._validation_due():
            # A validation may take long, so Ctrl-C ends it at once; a resumed run makes up for it.
            metrics = self.validate(published.eval())
            if self.draw is not None and self._journal is not None:
                self._journal.picture(self.draw(published), self.step - 1)
        with self._interruption() as interruption:
            if self.validate is None:
                self.publish(published, {})
            elif metrics is not None:
                self._keep(published, metrics)
            if self._journal is not None:
                self._journal.draw()
        if any_process(interruption.requested):
            raise KeyboardInterrupt

    def _keep(self, published: SipMask, metrics: Metrics) -> None:
        """Log a validation, publish the weights if they are the best, write the checkpoint."""
        self.metrics = metrics
        self.validated_step = self.step
        last = self.step - 1
        epoch = last // self.steps_per_epoch
        if self._journal is not None:
            self._journal.write({"step": last, "epoch": epoch, "validation": metrics})
        # Of equals, the latest is published: if detection is frozen, all are equal.
        figures = metrics.get("segm") or metrics["bbox"]  # if no object has a mask
        if figures["AP"] >= self.best:
            self.best = figures["AP"]
            self.publish(published, metrics)
        self.save()

    def publish(self, model: SipMask, metrics: Metrics) -> None:
        """Write best.safetensors, with what it was trained on and its figures, in one process."""
        if not is_main():
            return
        figures = {
            f"{kind} {name}": f"{value:.4f}"
            for kind, group in metrics.items()
            for name, value in group.items()
        }
        record = {**self.metadata, "step": str(self.step), **figures}
        save_checkpoint(model, self.output / "best.safetensors", record)

    def _plan(self, start: int, stop: int) -> EpochBatches:
        """Plan this process's share of the batches."""
        return EpochBatches(
            len(self.samples),
            self.recipe.batch_size,
            self.recipe.seed,
            start,
            stop,
            self.samples.tall,
            rank(),
            world_size(),
        )

    def _loader(self) -> DataLoader[Any]:
        if self.workers:
            # Here, because a forked worker hangs when it ends a thread pool that it inherited.
            cv2.setNumThreads(1)
        return DataLoader(
            self.samples,
            batch_sampler=self._plan(self.step, self.total_steps),
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_quiet_worker,
            generator=torch.Generator(),  # else the loader draws from the global generator
        )

    def save(self) -> None:
        """Write `last.pth` atomically."""
        if is_main():
            state = {
                "pretrained": self.pretrained,
                "step": self.step,
                "validated_step": self.validated_step,
                "best": self.best,
                "metrics": self.metrics,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict() if self.average is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "rng": torch.get_rng_state(),
                "rng_cuda": self._cuda_generator_state(),
            }
            annotations = self.samples.dataset.annotations
            write_run(self.checkpoint, self.recipe, self.model.preset, annotations, state)
        self.saved_step = self.step

    def resume(self) -> None:
        """Go on from `last.pth`, which also knows what `pretrained` was.

        Raise InputError if `read_run` does.
        """
        annotations = self.samples.dataset.annotations
        state = read_run(self.checkpoint, self.recipe, self.model.preset, annotations)
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.pretrained = state["pretrained"]
        self.optimizer = make_optimizer(self.model, self.recipe, self.pretrained)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved_step = state["step"]
        self.validated_step = state["validated_step"]
        self.best = state["best"]
        self.metrics = state["metrics"]
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["rng_cuda"] is not None:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)

    def _cuda_generator_state(self) -> Tensor | None:
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None


def _quiet_worker(_: int) -> None:
    """Leave Ctrl-C to the main process, which ends this worker of a loader."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

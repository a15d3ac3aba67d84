"""The training loop: steps, log, validation, checkpoints, and a resume that changes nothing."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from torch.utils.data import DataLoader

from sipmask_core.errors import InputError
from sipmask_core.model.checkpoints import save_checkpoint
from sipmask_core.runtime.distributed import any_process, is_main, rank, world_size
from sipmask_core.runtime.interruption import ENDING_SIGNALS, Interruption
from sipmask_core.training.batches import BatchPlan, EpochBatches
from sipmask_core.training.learner import NotFiniteError
from sipmask_core.training.optimizer import lr_factor
from sipmask_core.training.record import Record
from sipmask_core.training.run_checkpoint import read_run, write_run
from sipmask_core.training.samples import AugmentedSamples, collate

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.model.presets import Preset
    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.learner import Learner

    Metrics = dict[str, dict[str, float]]
    Targets = list[dict[str, Tensor]]

CHECKPOINT_STEPS = 500  # between checkpoints within an epoch; each epoch's end has one anyway


class DivergenceError(RuntimeError):
    """A loss or gradient is no longer finite; the message says which, when and what was kept."""


class Trainer:
    """Trains the model of a learner into a folder.

    output: folder for `last.pth` (to go on from), `best.safetensors` (highest validation AP, of
        masks or, if no object has one, boxes; of equals the latest; without a validation the latest
        weights) and what `Journal` writes.
    validate: takes a model in eval mode, returns {"segm": {...}, "bbox": {...}} metrics.
    draw: takes the same model, returns a picture of what it finds, (H, W, 3) uint8 BGR.
    metadata: written into `best.safetensors`, beside step and metrics.

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
        learner: Learner,
        samples: AugmentedSamples,
        output: Path,
        workers: int = 0,
        validate: Callable[[SipMask], Metrics] | None = None,
        draw: Callable[[SipMask], NDArray[np.uint8]] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.learner = learner
        self.recipe = recipe = learner.recipe
        self.samples = samples
        self.output = Path(output)
        self.checkpoint = self.output / "last.pth"
        self.workers = workers
        self.validate = validate
        self.draw = draw
        self.metadata = metadata or {}
        self.plan = BatchPlan(
            len(samples), recipe.batch_size, recipe.seed, samples.tall, rank(), world_size()
        )
        if self.plan.share % recipe.accumulate:
            raise InputError(
                f"The {self.plan.share} images that a process has of each batch cannot be worked"
                f" off in {recipe.accumulate} equal parts."
            )
        self.steps_per_epoch = self.plan.per_epoch
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.step = 0
        self.saved_step: int | None = None  # that of `last.pth`, None before the first
        self.validated_step = 0
        self.best = -math.inf
        self.metrics: Metrics | None = None

    def run(self) -> Metrics | None:
        """Train to the recipe's end; return the last validation's metrics, None without any.

        The first Ctrl-C ends it after the current step with a checkpoint, or at once during a
        validation; a second one ends it at once (with several processes it has no effect). Both
        raise KeyboardInterrupt. Raise DivergenceError if a loss or gradient is not finite.
        """
        with Record(self.output, self.step, self.total_steps) as record:
            batches = iter(self._loader())
            if self.step and self.step % self.steps_per_epoch == 0:
                self._end_epoch(record)
            while self.step < self.total_steps:
                with self._interruption() as interruption:
                    self._train_to_epoch_end(batches, interruption, record)
                    self.save()
                # Asked again: a Ctrl-C may have come while the checkpoint was written.
                if any_process(interruption.requested):
                    raise KeyboardInterrupt
                self._end_epoch(record)
        return self.metrics

    def _interruption(self) -> Interruption:
        # One process must not leave while the others wait for it.
        return Interruption(patient=world_size() > 1)

    def _train_to_epoch_end(self, batches: Any, interruption: Interruption, record: Record) -> None:
        """Train until the epoch or an interruption of any process ends."""
        self.learner.model.train()
        while True:
            began = time.perf_counter()
            images, targets = next(batches)
            self._train_step(images, targets, began, record)
            if any_process(interruption.requested) or self.step % self.steps_per_epoch == 0:
                return
            if self.step % CHECKPOINT_STEPS == 0:
                self.save()

    def _train_step(self, images: Tensor, targets: Targets, began: float, record: Record) -> None:
        """Update the weights once, and log it. images: (N, H, W, 3) uint8."""
        lr = self.recipe.lr * lr_factor(self.step, self.steps_per_epoch, self.recipe)
        try:
            losses, norm = self.learner.learn(images, targets, lr, self.step)
        except NotFiniteError as error:
            raise self._divergence(error) from None
        line = {
            "step": self.step,
            "epoch": self.step // self.steps_per_epoch,
            "lr": lr,
            "losses": losses,
            "total": sum(losses.values()),
            "grad_norm": norm if math.isfinite(norm) else None,
            "seconds": round(time.perf_counter() - began, 4),
        }
        record.step(line, self.recipe.epochs)
        self.step += 1

    def _divergence(self, error: NotFiniteError) -> DivergenceError:
        kept = f"{self.checkpoint} is kept" if self.checkpoint.exists() else "none was made"
        return DivergenceError(
            f"Training stopped at step {self.step}: {error};"
            f" of checkpoints, {kept}. A lower learning rate may help."
        )

    def _validation_due(self) -> bool:
        """Return whether the epoch that just ended still awaits its validation."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if position or self.step == self.validated_step:
            return False
        return epoch % self.recipe.validate_every == 0 or self.step == self.total_steps

    def _end_epoch(self, record: Record) -> None:
        """Validate if that is due, publish the weights if they are the best, redraw the curves."""
        published = self.learner.published
        metrics = None
        if self.validate is not None and self._validation_due():
            # A validation may take long, so Ctrl-C ends it at once; a resumed run makes up for it.
            metrics = self.validate(published.eval())
            if self.draw is not None and is_main():
                record.picture(self.draw(published), self.step - 1)
        with self._interruption() as interruption:
            if self.validate is None:
                self.publish(published, {})
            elif metrics is not None:
                self._keep(published, metrics, record)
            record.draw()
        if any_process(interruption.requested):
            raise KeyboardInterrupt

    def _keep(self, published: SipMask, metrics: Metrics, record: Record) -> None:
        """Log a validation, publish the weights if they are the best, write the checkpoint."""
        self.metrics = metrics
        self.validated_step = self.step
        last = self.step - 1
        epoch = last // self.steps_per_epoch
        record.validation({"step": last, "epoch": epoch, "validation": metrics})
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

    def _loader(self) -> DataLoader[Any]:
        if self.workers:
            # Here, because a forked worker hangs when it ends a thread pool that it inherited.
            cv2.setNumThreads(1)
        return DataLoader(
            self.samples,
            batch_sampler=EpochBatches(self.plan, self.step, self.total_steps),
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.learner.device.type == "cuda",
            worker_init_fn=_quiet_worker,
            generator=torch.Generator(),  # else the loader draws from the global generator
        )

    def save(self) -> None:
        """Write `last.pth` atomically."""
        if is_main():
            state = {
                "step": self.step,
                "validated_step": self.validated_step,
                "best": self.best,
                "metrics": self.metrics,
                **self.learner.state(),
                "rng": torch.get_rng_state(),
                "rng_cuda": self._cuda_generator_state(),
            }
            write_run(self.checkpoint, self.recipe, *self._identity(), state)
        self.saved_step = self.step

    def resume(self) -> None:
        """Go on from `last.pth`. Raise InputError if `read_run` does."""
        state = read_run(self.checkpoint, self.recipe, *self._identity())
        self.learner.restore(state)
        self.step = self.saved_step = state["step"]
        self.validated_step = state["validated_step"]
        self.best = state["best"]
        self.metrics = state["metrics"]
        torch.set_rng_state(state["rng"])
        device = self.learner.device
        if device.type == "cuda" and state["rng_cuda"] is not None:
            torch.cuda.set_rng_state(state["rng_cuda"], device)

    def _identity(self) -> tuple[Preset, CocoAnnotations]:
        """Return what must be the same in a run that goes on, beside the recipe."""
        return self.learner.model.preset, self.samples.dataset.annotations

    def _cuda_generator_state(self) -> Tensor | None:
        device = self.learner.device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _quiet_worker(_: int) -> None:
    """Leave Ctrl-C to the main process, which ends this worker of a loader."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)

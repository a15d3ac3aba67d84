"""The training loop: steps, log, validation, checkpoints, and a resume that changes nothing."""

from __future__ import annotations

import math
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from sipmask_core.checkpoints import save_checkpoint
from sipmask_core.data.samples import AugmentedSamples, EpochBatches, collate, normalised
from sipmask_core.errors import InputError
from sipmask_core.files import atomic_path
from sipmask_core.interruption import Interruption
from sipmask_core.preprocess import Normalise
from sipmask_core.presets import preset_to_json
from sipmask_core.training.ema import WeightAverage
from sipmask_core.training.journal import Journal
from sipmask_core.training.schedule import lr_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch import Tensor

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.recipe import Recipe

    Metrics = dict[str, dict[str, float]]

CHECKPOINT_STEPS = 500  # between checkpoints within an epoch; each epoch's end has one anyway
# The authors know norms by these names; feature alignment's has another, so its bias is a bias.
_GROUP_NORM = re.compile(r"(bn|gn)\d*\.bias$")


class DivergenceError(RuntimeError):
    """A loss or gradient is no longer finite; the message says which, when and what was kept."""


class Trainer:
    """Trains a model into a folder.

    output: folder for `last.pth` (to go on from), `best.safetensors` (highest validation mask AP;
        the latest weights without a validation), `log.jsonl` and `curves.png`.
    validate: takes a model in eval mode, returns {"segm": {...}, "bbox": {...}} metrics.
    metadata: written into `best.safetensors`, beside step and metrics.
    pretrained: names of the parameters that start from trained weights.

    The same model, samples and recipe on the same machine with the same number of threads give the
    same losses, whether the run was stopped and resumed or not, and with any number of workers.
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
        metadata: dict[str, str] | None = None,
        pretrained: Collection[str] = (),
    ) -> None:
        self.recipe = recipe
        self.output = Path(output)
        self.checkpoint = self.output / "last.pth"
        self.device = torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self.pretrained = sorted(pretrained)
        self.optimizer = make_optimizer(model, recipe, self.pretrained)
        self.validate = validate
        self.metadata = metadata or {}
        self.samples = samples
        self.workers = workers
        plan = EpochBatches(len(samples), recipe.batch_size, recipe.seed, 0, 0)
        self.steps_per_epoch = plan.per_epoch
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.step = 0
        self.saved_step: int | None = None  # that of `last.pth`, None before the first
        self.validated_step = 0
        self.best = -math.inf
        self.metrics: Metrics | None = None
        self._normalise = Normalise(model.preset).to(self.device)

    def run(self) -> Metrics | None:
        """Train to the recipe's end; returns the last validation's metrics, None without any.

        The first Ctrl-C ends it after the current step with a checkpoint, a second one at once;
        both raise KeyboardInterrupt. Raises DivergenceError when a loss is not finite.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self.output, self.step)
        batches = iter(self._loader())
        try:
            if self.step and self.step % self.steps_per_epoch == 0:
                self._end_epoch()
            with tqdm(total=self.total_steps, initial=self.step, unit="step") as self._progress:
                while self.step < self.total_steps:
                    with Interruption() as interruption:
                        self._train_to_epoch_end(batches, interruption)
                        self.save()
                    if interruption.requested:
                        raise KeyboardInterrupt
                    self._end_epoch()
        finally:
            self._journal.draw()
            self._journal.close()
        return self.metrics

    def _train_to_epoch_end(self, batches: Any, interruption: Interruption) -> None:
        self.model.train()
        while True:
            began = time.perf_counter()
            images, targets = next(batches)
            self._train_step(images, targets, began)
            if self.step % self.steps_per_epoch == 0 or interruption.requested:
                return
            if self.step % CHECKPOINT_STEPS == 0:
                self.save()

    def _train_step(self, images: Tensor, targets: list[dict[str, Tensor]], began: float) -> None:
        """One update. images: (N, H, W, 3) uint8."""
        recipe = self.recipe
        lr = recipe.lr * lr_factor(self.step, self.steps_per_epoch, recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]

        images = images.to(self.device, non_blocking=True)
        targets = [{k: v.to(self.device, non_blocking=True) for k, v in t.items()} for t in targets]
        pixels, targets = normalised(self._normalise, images, targets)  # (N, 3, H, W)
        with torch.autocast(self.device.type, torch.bfloat16, recipe.precision == "bf16"):
            losses = self.model.losses(pixels, targets)
        total = torch.stack(list(losses.values())).sum()
        values = {name: loss.item() for name, loss in losses.items()}
        self._require_finite(values)

        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            (p for group in self.optimizer.param_groups for p in group["params"]),
            recipe.clip_norm or math.inf,
        ).item()
        self._require_finite({"gradient norm": norm})
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, self.step)

        epoch = self.step // self.steps_per_epoch
        self._journal.write(
            {
                "step": self.step,
                "epoch": epoch,
                "lr": lr,
                "losses": values,
                "total": total.item(),
                "grad_norm": norm,
                "seconds": round(time.perf_counter() - began, 4),
            }
        )
        self.step += 1
        self._progress.update()
        self._progress.set_description(f"epoch {epoch + 1}/{recipe.epochs}", refresh=False)
        self._progress.set_postfix({k: f"{v:.3f}" for k, v in values.items()}, refresh=False)

    def _require_finite(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                kept = f"{self.checkpoint} is kept" if self.checkpoint.exists() else "none was made"
                raise DivergenceError(
                    f"Training stopped at step {self.step}: {name} is {value};"
                    f" of checkpoints, {kept}. A lower learning rate may help."
                )

    def _validation_due(self) -> bool:
        """Whether the epoch that just ended still awaits its validation."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if position or self.step == self.validated_step:
            return False
        return epoch % self.recipe.validate_every == 0 or self.step == self.total_steps

    def _end_epoch(self) -> None:
        """Validate where that is due, publish the weights if they are the best, redraw."""
        published = self.average.model if self.average is not None else self.model
        metrics = None
        if self.validate is not None and self._validation_due():
            # It may take long, so a Ctrl-C ends it at once; a resumed run makes up for it.
            metrics = self.validate(published.eval())
        with Interruption() as interruption:
            if self.validate is None:
                self._publish(published, {})
            elif metrics is not None:
                self._keep(published, metrics)
            self._journal.draw()
        if interruption.requested:
            raise KeyboardInterrupt

    def _keep(self, published: SipMask, metrics: Metrics) -> None:
        """Log a validation, publish the weights if they are the best, write the checkpoint."""
        self.metrics = metrics
        self.validated_step = self.step
        last = self.step - 1
        epoch = last // self.steps_per_epoch
        self._journal.write({"step": last, "epoch": epoch, "validation": metrics})
        if metrics["segm"]["AP"] > self.best:
            self.best = metrics["segm"]["AP"]
            self._publish(published, metrics)
        self.save()

    def _publish(self, model: SipMask, metrics: Metrics) -> None:
        figures = {
            f"{kind} {name}": f"{value:.4f}"
            for kind, group in metrics.items()
            for name, value in group.items()
        }
        record = {**self.metadata, "step": str(self.step), **figures}
        save_checkpoint(model, self.output / "best.safetensors", record)

    def _loader(self) -> DataLoader[Any]:
        batches = EpochBatches(
            len(self.samples),
            self.recipe.batch_size,
            self.recipe.seed,
            self.step,
            self.total_steps,
            self.samples.tall,
        )
        if self.workers:
            # Here, because a forked worker hangs when it ends a thread pool that it inherited.
            cv2.setNumThreads(1)
        return DataLoader(
            self.samples,
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_quiet_worker,
            generator=torch.Generator(),  # else the loader draws from the global generator
        )

    def save(self) -> None:
        """Write `last.pth` atomically."""
        annotations = self.samples.dataset.annotations
        state = {
            "recipe": self.recipe.to_json(),
            "preset": preset_to_json(self.model.preset),
            "data": annotations.sha256,
            "images": annotations.image_names_sha256,
            "pretrained": self.pretrained,
            "step": self.step,
            "validated_step": self.validated_step,
            "best": self.best,
            "metrics": self.metrics,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        with atomic_path(self.checkpoint) as temporary:
            torch.save(state, temporary)
        self.saved_step = self.step

    def resume(self) -> None:
        """Go on from `last.pth`, which also knows what `pretrained` was.

        Raises InputError unless preset, recipe, annotations and training images are those that it
        had.
        """
        annotations = self.samples.dataset.annotations
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"There is no run to resume: {self.checkpoint} is missing.") from None
        except Exception as error:  # a damaged file fails in many ways
            raise InputError(f"{self.checkpoint} is not a checkpoint of a run: {error}.") from error
        if not isinstance(state, dict) or not {"recipe", "images", "pretrained"} <= state.keys():
            raise InputError(f"{self.checkpoint} is not a checkpoint of a run.")
        if state["preset"] != preset_to_json(self.model.preset):
            raise InputError(f"The run in {self.output} was started with another preset.")
        if state["recipe"] != self.recipe.to_json():
            raise InputError(
                f"The run in {self.output} has another recipe and cannot go on with this one:"
                f" {_difference(state['recipe'], self.recipe.to_json())}."
            )
        if state["data"] != annotations.sha256:
            raise InputError(f"The run in {self.output} was started with another annotation file.")
        if state["images"] != annotations.image_names_sha256:
            raise InputError(
                f"The run in {self.output} trains on other images of {annotations.path};"
                " give the --hold-out that it was started with."
            )
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.pretrained = state["pretrained"]
        self.optimizer = make_optimizer(self.model, self.recipe, self.pretrained)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = self.saved_step = state["step"]
        self.validated_step = state["validated_step"]
        self.best = state["best"]
        self.metrics = state["metrics"]
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["rng_cuda"])


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


def _quiet_worker(_: int) -> None:
    """A loader's worker leaves Ctrl-C to the main process, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _difference(old: str, new: str) -> str:
    import json

    before, now = json.loads(old), json.loads(new)
    return ", ".join(
        f"{name} was {before.get(name)}, is {now[name]}"
        for name in now
        if before.get(name) != now[name]
    )

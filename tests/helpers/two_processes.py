"""What `test_distributed.py` runs under torchrun, with two processes: it writes into a folder."""

import dataclasses
import json
import math
import signal
import sys
from pathlib import Path

import torch
from coco_squares import tiny_preset, tiny_recipe

import sipmask_core as sm
from sipmask_core.data.coco import read_annotations
from sipmask_core.model.presets import Letterbox
from sipmask_core.runtime.distributed import any_process, from_main, is_main, process_group, rank
from sipmask_core.training.dataset import CocoDataset
from sipmask_core.training.learner import Learner
from sipmask_core.training.loop import DivergenceError, Trainer
from sipmask_core.training.samples import AugmentedSamples
from sipmask_core.training.validation import Validation

# SGD: AdamW's first steps are of equal size whatever the gradient, so rounding would show.
RECIPE = dataclasses.replace(
    tiny_recipe(), input_size=(256, 256), epochs=2, batch_size=2, optimizer="sgd", lr=0.01
)
# An image without objects leaves what judges masks unused; that needs 256 x 256 pixels.
PRESET = dataclasses.replace(tiny_preset(), mask_rescoring=True, resize=Letterbox(256, 256))


def make_trainer(folder, name, **changes):
    """Return a trainer on the data in `folder / "data"`, the same in each process."""
    recipe = dataclasses.replace(RECIPE, **changes)
    annotations = read_annotations(folder / "data" / "squares.json")
    dataset = CocoDataset(annotations, folder / "data" / "images", max_side=80)
    torch.manual_seed(rank())  # all start from the main process's weights
    model = sm.build_model(PRESET, class_names=("square",))
    samples = AugmentedSamples(dataset, recipe, PRESET)
    return Trainer(Learner(model, recipe), samples, folder / name)


def make_validation(folder):
    """Return a validation on all images."""
    annotations = read_annotations(folder / "data" / "squares.json")
    return Validation(annotations, folder / "data" / "images", "cpu")


def disturb(trainer, what):
    """Let `what` happen in step 3 of the second process."""
    losses = trainer.learner.objective.losses

    def disturbed(*batch):
        values = losses(*batch)
        if trainer.step == 3 and rank() == 1:
            what(values)
        return values

    trainer.learner.objective.losses = disturbed


def interrupt(_):
    signal.raise_signal(signal.SIGTERM)


def spoil(values):
    values["loss_mask"] = values["loss_mask"] * math.nan


def outcome(run):
    """Return the name of the exception with which a process ends, if any."""
    try:
        run()
    except (KeyboardInterrupt, DivergenceError) as error:
        return type(error).__name__
    return None


def main(folder):
    """Train, stop, diverge and validate."""
    report = {}
    for normalise in ("global", "local"):
        trainer = make_trainer(folder, normalise, normalise=normalise)
        trainer.run()
    stopped = make_trainer(folder, "stopped")
    disturb(stopped, interrupt)
    report["interrupted"] = outcome(stopped.run)
    diverged = make_trainer(folder, "diverged")
    disturb(diverged, spoil)
    report["diverged"] = outcome(diverged.run)
    report["agreed"] = not any_process(from_main(report) != report)
    model = sm.load_model(folder / "model.safetensors")
    report["scores"] = make_validation(folder).score(model)
    if is_main():
        (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group("cpu"):
        main(Path(sys.argv[1]))

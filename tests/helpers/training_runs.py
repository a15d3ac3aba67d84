"""Training runs on a small data set, as tests make, disturb and read them."""

import contextlib
import io
import json
import signal

import torch
from coco_squares import tiny_model, tiny_preset, tiny_recipe, write_squares

from sipmask_core.cli.main import main
from sipmask_core.data.coco import read_annotations
from sipmask_core.training.dataset import CocoDataset
from sipmask_core.training.learner import Learner
from sipmask_core.training.loop import Trainer
from sipmask_core.training.samples import AugmentedSamples


def squares_dataset(folder):
    """Write squares into the folder. Return them as a data set."""
    annotations, images = write_squares(folder)
    return CocoDataset(read_annotations(annotations), images, max_side=80)


def make_trainer(dataset, output, recipe=None, pretrained=(), samples=AugmentedSamples, **options):
    """Return a trainer of a tiny model. samples: the class of them; options: of the trainer."""
    recipe = recipe or tiny_recipe()
    torch.manual_seed(recipe.seed)
    learner = Learner(tiny_model(), recipe, pretrained=pretrained)
    return Trainer(learner, samples(dataset, recipe, tiny_preset()), output, **options)


def steps(output):
    """Return the lines of a run's log that are of steps, without the time that they took."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines if "losses" in line]


def fake_validation(values):
    """Return a validation that gives these APs, one after the other."""
    remaining = iter(values)

    def validate(model):
        assert not model.training
        ap = next(remaining)
        return {"segm": {"AP": ap, "AP50": ap}, "bbox": {"AP": ap, "AP50": ap}}

    return validate


def interrupt_after(trainer, step):
    """Let Ctrl-C come while that step runs."""
    losses = trainer.learner.objective.losses

    def interrupted(*batch):
        if trainer.step == step:
            signal.raise_signal(signal.SIGINT)
        return losses(*batch)

    trainer.learner.objective.losses = interrupted


def train_arguments(tmp_path, epochs):
    """Return the command line that trains the preset `tiny` on squares for some epochs."""
    return [
        *("train", "--preset", "tiny", "--annotations", tmp_path / "data" / "squares.json"),
        *("--images", tmp_path / "data" / "images", "--output", tmp_path / "run"),
        *("--size", 96, "--epochs", epochs, "--batch", 2, "--hold-out", 2, "--threads", 1),
        *("--validate-every", 1000, "--precision", "fp32"),
    ]


def refusal(arguments):
    """Return the one sentence with which the command refuses, in this process."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert main([*map(str, arguments)]) == 2
    (sentence,) = errors.getvalue().splitlines()
    return sentence

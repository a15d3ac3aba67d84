"""Train a preset on COCO-style instance annotations.

The output folder gets
  last.pth           everything a run needs to go on; written at each epoch's end and on Ctrl-C
  best.safetensors   the weights of the best validation; `--checkpoint` of the other verbs takes it
  log.jsonl          one JSON line per step and per validation
  curves.png         losses, learning rate and AP, redrawn after each epoch
  predictions.png    held-out images, with the annotations beside what the model finds
  tensorboard/       the same for TensorBoard, if the `tensorboard` package is installed
Ctrl-C finishes the step, writes last.pth and says how to continue; the same command with --resume
then continues with the same losses as if nothing had happened. A second Ctrl-C ends at once.

From scratch, with ImageNet weights for the backbone:
  sipmask train --preset sipmask_r18_lite --annotations instances.json --images photos/ \\
      --output runs/first --init resnet18.pth

Fine-tune a whole model on your classes, the authors' or one of your own:
  sipmask train --checkpoint SipMask_r50.pth --preset sipmask_r50_caffe_fpn_gn_1x --remake-heads \\
      --annotations instances.json --images photos/ --output runs/mine --epochs 12
  Backbone and FPN are kept, and everything in the head that fits; what starts anew is named.
  Without --remake-heads, every key has to fit.

Several data sets at once, one with masks of a few classes, one with people only:
  sipmask train --preset sipmask_efficientnet_lite0 --output runs/both --hold-out 0.1 \\
      --annotations voc.json people.json --images voc/ people/ --init efficientnet_lite0.pth
  Classes with the same name are the same. A class that a file does not list is left out in its
  images, not treated as background. Objects without a mask teach class and box only.

Give a detector embeddings, by which a tracker tells objects apart, and change nothing else:
  sipmask train --checkpoint lite.safetensors --preset vis_sipmask_r18_lite --remake-heads \\
      --train-only track --annotations instances.json --images photos/ --output runs/track
  With a COCO file, each photograph is its own reference, shifted and scaled.

Continue after Ctrl-C or a power cut, or change the preset's recipe:
  sipmask train ... --output runs/first --resume
  sipmask train ... --epochs 100 --batch 32 --precision bf16 --ema 0.998

More than one GPU (or, with --device cpu, process), and more than one machine:
  torchrun --nproc-per-node 2 -m sipmask_core train ...
  torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
      -m sipmask_core train ...
  --batch remains the number of images per step, shared equally by the processes, and the result is
  that of one process. To --resume, with any number of processes, all machines must see the
  --output folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.options import weights_path
from sipmask_core.cli.training_data import (
    add_data_arguments,
    training_data,
)
from sipmask_core.cli.training_outcome import farewell, training_provenance
from sipmask_core.cli.training_start import (
    add_recipe_arguments,
    add_start_arguments,
    load_start,
    named_preset,
    require_a_start,
)
from sipmask_core.errors import InputError
from sipmask_core.training.recipe_options import chosen_values

if TYPE_CHECKING:
    import argparse

    import torch

    from sipmask_core.cli.training_data import TrainingData
    from sipmask_core.model.presets import Preset
    from sipmask_core.training.loop import Trainer
    from sipmask_core.training.recipe import Recipe

SUMMARY = "train a preset on COCO-style annotations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask train`."""
    add_data_arguments(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="run folder")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the last validation's figures there"
    )
    add_start_arguments(parser)
    add_recipe_arguments(parser)
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    machine.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="worker processes that prepare images, for each process; 0 (default) prepares them"
        " between steps",
    )
    machine.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of the network; by default one for each core, which is too many if other"
        " programs use them",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and print the AP of the held-out images."""
    import torch

    from sipmask_core.runtime.devices import MOST_THREADS
    from sipmask_core.runtime.distributed import process_group

    require_a_start(args)
    if args.checkpoint is not None:
        args.checkpoint = weights_path(args)
    if args.workers < 0:
        raise InputError(f"--workers is {args.workers}; it must be 0 or more.")
    if args.threads is not None:
        if not 1 <= args.threads <= MOST_THREADS:
            raise InputError(f"--threads is {args.threads}; it must be 1 to {MOST_THREADS}.")
        torch.set_num_threads(args.threads)
    if not args.resume and (args.output / "last.pth").exists():
        raise InputError(
            f"{args.output} holds a run already; add --resume to go on with it, or choose another"
            " --output."
        )
    with process_group(args.device) as device:
        return _train(args, device)


def _train(args: argparse.Namespace, device: torch.device) -> int:
    from sipmask_core.evaluation.coco import format_scores
    from sipmask_core.runtime.distributed import is_main, say
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.training.journal import has_tensorboard
    from sipmask_core.training.loop import DivergenceError
    from sipmask_core.training.summary import summary

    preset, recipe = _configuration(args)
    data = training_data(args, preset, recipe)
    dataset, held_out, _ = data
    say(summary(dataset.annotations, held_out))
    trainer = _trainer(args, preset, recipe, data, device)
    if args.resume:
        trainer.resume()
    for target in (trainer.checkpoint, args.json):
        if target is not None:
            require_writable(target)
    if not has_tensorboard():
        say("TensorBoard is not installed, so log.jsonl and curves.png are the only log.")
    dataset.fill_cache()
    try:
        metrics = trainer.run()
    except DivergenceError as error:
        if is_main():
            print(f"sipmask: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if is_main():
            print(farewell(args.command, trainer.step, trainer.saved_step), file=sys.stderr)
        return 130
    if metrics:
        say(f"{len(held_out.images)} held-out images:\n{format_scores(metrics)}")
    if args.json is not None and is_main():
        record = {"steps": trainer.step, "validation": metrics}
        write_json(args.json, {**record, "provenance": training_provenance(args, data, device)})
    best = args.output / "best.safetensors"
    say(f"The best weights are in {best}; --checkpoint {best} and a new --output go on from them.")
    return 0


def _configuration(args: argparse.Namespace) -> tuple[Preset, Recipe]:
    """Return the preset and its recipe, changed as the options say."""
    from sipmask_core.model.presets import override, with_longest_side
    from sipmask_core.training.recipe import recipe_for

    preset = named_preset(args)
    recipe = recipe_for(preset)
    recipe = recipe.changed(chosen_values(vars(args), recipe.turns))
    preset = override(preset, args.set)
    if args.input_size is not None:
        preset = with_longest_side(preset, args.input_size)
    return preset, recipe


def _trainer(
    args: argparse.Namespace,
    preset: Preset,
    recipe: Recipe,
    data: TrainingData,
    device: torch.device,
) -> Trainer:
    """Return the trainer of a model that starts as the options say."""
    import torch

    import sipmask_core as sm
    from sipmask_core.training.learner import Learner
    from sipmask_core.training.loop import Trainer
    from sipmask_core.training.samples import AugmentedSamples
    from sipmask_core.training.validation import Validation

    dataset, held_out, held_out_images = data
    train_part = dataset.annotations
    torch.manual_seed(recipe.seed)
    model = sm.build_model(preset, class_names=train_part.class_names)
    # A resumed run has its weights already.
    pretrained = set() if args.resume else load_start(model, args)
    validation = Validation(held_out, held_out_images, device)
    return Trainer(
        Learner(model, recipe, device, pretrained),
        AugmentedSamples(dataset, recipe, preset),
        args.output,
        args.workers,
        validation.score if held_out.images else None,
        validation.draw,
        metadata={
            "recipe": recipe.to_json(),
            "data": f"{', '.join(p.name for p in args.annotations)}, SHA-256 {train_part.sha256}",
            "data description": train_part.description,
            "training images": str(len(dataset)),
            "validation images": str(len(held_out.images)),
        },
    )

"""Train a preset on COCO-style instance annotations.

The output folder gets
  last.pth           everything a run needs to go on; written at each epoch's end and on Ctrl-C
  best.safetensors   the weights of the best validation; `--checkpoint` of the other verbs takes it
  log.jsonl          one JSON line per step and per validation
  curves.png         losses, learning rate and AP, redrawn after each epoch
  predictions.png    held-out images, what is annotated beside what the model finds
  tensorboard/       the same for TensorBoard, if the `tensorboard` package is installed
Ctrl-C finishes the step, writes last.pth and says how to go on; the same command with --resume then
continues with the same losses as if nothing had happened. A second Ctrl-C ends at once.

From scratch, with a backbone that knows ImageNet:
  sipmask train --preset sipmask_r18_lite --annotations instances.json --images photos/ \\
      --output runs/first --init resnet18.pth

Fine-tuning a whole model, the authors' or one of your own, on your classes:
  sipmask train --checkpoint SipMask_r50.pth --preset sipmask_r50_caffe_fpn_gn_1x --remake-heads \\
      --annotations instances.json --images photos/ --output runs/mine --epochs 12
  Backbone and FPN are kept, and all of the head that fits; what is made anew is named. Without
  --remake-heads every key has to fit.

Several data sets at once, one of them with masks of a few classes, one with people alone:
  sipmask train --preset sipmask_efficientnet_lite0 --output runs/both --hold-out 0.1 \\
      --annotations voc.json people.json --images voc/ people/ --init efficientnet_lite0.pth
  Classes correspond by name. A class that a file does not have is not background in its images: it
  is left out there. Objects without a mask teach class and box alone.

Giving a detector embeddings, by which a tracker tells objects apart, and nothing else:
  sipmask train --checkpoint lite.safetensors --preset vis_sipmask_r18_lite --remake-heads \\
      --train-only track --annotations instances.json --images photos/ --output runs/track
  Of a COCO file, each photograph is its own reference, seen from elsewhere.

Going on after Ctrl-C or a power cut, or departing from the preset's recipe:
  sipmask train ... --output runs/first --resume
  sipmask train ... --epochs 100 --batch 32 --precision bf16 --ema 0.998

More than one GPU (or, with --device cpu, process), and more than one machine:
  torchrun --nproc-per-node 2 -m sipmask_core train ...
  torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
      -m sipmask_core train ...
  --batch remains the number of images per step, shared equally by the processes, and the result is
  that of one process. All machines must see the --output folder to --resume, with any number of
  processes.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.training_data import add_data_arguments, training_data
from sipmask_core.errors import InputError
from sipmask_core.training.recipe_options import OPTIONS, chosen_values

if TYPE_CHECKING:
    import argparse

    import torch

    from sipmask_core.model.sipmask import SipMask

SUMMARY = "train a preset on COCO-style annotations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask train`."""
    add_data_arguments(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="run folder")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the last validation's figures there"
    )

    start = parser.add_argument_group("model and start (one of --preset and --checkpoint, or both)")
    start.add_argument(
        "--preset", metavar="NAME", help="see `sipmask presets` (default: that of --checkpoint)"
    )
    start.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change the preset for an experiment, e.g. sub_regions=1 (1 to 5),"
        " feature_alignment=false, mask_weighting=false; may be repeated",
    )
    start.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="a model to start from: .safetensors of this project or the authors' .pth;"
        " with --resume only its preset is read, and that only without --preset",
    )
    start.add_argument(
        "--remake-heads",
        action="store_true",
        help="start those parts of the head afresh that do not fit --checkpoint, and name them",
    )
    start.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="backbone weights to start from (torchvision's); not read again by --resume",
    )
    start.add_argument("--resume", action="store_true", help="go on with the run in --output")

    recipe = parser.add_argument_group("recipe (by default the preset's own)")
    for option in OPTIONS:
        recipe.add_argument(
            f"--{option.flag}",
            dest=option.field,
            type=option.kind,
            metavar=option.symbol,
            choices=option.choices,
            help=option.help,
        )

    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    machine.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="for each process, processes that prepare images; 0 (default) prepares them in"
        " between steps",
    )
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network")


def run(args: argparse.Namespace) -> int:
    """Train, and print the AP of the held-out images."""
    import torch

    from sipmask_core.runtime.devices import MOST_THREADS
    from sipmask_core.runtime.distributed import process_group

    if args.preset is None and args.checkpoint is None:
        raise InputError("Name the network with --preset, or give a --checkpoint to start from.")
    if args.init is not None and args.checkpoint is not None:
        raise InputError("--init starts a backbone and --checkpoint a whole model; give one.")
    if args.remake_heads and args.checkpoint is None:
        raise InputError("--remake-heads belongs to --checkpoint.")
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
    import torch

    import sipmask_core as sm
    from sipmask_core.evaluation.coco import format_scores
    from sipmask_core.model.checkpoints import checkpoint_preset
    from sipmask_core.model.presets import override, with_longest_side
    from sipmask_core.runtime.distributed import is_main, say
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance
    from sipmask_core.training.journal import has_tensorboard
    from sipmask_core.training.loop import DivergenceError, Trainer
    from sipmask_core.training.recipe import recipe_for
    from sipmask_core.training.samples import AugmentedSamples
    from sipmask_core.training.summary import summary
    from sipmask_core.training.validation import Validation

    if args.preset is not None:
        preset = sm.get_preset(args.preset)
    else:
        preset = checkpoint_preset(args.checkpoint)
    recipe = recipe_for(preset).changed(chosen_values(vars(args)))
    preset = override(preset, args.set)
    if args.input_size is not None:
        preset = with_longest_side(preset, args.input_size)
    dataset, held_out, held_out_images = training_data(args, preset, recipe)
    train_part = dataset.annotations
    say(summary(train_part, held_out))

    torch.manual_seed(recipe.seed)
    model = sm.build_model(preset, class_names=train_part.class_names)
    # A resumed run has its weights already.
    pretrained = set() if args.resume else _start(model, args)

    samples = AugmentedSamples(dataset, recipe, preset)
    validation = Validation(held_out, held_out_images, device)
    trainer = Trainer(
        model,
        samples,
        recipe,
        args.output,
        device,
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
        pretrained=pretrained,
    )
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
            print(_farewell(trainer.step, trainer.saved_step), file=sys.stderr)
        return 130
    if metrics:
        say(f"{len(held_out.images)} held-out images:\n{format_scores(metrics)}")
    if args.json is not None and is_main():
        weights = [] if args.resume else [args.init, args.checkpoint]
        files = [*args.annotations, *(args.validation or [])]
        inputs = [*files, *(path for path in weights if path is not None)]
        folders: dict[Path | str, list[Path]] = {}
        for part, folder in ((train_part, dataset.image_dir), (held_out, held_out_images)):
            folders.setdefault(folder, []).extend(part.files(folder))
        record = {"steps": trainer.step, "validation": metrics}
        write_json(args.json, {**record, "provenance": provenance(inputs, device, folders)})
    best = args.output / "best.safetensors"
    say(f"The best weights are in {best}; --checkpoint {best} and a new --output go on from them.")
    return 0


def _start(model: SipMask, args: argparse.Namespace) -> set[str]:
    """Load the weights that the options name; return the keys that are pretrained."""
    import sipmask_core as sm
    from sipmask_core.model.checkpoints import transfer_weights
    from sipmask_core.runtime.distributed import say

    if args.init is not None:
        fresh = sm.load_backbone(model, args.init)
        if fresh:
            say(f"Not in {args.init}, so trained from random weights: {', '.join(fresh)}.")
        keys = {f"backbone.{key}" for key in model.backbone.state_dict()}
        return keys - {f"backbone.{key}" for key in fresh}
    if args.checkpoint is None:
        return set()
    start = transfer_weights(model, args.checkpoint, args.remake_heads)
    if start.fresh:
        say(f"Made anew, for they do not fit {args.checkpoint}: {', '.join(start.fresh)}.")
    if start.left_out:
        say(f"In {args.checkpoint} and not used: {', '.join(start.left_out)}.")
    if not start.fresh and start.class_names not in (None, model.class_names):
        say(
            f"{args.checkpoint} was trained for other classes ({', '.join(start.class_names[:5])});"
            " as it has as many, its classifier is kept to start from."
        )
    return set(start.taken)


def _farewell(step: int, saved_step: int | None) -> str:
    """Say how to go on after Ctrl-C, and from which step.

    That can be earlier than `step`: a second Ctrl-C does not wait for a checkpoint.
    """
    if saved_step is None:
        return f"Stopped at step {step}, before the first checkpoint: there is nothing to resume."
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    launcher = ["sipmask"]
    if processes is not None:
        launcher = ["torchrun", "--nproc-per-node", processes, "-m", "sipmask_core"]
    command = shlex.join([*launcher, *arguments, "--resume"])
    return f"Stopped at step {step}. To go on from step {saved_step}: {command}"

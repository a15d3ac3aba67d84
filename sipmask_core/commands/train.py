"""Train a preset on COCO-style instance annotations.

The output folder gets
  last.pth           everything a run needs to go on; written at each epoch's end and on Ctrl-C
  best.safetensors   the weights of the best validation; `--checkpoint` of the other verbs takes it
  log.jsonl          one JSON line per step and per validation
  curves.png         losses, learning rate and AP, redrawn after each epoch
Ctrl-C finishes the step, writes last.pth and says how to go on; the same command with --resume then
continues with the same losses as if nothing had happened. A second Ctrl-C ends at once.

examples:
  sipmask train --preset sipmask_r18_lite --annotations instances.json --images photos/ \\
      --output runs/first --init resnet18.pth
  sipmask train ... --output runs/first --resume          go on after Ctrl-C or a power cut
  sipmask train ... --epochs 100 --batch 16 --lr 0.002    depart from the preset's recipe
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse

    from sipmask_core.model.sipmask import SipMask
    from sipmask_core.training.recipe import Recipe

SUMMARY = "train a preset on COCO-style annotations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask train`."""
    required = parser.add_argument_group("required")
    required.add_argument("--preset", required=True, metavar="NAME", help="see `sipmask presets`")
    required.add_argument(
        "--annotations", required=True, type=Path, metavar="FILE", help="COCO instances JSON"
    )
    required.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="folder of its images"
    )
    required.add_argument("--output", required=True, type=Path, metavar="DIR", help="run folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="backbone weights to start from (torchvision's); not read again by --resume",
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        default=200,
        metavar="N",
        help="images kept from training for validation, those whose file name has the smallest"
        " SHA-256; 0 trains on all (default: 200)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change the preset for an experiment, e.g. sub_regions=1 (1 to 5),"
        " feature_alignment=false, mask_weighting=false; may be repeated",
    )
    recipe = parser.add_argument_group("recipe (by default the preset's own)")
    recipe.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    recipe.add_argument("--batch", type=int, metavar="N", help="images per step")
    recipe.add_argument("--lr", type=float, metavar="RATE", help="highest learning rate")
    recipe.add_argument("--size", type=int, metavar="PIXELS", help="side of the square input")
    recipe.add_argument("--seed", type=int, metavar="N", help="of weights, order and augmentation")
    recipe.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of the forward pass; weights stay fp32"
    )
    recipe.add_argument(
        "--validate-every", type=int, metavar="N", help="epochs between validations"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the last validation's figures there"
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    machine.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that prepare images; 0 (default) prepares them in between steps",
    )
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network")


def run(args: argparse.Namespace) -> int:
    """Train; prints the AP of the held-out images."""
    import torch

    import sipmask_core as sm
    from sipmask_core.data.coco import read_annotations, require_images
    from sipmask_core.data.dataset import CocoDataset
    from sipmask_core.data.samples import AugmentedSamples
    from sipmask_core.evaluation.coco import detect, evaluation_threshold, format_scores, score
    from sipmask_core.files import require_writable, write_json
    from sipmask_core.predictor import choose_device
    from sipmask_core.presets import Letterbox, override
    from sipmask_core.provenance import provenance
    from sipmask_core.training.loop import DivergenceError, Trainer
    from sipmask_core.training.recipe import recipe_for

    if args.workers < 0:
        raise InputError(f"--workers is {args.workers}; it must be 0 or more.")
    if args.threads is not None:
        if args.threads < 1:
            raise InputError(f"--threads is {args.threads}; it must be 1 or more.")
        torch.set_num_threads(args.threads)
    if not args.resume and (args.output / "last.pth").exists():
        raise InputError(
            f"{args.output} holds a run already; add --resume to go on with it, or choose another"
            " --output."
        )
    device = choose_device(args.device)
    preset = sm.get_preset(args.preset)
    recipe = _changed(recipe_for(preset), args)
    preset = override(preset, args.set)
    if args.size is not None and isinstance(preset.resize, Letterbox):
        preset = dataclasses.replace(preset, resize=Letterbox(args.size, args.size))
    train_part, held_out = read_annotations(args.annotations).split(args.hold_out)

    torch.manual_seed(recipe.seed)
    model = sm.build_model(preset, class_names=train_part.class_names)
    pretrained: set[str] = set()
    init = None if args.resume else args.init  # a resumed run has its weights already
    if init is not None:
        fresh = sm.load_backbone(model, init)
        if fresh:
            print(f"Not in {init}, so trained from random weights: {', '.join(fresh)}.")
        pretrained = {f"backbone.{key}" for key in model.backbone.state_dict()}
        pretrained -= {f"backbone.{key}" for key in fresh}

    require_images(held_out, args.images)
    dataset = CocoDataset(train_part, args.images, max_side=recipe.source_side)
    samples = AugmentedSamples(dataset, recipe, preset)

    def validate(current: SipMask) -> dict[str, dict[str, float]]:
        predictor = sm.Predictor(current, str(device))
        predictor.score_threshold = evaluation_threshold(preset)
        found = detect(predictor, held_out, args.images)
        return score(held_out, list(chain.from_iterable(found)))

    trainer = Trainer(
        model,
        samples,
        recipe,
        args.output,
        device,
        args.workers,
        validate if held_out.images else None,
        metadata={
            "recipe": recipe.to_json(),
            "data": f"{args.annotations.name}, SHA-256 {train_part.sha256}",
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
    dataset.fill_cache()
    try:
        metrics = trainer.run()
    except DivergenceError as error:
        print(f"sipmask: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_farewell(trainer.step, trainer.saved_step), file=sys.stderr)
        return 130
    if metrics:
        print(f"{len(held_out.images)} held-out images:\n{format_scores(metrics)}")
    if args.json is not None:
        inputs = [args.annotations, *([init] if init is not None else [])]
        folders = {args.images: train_part.files(args.images) + held_out.files(args.images)}
        record = {"steps": trainer.step, "validation": metrics}
        write_json(args.json, {**record, "provenance": provenance(inputs, device, folders)})
    print(f"The best weights are in {args.output / 'best.safetensors'}.")
    return 0


def _changed(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with what the options change."""
    options = {
        "epochs": args.epochs,
        "batch_size": args.batch,
        "lr": args.lr,
        "input_size": None if args.size is None else (args.size, args.size),
        "seed": args.seed,
        "precision": args.precision,
        "validate_every": args.validate_every,
    }
    return dataclasses.replace(recipe, **{k: v for k, v in options.items() if v is not None})


def _farewell(step: int, saved_step: int | None) -> str:
    """How to go on after Ctrl-C, and from where: a second Ctrl-C does not wait for a checkpoint."""
    if saved_step is None:
        return f"Stopped at step {step}, before the first checkpoint: there is nothing to resume."
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    command = shlex.join(["sipmask", *arguments, "--resume"])
    return f"Stopped at step {step}. To go on from step {saved_step}: {command}"

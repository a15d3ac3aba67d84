"""Time models on this machine, stage by stage, from the encoded image to RLEs.

Each model takes turns with two others, so that whatever disturbs the machine disturbs all alike:
its plain form (float32, batch norm not folded, every mask at the size of the image), to which the
speedups are relative, and torchvision's Mask R-CNN with ResNet-50 at the same input size.

Instances cost time. Trained weights are timed with what they find in the images, unless --instances
gives a number; for random weights, thresholds are chosen that yield such a number. Mask R-CNN has
random weights and its own settings, so compare its times with its number of instances in mind.
Share of peak is relative to the fastest matrix product or convolution measured here, in the same
precision and with the same threads.

examples:
  sipmask benchmark                                      the shipped model and the R50 at 544x544
  sipmask benchmark --preset all --json bench.json --plot bench.png
  sipmask benchmark --preset shipped --instances 20 --threads 1
  sipmask benchmark --checkpoint SipMask_r50.pth --images street/ --device cuda --batch 1,4,8
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.options import WEIGHTS, add_model_arguments, weights_path
from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import count, width_by_height

if TYPE_CHECKING:
    import argparse

    from sipmask_core.model.sipmask import SipMask

SUMMARY = "time models on this machine, stage by stage"
SHIPPED, RANDOM = "shipped", "random"
DEFAULT_MODELS = f"{SHIPPED},sipmask_r50_caffe_fpn_ssd_gn_10x"
INSTANCES_OF_RANDOM_WEIGHTS = 20
RUNS, WARMUP = 20, 3
QUICK_RUNS, QUICK_WARMUP = 5, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask benchmark`."""
    parser.add_argument(
        "--images",
        type=Path,
        metavar="PATH",
        help="image or folder of images; by default photographs that come with scikit-image and"
        " matplotlib, scaled to 1280x720",
    )
    parser.add_argument(
        "--size",
        type=width_by_height,
        metavar="WxH",
        help="scale and cut the images to this width and height",
    )
    parser.add_argument(
        "--instances",
        type=int,
        metavar="N",
        help="choose thresholds so that N are reported; 0: as the model finds them (default: 0,"
        f" with random weights {INSTANCES_OF_RANDOM_WEIGHTS})",
    )
    parser.add_argument("--runs", type=int, metavar="N", help=f"timed runs ({RUNS})")
    parser.add_argument("--warmup", type=int, metavar="N", help=f"runs before these ({WARMUP})")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"a first look: the shipped model alone, {QUICK_RUNS} runs after {QUICK_WARMUP}",
    )
    parser.add_argument(
        "--batch",
        type=_batch_sizes,
        metavar="N[,N]",
        help="also time the network on this many images at once (default: none, on CUDA 1,4,8)",
    )
    parser.add_argument(
        "--no-rivals",
        dest="rivals",
        action="store_false",
        help="leave out torchvision's Mask R-CNN",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw a chart, .png or .svg")
    add_model_arguments(
        parser,
        "NAME[,NAME]",
        f"what to time: `{SHIPPED}`, presets with random weights, or `all` (default:"
        f" {DEFAULT_MODELS}); with --checkpoint, the configuration of a .pth that fits several",
        checkpoint_help=WEIGHTS,
    )


def run(args: argparse.Namespace) -> int:
    """Time models, print tables, write the JSON, draw the chart; Ctrl-C keeps what is done."""
    runs = args.runs if args.runs is not None else QUICK_RUNS if args.quick else RUNS
    warmup = args.warmup if args.warmup is not None else QUICK_WARMUP if args.quick else WARMUP
    if runs < 1 or warmup < 0:
        raise InputError(f"--runs is {runs} and --warmup {warmup}; at least 1 and 0 are needed.")
    if args.instances is not None and args.instances < 0:
        raise InputError(f"--instances is {args.instances}; it must be 0 or more.")
    names = _model_names(args)

    from sipmask_core.benchmark.images import images_at, sha256_of_pixels, standard_images
    from sipmask_core.benchmark.models import Settings, benchmark_model
    from sipmask_core.benchmark.report import draw, table
    from sipmask_core.inference.predictor import PRETRAINED
    from sipmask_core.runtime.devices import choose_device
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import describe_device, provenance

    for place in (args.json, args.plot):
        if place is not None:
            require_writable(place)
    device = choose_device(args.device)
    size = args.size and args.size[::-1]  # (H, W)
    photos = images_at(args.images, size) if args.images else standard_images(size)
    settings = Settings(
        device=args.device,
        precision=args.precision,
        num_threads=args.threads,
        instances=args.instances or 0,
        warmup=warmup,
        runs=runs,
        batches=args.batch,
        rivals=args.rivals,
    )
    models = []
    try:
        for name in names:
            model, weights = _load(args, name)
            if args.instances is None:
                instances = INSTANCES_OF_RANDOM_WEIGHTS if weights == RANDOM else 0
                settings = settings._replace(instances=instances)
            models.append(benchmark_model(name, model, weights, photos, settings))
            print(table(models[-1]), end="\n\n", flush=True)
    except KeyboardInterrupt:
        if not models:
            raise
    machine = describe_device(device)
    print(
        f"{machine.get('gpu', machine['processor'])}, {machine['torch_threads']} threads;"
        f" {runs} runs after {warmup}, {len(photos)} images"
    )
    record = {
        "images": {
            "names": [photo.name for photo in photos],
            "sizes": [list(photo.pixels.shape[:2]) for photo in photos],
            "sha256": sha256_of_pixels(photos),
        },
        "runs": runs,
        "warmup": warmup,
        "models": models,
    }
    if args.plot:
        draw(record, args.plot)
    if args.json:
        files = [weights_path(args)] if args.checkpoint else [PRETRAINED] * (SHIPPED in names)
        write_json(args.json, record | {"provenance": provenance(args.command, files, device)})
    if len(models) < len(names):
        raise KeyboardInterrupt
    return 0


def _load(args: argparse.Namespace, name: str) -> tuple[SipMask, str]:
    """Load a model to time; return it and where its weights are from."""
    from sipmask_core.benchmark.contenders import untrained
    from sipmask_core.inference.predictor import PRETRAINED
    from sipmask_core.model.checkpoints import load_model

    if args.checkpoint is not None:
        return load_model(weights_path(args), args.preset), args.checkpoint.name
    if name == SHIPPED:
        return load_model(PRETRAINED), SHIPPED
    return untrained(name), RANDOM


def _model_names(args: argparse.Namespace) -> list[str]:
    """Return the names of what to time; with a checkpoint, its file name alone."""
    from sipmask_core.model.presets import get_preset, preset_names

    if args.checkpoint is not None:
        return [args.checkpoint.name]
    asked = args.preset or (SHIPPED if args.quick else DEFAULT_MODELS)
    names = [SHIPPED, *preset_names()] if asked == "all" else asked.split(",")
    for name in names:
        if name != SHIPPED:
            get_preset(name)
    return names


def _batch_sizes(text: str) -> tuple[int, ...]:
    """Read N or N,N,..."""
    return tuple(count(part) for part in text.split(","))

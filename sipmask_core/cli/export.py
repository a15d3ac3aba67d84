"""Write the network as an ONNX file, for onnxruntime, TensorRT and other runtimes.

The network takes normalised pixels and returns raw head outputs. `sipmask predict`, other verbs
(--checkpoint) and the ROS node (model) run the file and do the rest. Its batch size is free. Height
and width are fixed if the preset resizes every image to one size, and follow the image otherwise;
--size fixes them, as TensorRT needs.

Afterwards, PyTorch and onnxruntime run the network on the same picture, and the differences are
shown. Give an --image with objects in it, so that there are detections to compare.

Needs onnx, onnxscript and onnxruntime: pip install 'sipmask-core[onnx]'

examples:
  sipmask export --output everyday.onnx --image street.jpg
  sipmask export --checkpoint SipMask_r50.pth --preset sipmask_r50_caffe_fpn_gn_1x \\
      --size 1280x736 --output r50.onnx
  sipmask predict photo.jpg --output seen/ --checkpoint everyday.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.options import add_checkpoint_arguments, weights_path
from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import width_by_height

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

SUMMARY = "write a model as an ONNX file, and check it against PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask export`."""
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="onnx (default)")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument(
        "--size",
        type=width_by_height,
        metavar="WxH",
        help="fix the network's input to this width and height; images are resized and padded",
    )
    parser.add_argument("--image", metavar="FILE", help="the picture for the comparison")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison there")
    add_checkpoint_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Export the model, then compare the file with it."""
    import torch

    import sipmask_core as sm
    from sipmask_core.inference.onnx_export import compare, with_input_size
    from sipmask_core.model.checkpoint_files import read_checkpoint
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance

    image = _picture(args.image)
    weights = weights_path(args)
    model = sm.load_model(weights, args.preset)
    if args.size:
        width, height = args.size
        model = with_input_size(model, (height, width))
    for target in filter(None, (args.output, args.json)):
        require_writable(target)
    print(f"Exporting {model.preset.name}; large networks take minutes ...", flush=True)
    sm.export_onnx(model, args.output, read_checkpoint(weights).metadata)
    print(f"Wrote {args.output}: {args.output.stat().st_size / 1e6:.1f} MB.")

    agreement = compare(model, sm.OnnxModel(args.output), image)
    print("Largest difference to PyTorch, relative to the largest value:")
    for name, difference in agreement.differences.items():
        print(f"  {name:<16}{difference:.1e}")
    print(
        f"Instances in the picture: {agreement.detections} with PyTorch, "
        f"{agreement.onnx_detections} with onnxruntime, {agreement.matched} the same."
    )
    if args.json:
        inputs = [weights, *([args.image] if args.image else [])]
        origin = provenance(args.command, inputs, torch.device("cpu"))
        report = {"model": model.preset.name, "agrees": agreement.holds, **agreement._asdict()}
        write_json(args.json, {**report, "provenance": origin})
    if not agreement.holds:
        print(f"sipmask: {args.output} does not compute what the model does.", file=sys.stderr)
        return 1
    return 0


def _picture(source: str | None) -> NDArray[np.uint8]:
    """Read the image file; without one, make noise."""
    import numpy as np

    from sipmask_core.video import Frames

    if source is None:
        return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with Frames(source) as frames:
        for frame in frames:
            return frame.image
    raise InputError(f"--image {source} is not a readable image.")

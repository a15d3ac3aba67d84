"""Turn the authors' checkpoint (.pth), or one of your own, into a .safetensors file.

The new file holds the weights and, as metadata, the preset, the class names and the origin, so from
then on `--checkpoint FILE` needs no other option. Nothing in the old file is executed.

examples:
  sipmask convert SipMask_r50.pth sipmask_r50.safetensors
  sipmask convert mine.pth mine.safetensors --preset sipmask_r50_caffe_fpn_gn_1x \\
      --class-names names.txt
  sipmask convert runs/first/best.safetensors published.safetensors --half \\
      --metadata "licence=CC BY 4.0"
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse

SUMMARY = "turn a checkpoint (the authors' .pth or your own) into a .safetensors file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask convert`."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the checkpoint to read")
    parser.add_argument(
        "target", type=Path, metavar="TARGET", help="the file to write, ending in .safetensors"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="its configuration; by default inferred from the weights"
    )
    parser.add_argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="text file with one class name per line; by default those stored in the checkpoint",
    )
    parser.add_argument(
        "--half", action="store_true", help="store the weights in 16 bits: half the file"
    )
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a fact to store in the file, such as a licence; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Convert one file."""
    import torch

    import sipmask_core as sm

    preset = sm.convert_checkpoint(
        args.source,
        args.target,
        preset=args.preset,
        class_names=None if args.class_names is None else _read_names(args.class_names),
        metadata=dict(_key_value(text) for text in args.metadata),
        dtype=torch.float16 if args.half else None,
    )
    print(f"Wrote {args.target}: {preset.name}.")
    return 0


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InputError(f"--metadata is {text!r}; expected KEY=VALUE.")
    return key, value


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the class names in {path}: {error}.") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"{path} is empty; expected one class name a line.")
    return names

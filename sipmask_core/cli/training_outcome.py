"""What a training leaves beside its weights: how to go on, and what it was made from."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from sipmask_core.cli.training_data import TrainingData


def training_provenance(
    args: argparse.Namespace, data: TrainingData, device: torch.device
) -> dict[str, Any]:
    """Return the record of files, images, versions and machine that a training has used."""
    from sipmask_core.runtime.provenance import provenance

    weights = [] if args.resume else [args.init, args.checkpoint]
    files = [*args.annotations, *(args.validation or [])]
    inputs = [*files, *(path for path in weights if path is not None)]
    dataset, held_out, held_out_images = data
    folders: dict[Path | str, list[Path]] = {}
    for part, folder in ((dataset.annotations, dataset.image_dir), (held_out, held_out_images)):
        folders.setdefault(folder, []).extend(part.files(folder))
    return provenance(args.command, inputs, device, folders)


def farewell(command: Sequence[str], step: int, saved_step: int | None) -> str:
    """Say how to go on after Ctrl-C, and from which step.

    command: the words of the command line that was stopped; torchrun is put in front if it was
    there. The step can be earlier than `step`: a second Ctrl-C does not wait for a checkpoint.
    """
    if saved_step is None:
        return f"Stopped at step {step}, before the first checkpoint: there is nothing to resume."
    program, *arguments = (word for word in command if word != "--resume")
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    launcher = [program]
    if processes is not None:
        launcher = ["torchrun", "--nproc-per-node", processes, "-m", "sipmask_core"]
    again = shlex.join([*launcher, *arguments, "--resume"])
    return f"Stopped at step {step}. To go on from step {saved_step}: {again}"

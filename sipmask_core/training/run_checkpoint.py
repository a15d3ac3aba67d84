"""`last.pth`: everything a run needs to go on, refused if it belongs to another run."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import torch

from sipmask_core.errors import InputError
from sipmask_core.model.presets import Preset, preset_from_json, preset_to_json
from sipmask_core.runtime.distributed import world_size
from sipmask_core.runtime.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.training.recipe import Recipe


def write_run(
    path: Path,
    recipe: Recipe,
    preset: Preset,
    annotations: CocoAnnotations,
    state: dict[str, Any],
) -> None:
    """Write a run's state, and what must be the same when it goes on, atomically."""
    identity = {
        "recipe": recipe.to_json(),
        "preset": preset_to_json(preset),
        "data": annotations.sha256,
        "images": annotations.image_names_sha256,
        "processes": world_size(),
    }
    # In memory first: if the disk is full, torch's message is about positions in the file.
    content = io.BytesIO()
    torch.save({**identity, **state}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_run(
    path: Path, recipe: Recipe, preset: Preset, annotations: CocoAnnotations
) -> dict[str, Any]:
    """Read the state that `write_run` wrote.

    Raise InputError if `path` is missing or not such a file, or if preset, recipe, annotations or
    training images are not those that the run had. The number of processes may change, unless the
    recipe makes the losses depend on it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"There is no run to resume: {path} is missing.") from None
    except Exception as error:  # a damaged file fails in many ways
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(f"{path} is not a checkpoint of a run: {reason}.") from None
    if not isinstance(state, dict) or not {"recipe", "images", "processes"} <= state.keys():
        raise InputError(f"{path} is not a checkpoint of a run.")
    run = f"The run in {path.parent}"
    if preset_from_json(state["preset"], str(path)) != preset:
        raise InputError(f"{run} was started with another preset.")
    if state["recipe"] != recipe.to_json():
        raise InputError(
            f"{run} has another recipe and cannot go on with this one:"
            f" {_difference(state['recipe'], recipe.to_json())}. A new run, in another folder, can"
            f" start from its {path.with_name('best.safetensors')}."
        )
    if state["data"] != annotations.sha256:
        raise InputError(f"{run} was started with another annotation file.")
    if state["images"] != annotations.image_names_sha256:
        raise InputError(
            f"{run} trains on other images of {annotations.path};"
            " hold out the same ones as it does."
        )
    if recipe.normalise == "local" and state["processes"] != world_size():
        raise InputError(
            f"{run} was started with {state['processes']} processes, each of which normalises its"
            f" own losses; it cannot go on with {world_size()}."
        )
    return state


def _difference(old: str, new: str) -> str:
    before, now = json.loads(old), json.loads(new)
    return ", ".join(
        f"{name} was {before.get(name)}, is {now[name]}"
        for name in now
        if before.get(name) != now[name]
    )

"""Where weights with a name are on this machine: $SIPMASK_HOME, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from sipmask_core.errors import InputError, nearest_of
from sipmask_core.weights.table import PUBLISHED

HOME_VARIABLE = "SIPMASK_HOME"
SHIPPED = "sipmask_efficientnet_lite0"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".onnx")
SHIPPED_FILE = Path(__file__).with_name("sipmask_efficientnet_lite0_coco.safetensors")


def folder() -> Path:
    """Return the folder of fetched weights, which need not exist.

    Raises InputError if neither SIPMASK_HOME is set nor a home folder can be told.
    """
    if home := os.environ.get(HOME_VARIABLE):
        start = home
    else:
        start = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sipmask")
    try:
        return Path(start).expanduser() / "weights"
    except RuntimeError:
        raise InputError(
            f"This user has no home folder to keep weights in; set {HOME_VARIABLE} to a folder."
        ) from None


def path_of(name: str) -> Path:
    """Return where the weights of that name are, or would be once they are fetched."""
    return SHIPPED_FILE if name == SHIPPED else folder() / f"{name}.safetensors"


def find(name: str) -> Path:
    """Return the file of the weights of that name.

    Raises InputError for a name that has no weights, and for weights that are not here, with the
    command that fetches them.
    """
    if not is_name(name):
        raise InputError(f"No weights are named {name!r}{_meant(name)}.")
    path = path_of(name)
    if not path.is_file():
        raise InputError(
            f"The weights {name} are not on this machine; `sipmask weights get {name}` fetches"
            f" them to {path.parent}."
        )
    return path


def is_name(name: str) -> bool:
    """Return whether weights have that name."""
    return name in PUBLISHED or name == SHIPPED


def weights_file(model: str) -> Path:
    """Return the file that a user means by a path or by a name of weights; a file goes first.

    What looks like a path is returned even if nothing is there: who opens it will say so. Raises
    InputError as `find` does, and for what is neither a name nor looks like a path.
    """
    path = Path(model)
    try:
        if path.is_file():
            return path
        if is_name(model):
            return find(model)
        if path.exists() or path.suffix in _SUFFIXES or len(path.parts) > 1:
            return path
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{model!r} cannot be the name of a file.") from None
    raise InputError(
        f"There is no checkpoint file {model!r}, and no weights have that name{_meant(model)}."
    )


def _meant(name: str) -> str:
    near = nearest_of(name, [SHIPPED, *PUBLISHED])
    return f"{near and '; '}{near}; `sipmask weights list` shows all"

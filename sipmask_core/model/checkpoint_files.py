"""What is in a .pth or .safetensors file, under the names of this project."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from torch import Tensor

from sipmask_core.errors import InputError
from sipmask_core.model.maskrcnn_benchmark_keys import (
    from_benchmark_keys,
    to_benchmark_key,
    uses_benchmark_keys,
)
from sipmask_core.runtime.files import require_file

if TYPE_CHECKING:
    from collections.abc import Callable


class Checkpoint(NamedTuple):
    """What a file holds: weights by the model's key names, and metadata (all strings).

    file_key: gives the file's own name for one of the model's keys, for messages.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str]
    file_key: Callable[[str], str] = str


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint of any supported format onto the CPU.

    Raises InputError if the file is missing, unreadable, damaged or not a checkpoint, or if reading
    it would execute code.
    """
    path = Path(path)
    require_file(path, "checkpoint")
    if path.suffix == ".onnx":
        raise InputError(
            f"{str(path)!r} is an exported network, which can only be run; expected a .safetensors "
            "or .pth file."
        )
    try:
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None


def _read_safetensors(path: Path) -> Checkpoint:
    # Not mapped into memory: if a mapped file were replaced, the process would crash.
    content = path.read_bytes()
    try:
        state = deserialize(content)
    except SafetensorError as error:
        reason = " ".join(str(error).split())  # it may quote the file, line ends included
        raise InputError(f"{str(path)!r} is not a readable safetensors file: {reason}.") from None
    header_end = 8 + int.from_bytes(content[:8], "little")
    return Checkpoint(state, json.loads(content[8:header_end]).get("__metadata__") or {})


def _read_pth(path: Path) -> Checkpoint:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{str(path)!r} is refused: it is damaged, or holds more than tensors and plain values "
            f"({reason}), and nothing from a file is executed."
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{str(path)!r} is not a readable torch checkpoint: {reason}") from None
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} holds a {type(content).__name__}, not a checkpoint.")
    if "recipe" in content:
        raise InputError(
            f"{str(path)!r} is the state of a training run; the weights to use are in "
            "best.safetensors beside it."
        )
    state = content.get("state_dict", content.get("model", content))
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{str(path)!r} holds no state_dict of named tensors.")
    state = {_current_key(key): value for key, value in state.items()}
    meta = content.get("meta")
    metadata = _mmdetection_metadata(meta) if isinstance(meta, dict) else {}
    if uses_benchmark_keys(state):
        return Checkpoint(from_benchmark_keys(state), metadata, to_benchmark_key)
    return Checkpoint(state, metadata)


def _current_key(key: str) -> str:
    """Remove the prefix of DataParallel and rename DCN offsets from the name in older files."""
    return key.removeprefix("module.").replace("conv2_offset.", "conv2.conv_offset.")


def _mmdetection_metadata(meta: dict[str, Any]) -> dict[str, str]:
    metadata: dict[str, str] = {
        k: str(meta[k]) for k in ("epoch", "iter", "mmdet_version") if k in meta
    }
    classes = meta.get("CLASSES")
    if isinstance(classes, list | tuple) and all(isinstance(c, str) for c in classes):
        metadata["class_names"] = json.dumps(list(classes))
    return metadata

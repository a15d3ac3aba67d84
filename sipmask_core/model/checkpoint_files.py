"""What is in a .pth or .safetensors file, under the names of this project."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from torch import Tensor

from sipmask_core.errors import InputError
from sipmask_core.model.checkpoint_kinds import checkpoint_format
from sipmask_core.model.maskrcnn_benchmark_keys import (
    from_benchmark_keys,
    to_benchmark_key,
    uses_benchmark_keys,
)
from sipmask_core.runtime.files import require_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Where programs keep the weights; if several are there, the first one counts.
_WRAPPERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
    "net",
    "module",
)
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile and Lightning
# Running averages beside the weights, as mmcv's and Lightning's hooks keep them.
_TWINS = ("ema_", "ema.", "model_ema.")
_EXTRA = "_extra_state"  # of a module's get_extra_state
_COUNTERS = {"n_averaged", "steps"}  # of averages: torch's and mmengine's
_ROOT = "backbone."  # of every network here; other parts stand beside it
_NAMED_KEYS = 8
_DEEPEST = 3  # wrappers within wrappers


class _Unread:
    """Stands for a value in a .pth file that nobody needs: it takes anything and does nothing."""

    def __new__(cls, *_: object) -> _Unread:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Take a state, as unpickling gives it, and forget it."""


# What trainers write beside the weights. Nothing of it is made: these names mean `_Unread`.
_INERT: list[Any] = [
    (_Unread, name)
    for name in (
        *(
            f"numpy.{module}.{function}"
            for module in ("core.multiarray", "_core.multiarray", "core.numeric", "_core.numeric")
            for function in ("scalar", "_reconstruct", "_frombuffer")
        ),
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{kind}" for kind in ("float64", "float32", "int64", "int32", "bool_", "bool")),
        "argparse.Namespace",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
        *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone")),
        *(f"builtins.{kind}" for kind in ("frozenset", "range", "slice")),
        "decimal.Decimal",
        "types.SimpleNamespace",
        "uuid.UUID",
        "mmengine.logging.history_buffer.HistoryBuffer",
        "builtins.getattr",  # with which HistoryBuffer names its methods
    )
]


class Checkpoint(NamedTuple):
    """What a file holds: weights by the model's key names, and metadata (all strings).

    file_key: gives the file's own name for one of the model's keys, for messages.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str]
    file_key: Callable[[str], str] = str


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint of any supported format, which its first bytes tell, onto the CPU.

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
        is_torch = checkpoint_format(path) == "torch"
        checkpoint = _read_pth(path) if is_torch else _read_safetensors(path)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    for key, value in checkpoint.state.items():
        if value.is_meta or value.is_complex() or value.layout is not torch.strided:
            what = "no values" if value.is_meta else f"{value.dtype}, {value.layout}"
            raise InputError(
                f"{str(path)!r} has {key} as a tensor of {what}; real numbers, one by one, are"
                " expected."
            )
    _complete(checkpoint.state)
    return checkpoint


def _complete(state: dict[str, Tensor]) -> None:
    """Add the counters of batches, which do nothing once a network is trained, if they are missing.

    Files older than PyTorch 0.4.1 have none, and neither have maskrcnn-benchmark's.
    """
    for key in [key for key in state if key.endswith(".running_mean")]:
        counter = key.removesuffix("running_mean") + "num_batches_tracked"
        state.setdefault(counter, torch.zeros((), dtype=torch.long))


def _read_safetensors(path: Path) -> Checkpoint:
    # Not mapped into memory: if a mapped file were replaced, the process would crash.
    content = path.read_bytes()
    try:
        state = deserialize(content)
    except SafetensorError as error:
        reason = " ".join(str(error).split())  # it may quote the file, line ends included
        raise InputError(
            f"{str(path)!r} is not a readable safetensors file: {reason}; copy or download it"
            " again."
        ) from None
    header_end = 8 + int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8:header_end]).get("__metadata__") or {}
    return Checkpoint(_cleaned(state), metadata)


def _read_pth(path: Path) -> Checkpoint:
    try:
        with (
            path.open("rb") as stream,  # PyTorch goes by the name of what has one
            torch.serialization.safe_globals(_INERT),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # we say what there is to say
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{str(path)!r} is refused: {_reason(path, error)}.") from None
    except OSError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = reason.partition(". ")[0].rstrip(".")  # what follows is advice to trust the file
        raise InputError(f"{str(path)!r} is not a readable torch checkpoint: {reason}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} holds a {type(content).__name__}, not a checkpoint.")
    if "recipe" in content:
        raise InputError(
            f"{str(path)!r} is the state of a training run; the weights to use are in "
            "best.safetensors beside it."
        )
    state = _weights(content)
    if state is None:
        raise InputError(
            f"{str(path)!r} holds no state_dict of named tensors; at its top it has"
            f" {abridged(list(content), _NAMED_KEYS)}."
        )
    state = _cleaned(state)
    meta = content.get("meta")
    metadata = _mmdetection_metadata(meta) if isinstance(meta, dict) else {}
    if uses_benchmark_keys(state):
        return Checkpoint(from_benchmark_keys(state), metadata, to_benchmark_key)
    return Checkpoint(state, metadata)


def _reason(path: Path, error: pickle.UnpicklingError) -> str:
    """Say why PyTorch refused to unpickle; what it advises would let the file run code."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found is None:
        return (
            "it is damaged, or holds more than tensors and plain values, and nothing from a file is"
            " executed"
        )
    what = "holds more than tensors and plain values"
    if b"torch.nn.modules." in path.read_bytes():
        what = "is a whole model, pickled with its code"
    return (
        f"it {what} ({found[1]}), and nothing from a file is executed; save the state_dict() of the"
        " model instead"
    )


def _weights(content: dict[Any, Any], depth: int = _DEEPEST) -> dict[str, Tensor] | None:
    """Return the named tensors in a file, wherever its program puts them; None if that is unclear.

    They are where known programs put them, or the only named tensors that are there.
    """
    if _are_weights(content):
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    inside = [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]
    for part in inside if depth else ():
        if (found := _weights(part, depth - 1)) is not None:
            return found
    others = [value for value in content.values() if _are_weights(value)]
    return _weights(others[0]) if len(others) == 1 else None


def _are_weights(content: object) -> bool:
    """Return whether these are named tensors and, beside them, nothing but state that is no weight.

    Modules may keep such state, under names of its own or as None.
    """
    return (
        isinstance(content, dict)
        and any(isinstance(value, Tensor) for value in content.values())
        and all(
            isinstance(k, str) and (isinstance(v, Tensor) or v is None or k.endswith(_EXTRA))
            for k, v in content.items()
        )
    )


def _cleaned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights as the model does, and leave out running averages beside them."""
    outside = _prefix(state)
    cleaned = {
        _own_key(key.removeprefix(outside)): value
        for key, value in state.items()
        if key not in _COUNTERS
    }
    own = {key: value for key, value in cleaned.items() if not key.startswith(_TWINS)}
    return own or cleaned


def _prefix(state: dict[str, Tensor]) -> str:
    """Return what stands before the names of a model that is a part of another; "" if nothing."""
    inner = next((key for key in state if f".{_ROOT}" in key), "")
    outside = inner[: inner.find(f".{_ROOT}") + 1]
    return outside if all(key.startswith(outside) for key in state) else ""


def _own_key(key: str) -> str:
    """Remove the prefixes of wrappers, and rename DCN offsets from the name in older files."""
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key.replace("._orig_mod.", ".").replace("conv2_offset.", "conv2.conv_offset.")


def _mmdetection_metadata(meta: dict[str, Any]) -> dict[str, str]:
    metadata: dict[str, str] = {
        key: str(meta[key])
        for key in ("epoch", "iter", "mmdet_version")
        if isinstance(meta.get(key), int | float | str)
    }
    of_data = meta.get("dataset_meta")  # in files of mmengine
    places = (meta, of_data if isinstance(of_data, dict) else {})
    classes = next((of[key] for of in places for key in ("CLASSES", "classes") if key in of), None)
    if isinstance(classes, list | tuple) and all(isinstance(c, str) for c in classes):
        metadata["class_names"] = json.dumps(list(classes))
    return metadata


def abridged(keys: Sequence[object], number: int) -> str:
    """Return the first keys as a list on one line, whatever they are."""
    named = (key if isinstance(key, str) and key.isprintable() else repr(key) for key in keys)
    return ", ".join(islice(named, number)) + ", ..." * (len(keys) > number)

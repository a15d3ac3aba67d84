"""Key names of the authors' maskrcnn-benchmark code, and the model's for the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

HEAD = "rpn.head."
# (theirs, the model's); if several begin a key, the first one counts.
PREFIXES = (
    ("backbone.body.stem.conv1.", "backbone.conv1."),
    ("backbone.body.stem.bn1.", "backbone.bn1."),
    ("backbone.body.", "backbone."),
    *((f"backbone.fpn.fpn_inner{i + 2}.", f"neck.lateral_convs.{i}.conv.") for i in range(3)),
    *((f"backbone.fpn.fpn_layer{i + 2}.", f"neck.fpn_convs.{i}.conv.") for i in range(3)),
    ("backbone.fpn.top_blocks.p6.", "neck.fpn_convs.3.conv."),
    ("backbone.fpn.top_blocks.p7.", "neck.fpn_convs.4.conv."),
    # Their towers are sequences of convolution, norm and ReLU.
    *(
        (f"{HEAD}{theirs}_tower.{3 * i + j}.", f"bbox_head.{ours}_convs.{i}.{layer}.")
        for theirs, ours in (("cls", "cls"), ("bbox", "reg"))
        for i in range(4)
        for j, layer in enumerate(("conv", "gn"))
    ),
    (f"{HEAD}cls_logits.", "bbox_head.fcos_cls."),
    (f"{HEAD}bbox_pred.", "bbox_head.fcos_reg."),
    (f"{HEAD}centerness.", "bbox_head.fcos_centerness."),
    (HEAD, "bbox_head."),
)


def uses_benchmark_keys(state: Mapping[str, Tensor]) -> bool:
    """Return whether these are weights under maskrcnn-benchmark's names."""
    return any(key.startswith(HEAD) for key in state)


def from_benchmark_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights under the model's names; unknown names stay.

    Scales lose their only axis. Batch norms have no counter of batches there.
    """
    renamed = {}
    for key, value in state.items():
        own = _renamed(key, PREFIXES)
        renamed[own] = value.view(()) if own.endswith(".scale") and value.numel() == 1 else value
    return renamed


def to_benchmark_key(key: str) -> str:
    """Return maskrcnn-benchmark's name of one of the model's keys."""
    return _renamed(key, [(ours, theirs) for theirs, ours in PREFIXES])


def _renamed(key: str, prefixes: Iterable[tuple[str, str]]) -> str:
    for old, new in prefixes:
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key

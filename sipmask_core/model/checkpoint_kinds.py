"""What a file that is given as a checkpoint really is, by its first bytes.

What people have instead of weights is named, with what to do about it.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Literal

from sipmask_core.errors import InputError
from sipmask_core.runtime.signatures import first_bytes, other_kind

if TYPE_CHECKING:
    from pathlib import Path

Format = Literal["safetensors", "torch"]

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
# A number that torch.save pickled first before it wrote zips, and where it is found at the latest.
_TORCH_MAGIC, _MAGIC_ENDS = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", 32


def checkpoint_format(path: Path) -> Format:
    """Return how the file stores weights, whatever its name ends in.

    Raise InputError, which says what it is, if it holds none, and OSError if it cannot be read.
    """
    head = first_bytes(path)
    what = _kind_of_zip(path) if head.startswith(_ZIP) else other_kind(head)
    if what:
        raise InputError(f"{str(path)!r} is {what}.")
    header_length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header_length <= path.stat().st_size - 8:
        return "safetensors"
    if head.startswith(_ZIP) or _TORCH_MAGIC in head[:_MAGIC_ENDS]:
        return "torch"
    if path.suffix == ".safetensors":
        return "safetensors"  # whose reader says what is wrong with it
    if head.startswith(_PICKLE):
        raise InputError(
            f"{str(path)!r} is refused: it is a pickle that torch.save has not written, such as"
            " Detectron2's, and nothing from a file is executed; save the weights, as tensors, by"
            " torch.save."
        )
    raise InputError(
        f"{str(path)!r} is not a readable torch checkpoint: it begins neither as torch.save's files"
        " nor as safetensors' do; copy or download it again."
    )


def _kind_of_zip(path: Path) -> str:
    """Return what a zip is if torch.save did not write it; otherwise ""."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "cut off or damaged: copy or download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "a TorchScript program, which can only be run; save the state_dict() of the model it"
            " was made of"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        return "a zip archive: unpack it, and give what was in it"
    return ""

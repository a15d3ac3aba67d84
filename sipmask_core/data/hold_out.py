"""Which images are held out of a training: a choice that any machine reproduces."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sipmask_core.data.file_names import plain_name
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def hold_out(file_names: Iterable[str], count: float, what: str = "images") -> frozenset[str]:
    """Choose the file names whose SHA-256 is smallest: a split that any machine reproduces.

    count: how many names are held out or, if below 1, the share of all possible digests, so that an
    image is held out of every file that lists it or of none. The hash is of the name's last
    component in UTF-8, as a hexadecimal string, so neither the order of the file, nor its folder,
    nor a random generator matters; images that are added later move few others or, with a share,
    none. Raises InputError unless some names remain; `what` says in its message what they name.
    """
    names = sorted(file_names, key=_name_digest)
    held = sum(int(_name_digest(n), 16) < count * 2**256 for n in names) if 0 < count < 1 else count
    if not (0 <= held < len(names) and held == int(held)):
        raise InputError(
            f"{count} {what} cannot be held out of {len(names)}; a number from 0 to"
            f" {len(names) - 1} is accepted, or a share below 1 that leaves some."
        )
    return frozenset(names[: int(held)])


def _name_digest(file_name: str) -> str:
    return hashlib.sha256(PurePosixPath(plain_name(file_name)).name.encode()).hexdigest()

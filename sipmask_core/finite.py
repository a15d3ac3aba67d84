"""Numbers that are none: an overflow anywhere in a network ends as NaN in what leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def require_finite(*arrays: NDArray[np.float32]) -> None:
    """Raises FloatingPointError where one of the arrays holds NaN or infinity."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise FloatingPointError("The network's outputs are not finite.")

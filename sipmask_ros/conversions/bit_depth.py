"""How many bits of its 16-bit images a camera uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

# Those of sensors whose images are sent as 16 bits, the upper ones zero.
SENSOR_BITS = (10, 12, 14, 16)


def bits_of(values: NDArray[np.uint16]) -> int:
    """Return the fewest bits, of SENSOR_BITS, that hold all these values."""
    needed = int(values.max()).bit_length()
    return next(bits for bits in SENSOR_BITS if needed <= bits)


class BitDepth:
    """Says of each image of one camera from how many bits to scale it.

    given: that many; 0: as many as the camera's images have used so far, so that brightness does
    not follow the brightest pixel of each. It can be changed at any time. tell: gets these bits
    whenever they have become more.
    """

    def __init__(self, given: int = 0, tell: Callable[[int], object] = lambda bits: None) -> None:
        self.given = given
        self._tell = tell
        self._used = 0

    def __call__(self, values: NDArray[np.uint16]) -> int:
        """Return the bits that these values are to be scaled from."""
        if self.given:
            return self.given
        if self._used < SENSOR_BITS[-1] and (bits := bits_of(values)) > self._used:
            self._used = bits
            self._tell(bits)
        return self._used

"""The way from the command line to the package that knows ROS and its recordings."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing_bags() -> Iterator[None]:
    """Import what reads bags within the block; raises InputError where that is not installed."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"Bags need ROS 2, the built sipmask_ros and `pip install rosbags`: {error}."
        ) from None

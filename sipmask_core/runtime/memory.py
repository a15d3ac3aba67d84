"""Running out of memory: recognised, whoever says so, and tried once more with some set free."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# What torch on a CPU, CUDA and its libraries, onnxruntime and OpenCV say.
_SAYINGS = ("allocate memory", "out of memory", "alloc_failed", "insufficient memory")


def with_second_try(work: Callable[[], T], free: Callable[[], None]) -> T:
    """work(), and where memory runs out, free() and work() again.

    Raises MemoryError, having freed again, where that is not enough either.
    """
    for _ in range(2):
        try:
            return work()
        except Exception as error:  # onnxruntime's and OpenCV's have no base of their own
            if not is_out_of_memory(error):
                raise
        free()  # not in the handler: until it ends, the error holds what the try has allocated
    raise MemoryError


def is_out_of_memory(error: Exception) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, MemoryError) or any(
        saying in str(error).lower() for saying in _SAYINGS
    )

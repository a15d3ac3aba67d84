"""Recognise out-of-memory errors of any library; free memory and retry once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Words in such errors of torch on a CPU, CUDA and its libraries, onnxruntime and OpenCV.
_SAYINGS = (
    "allocate memory",
    "out of memory",
    "alloc_failed",
    "allocation_failed",
    "insufficient memory",
)
# What cuDNN says if it gets no memory to work in, but for other causes, too.
_VAGUE_SAYING = "unable to find an engine to execute this computation"


def with_second_try(work: Callable[[], T], free: Callable[[], None]) -> T:
    """Return work(); if memory runs out, call free() and then work() again.

    If memory runs out again, frees it again and raises MemoryError.
    """
    for is_last in (False, True):
        try:
            return work()
        except Exception as error:  # the libraries' errors share no base class
            may_pass = not is_last and _VAGUE_SAYING in str(error).lower()
            if not (may_pass or is_out_of_memory(error)):
                raise
        free()  # not in the handler: until it ends, the error holds on to what work() allocated
    raise MemoryError


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error, of any library, says that memory has run out."""
    return isinstance(error, MemoryError) or any(
        saying in str(error).lower() for saying in _SAYINGS
    )

"""Choice of device and number format, and transfers to a GPU and back with little waiting.

On a CPU transfers cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MOST_THREADS = 512
MOST_PINNED = 64 * 2**20  # bytes of one download; torch keeps pinned memory for later ones
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def use_threads(number: int | None) -> None:
    """Make torch compute with so many CPU threads; None changes nothing.

    Raises InputError for a number below 1 or above MOST_THREADS.
    """
    if number is None:
        return
    if not 1 <= number <= MOST_THREADS:
        raise InputError(f"num_threads is {number}; it must be between 1 and {MOST_THREADS}.")
    torch.set_num_threads(number)


def upload(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Turn values on the CPU to a tensor on the device; the host does not wait for the GPU."""
    return torch.as_tensor(values).to(device, non_blocking=True)


def download(*tensors: Tensor) -> list[NDArray[Any]]:
    """Turn tensors of one type and device to arrays; the host waits for a GPU once for them all.

    From a GPU they lie in pinned memory, of which there is little: copy what is to be kept.
    """
    if not tensors[0].is_cuda:
        return [x.numpy() for x in tensors]
    packed = _to_cpu(torch.cat([x.flatten() for x in tensors]) if len(tensors) > 1 else tensors[0])
    parts = packed.flatten().split([x.numel() for x in tensors])
    return [part.view(x.shape).numpy() for part, x in zip(parts, tensors, strict=True)]


def _to_cpu(x: Tensor) -> Tensor:
    """Copy a GPU's tensor: to pinned memory, which is several times as fast, if it is not large."""
    if x.nbytes > MOST_PINNED:
        return x.cpu()
    with torch.cuda.device(x.device):
        pinned = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        pinned.copy_(x, non_blocking=True)
        torch.cuda.current_stream().synchronize()
    return pinned


def require_finite(*arrays: NDArray[np.float32]) -> None:
    """Raise FloatingPointError if one of the arrays holds NaN or infinity."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise FloatingPointError("The network's outputs are not finite.")


def choose_device(device: str) -> torch.device:
    """Return the torch device that "auto", "cpu", "cuda" or "cuda:N" means here.

    A GPU has its number, that of the current one for "cuda". Raises InputError for another name
    and for a GPU that is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device is {device!r}; it must be auto, cpu, cuda or cuda:N.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device is {device!r}, but torch sees {torch.cuda.device_count()} CUDA devices."
        )
    if chosen == torch.device("cuda"):
        # The current one may change later, and another thread has its own.
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """Return the number format, a key of PRECISIONS, that "auto" or a name means on the device.

    Raises InputError for one that does not exist or that the device cannot compute with.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if _multiplies_bf16() else "fp32"
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; it must be auto, fp32, fp16 or bf16.")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision is 'fp16', which CPUs cannot use; it must be fp32 or bf16.")
    return precision


def _multiplies_bf16() -> bool:
    """Return whether this processor multiplies bf16; torch tells by a private name that may go."""
    tells = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return tells is not None and bool(tells())

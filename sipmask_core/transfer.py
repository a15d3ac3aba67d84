"""To a GPU and back, with as little waiting as can be; on a CPU both ways cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def upload(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Values of the CPU as a tensor on the device; the host does not wait for the GPU."""
    return torch.as_tensor(values).to(device, non_blocking=True)


def download(*tensors: Tensor) -> list[NDArray[Any]]:
    """Tensors of one type and device as arrays; the host waits for a GPU once for all of them."""
    if tensors[0].is_cuda:
        packed = torch.cat([x.flatten() for x in tensors]).cpu()
        parts = packed.split([x.numel() for x in tensors])
        return [part.view(x.shape).numpy() for part, x in zip(parts, tensors, strict=True)]
    return [x.numpy() for x in tensors]

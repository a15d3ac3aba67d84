"""Work with the processes that `torchrun` starts as one; a single process works the same."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from sipmask_core.errors import InputError
from sipmask_core.runtime.devices import choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

T = TypeVar("T")


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started; yield this process's device.

    device: as for `Predictor`; "auto" and "cuda" give each process of a machine a GPU of its own.
    Tensors on GPUs travel by NCCL, all others by gloo. Raises InputError for a device that cannot
    be used.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield choose_device(device)
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        if device not in ("auto", "cuda"):
            raise InputError(f"device is {device!r}; with several processes it must be cuda.")
        chosen = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    # torchrun passes Ctrl-C on as SIGTERM.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
        dist.barrier()
    finally:
        dist.destroy_process_group()
        signal.signal(signal.SIGTERM, previous)


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Return whether this is the process that writes files and talks to the user."""
    return rank() == 0


def say(text: str) -> None:
    """Print a line, once for all processes."""
    if is_main():
        print(text, flush=True)


def summed(values: Tensor) -> Tensor:
    """Sum a tensor, which has the same shape in each process, over the processes."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def any_process(flag: bool) -> bool:
    """Return whether the flag is set in any process; all of them get the same answer."""
    return bool(summed(torch.tensor(int(flag))))


def from_main(value: T) -> T:
    """Return what the main process passes in; the other processes' values are ignored."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def own_share(items: Sequence[T]) -> Sequence[T]:
    """Return the items that this process is to work on: of process r, r, r + world_size(), ..."""
    return items[rank() :: world_size()]


def gathered(share: list[T], count: int) -> list[T]:
    """Gather in order what each process has made of its `own_share` of `count` items.

    The main process gets everything, the others an empty list.
    """
    if world_size() == 1:
        return share
    shares: list[Any] | None = [None] * world_size() if is_main() else None
    dist.gather_object(share, shares)
    if shares is None:
        return []
    return [shares[i % len(shares)][i // len(shares)] for i in range(count)]

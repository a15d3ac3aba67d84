"""Which images each training step takes, in an order that depends on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The batches of every epoch.

    Each epoch is a permutation of `count` images drawn from (seed, epoch); what does not fill its
    last batch is left out. `tall` says which images are higher than wide; with it, all but one
    batch of an epoch hold images of one kind: padding a tall and a wide one to a common size would
    waste up to half of the computation.

    Of each batch, `part` of `parts` is taken, counted from 0; together they are the batch, in
    order. Raise InputError if a batch cannot be cut into equal parts.
    """

    count: int
    most_images: int  # of a batch: there may be fewer in all
    seed: int
    tall: NDArray[np.bool_] | None = None
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.parts:
            raise InputError(
                f"A batch of {self.batch_size} images cannot be shared equally by {self.parts}"
                " processes; its size must be a multiple of their number."
            )

    @property
    def batch_size(self) -> int:
        """Images of a batch, of all parts."""
        return min(self.most_images, self.count)

    @property
    def share(self) -> int:
        """Images of a batch that this part takes."""
        return self.batch_size // self.parts

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.count // self.batch_size

    def batches(self, epoch: int) -> NDArray[np.int64]:
        """Draw the indices that this part takes of the epoch's batches, (per_epoch, share)."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.count)[: self.per_epoch * self.batch_size]
        if self.tall is not None:
            order = order[np.argsort(self.tall[order], kind="stable")]
        batches = order.reshape(self.per_epoch, self.batch_size)
        if self.tall is not None:
            batches = rng.permutation(batches)
        return batches[:, self.part * self.share :][:, : self.share]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The (epoch, index) keys of each training step from `start` to `stop`.

    A step's batch is a function of the step alone, so a run can begin anywhere.
    """

    def __init__(self, plan: BatchPlan, start: int, stop: int) -> None:
        self.plan = plan
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, self.plan.per_epoch)
            if position == 0 or step == self.start:
                batches = self.plan.batches(epoch)
            yield [(epoch, int(i)) for i in batches[position]]

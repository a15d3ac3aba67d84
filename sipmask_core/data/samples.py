"""What the training loop draws: augmented samples in an order that depends on the seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from sipmask_core.data.transforms import (
    paste,
    random_colour_table,
    random_placement,
    recolour,
    warp,
)
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoDataset, Target
    from sipmask_core.presets import Preset
    from sipmask_core.training.recipe import Recipe

Tensors = dict[str, torch.Tensor]


class AugmentedSamples(Dataset[tuple[torch.Tensor, Tensors]]):
    """`samples[epoch, index]`: image `index` of the dataset as epoch `epoch` sees it.

    An image is uint8 (H, W, 3) of the recipe's input size, in the preset's channel order; its
    target holds boxes (n, 4) float32, labels (n,) int64 and masks (n, H, W) uint8. All randomness
    comes from (seed, epoch, index), so a sample does not depend on which worker makes it, in which
    order or after which resume.

    The authors' presets learn from images with objects only: there, a sample without any gives way
    to another image's; InputError when MAX_DRAWS images in a row have none.
    """

    MAX_DRAWS = 50

    def __init__(self, dataset: CocoDataset, recipe: Recipe, preset: Preset) -> None:
        self.dataset = dataset
        self.input_size = recipe.input_size
        self.augmentation = recipe.augmentation
        self.seed = recipe.seed
        self.rgb = preset.rgb
        first, green, last = (round(value) for value in preset.mean)
        self.fill = (last, green, first) if preset.rgb else (first, green, last)  # BGR
        self.keep_empty = not preset.authors

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, Tensors]:
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        for _ in range(self.MAX_DRAWS):
            image, target = self._drawn(rng, index)
            if self.keep_empty or len(target["labels"]):
                if self.rgb:
                    cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
                return torch.from_numpy(image), {
                    "boxes": torch.from_numpy(target["boxes"]),
                    "labels": torch.from_numpy(target["labels"]),
                    "masks": torch.from_numpy(target["masks"]),
                }
            index = self._any(rng)
        raise InputError(
            f"{self.MAX_DRAWS} images drawn from {self.dataset.annotations.path} have no object"
            " left after augmentation; this preset learns from images with objects only."
        )

    def _drawn(self, rng: np.random.Generator, index: int) -> tuple[NDArray[np.uint8], Target]:
        colours = random_colour_table(rng, self.augmentation)
        image, target = self._placed(rng, index, colours)
        if rng.random() < self.augmentation.copy_paste:
            image, target = paste(image, target, *self._placed(rng, self._any(rng), colours))
        return image, target

    def _any(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.dataset)))

    def _placed(
        self, rng: np.random.Generator, index: int, colours: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], Target]:
        image, target = self.dataset[index]
        size = image.shape[0], image.shape[1]
        matrix = random_placement(rng, size, self.input_size, self.augmentation)
        return warp(recolour(image, colours), target, matrix, self.input_size, self.fill)


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The (epoch, index) keys of each training step from `start` to `stop`.

    Each epoch is a permutation drawn from (seed, epoch); what does not fill its last batch is left
    out. A step's batch is a function of the step alone, so a run can begin anywhere.

    Of each batch, `part` of `parts` is taken, counted from 0; together they are the batch, in
    order. Raises InputError for a batch that cannot be cut into equal parts.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        self.count = count
        self.batch_size = min(batch_size, count)
        if self.batch_size % parts:
            raise InputError(
                f"A batch of {self.batch_size} images cannot be shared equally by {parts}"
                " processes; its size must be a multiple of their number."
            )
        self.share = self.batch_size // parts
        self.part = part
        self.per_epoch = count // self.batch_size
        self.seed = seed
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, self.per_epoch)
            if position == 0 or step == self.start:
                order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            first = position * self.batch_size + self.part * self.share
            yield [(epoch, int(i)) for i in order[first : first + self.share]]


def collate(samples: Sequence[tuple[torch.Tensor, Tensors]]) -> tuple[torch.Tensor, list[Any]]:
    """Images stacked to (N, H, W, 3) uint8; targets listed, since their counts differ."""
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]

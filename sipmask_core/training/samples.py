"""What the training loop draws: augmented samples that depend on the seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from sipmask_core.errors import InputError
from sipmask_core.model.inputs import PAD_MULTIPLE
from sipmask_core.training.augmentation.affine import AffineView, paste, seen_again
from sipmask_core.training.augmentation.target import Canvas, chosen
from sipmask_core.training.dataset import VideoDataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sipmask_core.model.inputs import Normalise
    from sipmask_core.model.presets import Preset
    from sipmask_core.training.augmentation.target import Family, Picture, Target
    from sipmask_core.training.dataset import CocoDataset
    from sipmask_core.training.recipe import Recipe

Tensors = dict[str, torch.Tensor]
REFERENCE_JITTER = 0.05  # of the sides of a reference frame's boxes: shift and change of size


class AugmentedSamples(Dataset[tuple[torch.Tensor, Tensors]]):
    """`samples[epoch, index]`: image `index` of the dataset as epoch `epoch` sees it.

    An image is uint8 (H, W, 3), in the preset's channel order; its target holds boxes (n, 4)
    float32, labels (n,) int64, masks (n, H, W) uint8 and ignore (H, W) uint8, the regions of
    crowds. H and W are the recipe's input size or, without one, the image's own. What is not known
    of the image is told by has_mask (n,) bool, known_classes (classes,) bool, unsure_boxes (k, 4)
    and unsure_labels (k,), as `named_losses` takes them; each is there only if it says something.
    All randomness comes from (seed, epoch, index), so a sample does not depend on which worker
    makes it, in which order or after which resume.

    For presets with a track branch there is a reference, too: reference_image uint8 (H, W, 3),
    reference_boxes (m, 4), jittered, reference_match (n,) int64, 1 + the index of the same object
    there, 0 if it cannot be seen there, ids (n,) and reference_ids (m,) int64. It is another frame
    of a `VideoDataset` under the same augmentation, without copy-paste, or the same photograph as a
    camera that has moved would see it, where pasted objects lie elsewhere.

    The authors' presets learn from images with objects only: a sample without any is replaced by
    that of another image. Raise InputError if MAX_DRAWS images in a row have none. These presets
    also take crowds for background: their targets have no `ignore`.
    """

    MAX_DRAWS = 50

    def __init__(self, dataset: CocoDataset, recipe: Recipe, preset: Preset) -> None:
        self.dataset = dataset
        self.augmentation: Family = recipe.augmentation
        self.seed = recipe.seed
        self.rgb = preset.rgb
        self.needs_objects = preset.needs_objects
        self.crowds_are_background = preset.crowds_are_background
        self.has_track_branch = preset.embedding_channels > 0
        first, green, last = (round(value) for value in preset.mean)
        fill = (last, green, first) if preset.rgb else (first, green, last)  # BGR
        self.canvas = Canvas(recipe.input_size, fill, inclusive=preset.inclusive_boxes)
        self.turns = recipe.turns

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def tall(self) -> NDArray[np.bool_] | None:
        """Which images are higher than wide; None if all fill the same canvas."""
        if self.canvas.size is not None and not self.turns:
            return None
        return np.array([image.height > image.width for image in self.dataset.annotations.images])

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, Tensors]:
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        for _ in range(self.MAX_DRAWS):
            sample = self._drawn(rng, index)
            if len(sample[1]["labels"]) or not self.needs_objects:
                return sample
            index = self._any(rng)
        raise InputError(
            f"{self.MAX_DRAWS} images drawn from {self.dataset.annotations.path} have no object"
            " left after augmentation; this preset learns from images with objects only."
        )

    def _drawn(self, rng: np.random.Generator, index: int) -> tuple[torch.Tensor, Tensors]:
        image, target = self.dataset[index]
        size = image.shape[0], image.shape[1]
        certain = target["boxes"][~target["uncertain"]]
        canvas = self.canvas.turned_for(size) if self.turns else self.canvas
        view = self.augmentation.view(rng, size, certain, canvas)
        pictures = [view(image, target)]  # and, second, the reference
        if isinstance(self.dataset, VideoDataset):
            pictures.append(view(*self.dataset[self.dataset.reference(rng, index)]))
        else:
            if self.has_track_branch:
                pictures.append(seen_again(rng, *pictures[0], canvas))
            if isinstance(view, AffineView):
                pictures = self._pasted(rng, view, pictures, index)
        (image, target), *reference = pictures
        tensors = self._unknown(index, target)
        target = chosen(target, ~target["uncertain"])
        tensors |= {name: torch.from_numpy(target[name]) for name in ("boxes", "labels", "masks")}
        if not self.crowds_are_background:
            tensors["ignore"] = torch.from_numpy(target["ignore"])
        if reference:
            pixels, there = reference[0]
            there = chosen(there, ~there["uncertain"])
            tensors |= self._reference_tensors(rng, target, pixels, there)
        return self._channels(image), tensors

    def _unknown(self, index: int, target: Target) -> Tensors:
        """Collect what must not be learnt from image `index`, as it is drawn."""
        tensors = {}
        unsure = target["uncertain"]
        if unsure.any():
            tensors["unsure_boxes"] = torch.from_numpy(target["boxes"][unsure])
            tensors["unsure_labels"] = torch.from_numpy(target["labels"][unsure])
        if not target["has_mask"][~unsure].all():
            tensors["has_mask"] = torch.from_numpy(target["has_mask"][~unsure])
        annotations = self.dataset.annotations
        known = annotations.images[index].known_labels
        if known is not None:
            marks = [label in known for label in range(len(annotations.class_names))]
            tensors["known_classes"] = torch.tensor(marks)
        return tensors

    def _pasted(
        self, rng: np.random.Generator, view: AffineView, pictures: list[Picture], index: int
    ) -> list[Picture]:
        """Paste objects of another image on top, in like colours, with the recipe's probability."""
        if rng.random() >= view.augmentation.copy_paste:
            return pictures
        other = self._any(rng)
        if len(pictures) > 1 and other == index:  # the reference cannot show an object twice
            return pictures
        image, target = self.dataset[other]
        size = image.shape[0], image.shape[1]
        return [paste(*picture, *view.elsewhere(rng, size)(image, target)) for picture in pictures]

    def _reference_tensors(
        self,
        rng: np.random.Generator,
        target: Target,
        reference: NDArray[np.uint8],
        reference_target: Target,
    ) -> Tensors:
        boxes = jittered(rng, reference_target["boxes"])
        same = target["ids"][:, None] == reference_target["ids"]  # (n, m)
        match = (same * np.arange(1, same.shape[1] + 1)).sum(axis=1)
        return {
            "ids": torch.from_numpy(target["ids"]),
            "reference_image": self._channels(reference),
            "reference_boxes": torch.from_numpy(boxes),
            "reference_ids": torch.from_numpy(reference_target["ids"]),
            "reference_match": torch.from_numpy(match.astype(np.int64)),
        }

    def _channels(self, image: NDArray[np.uint8]) -> torch.Tensor:
        if self.rgb:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return torch.from_numpy(image)

    def _any(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.dataset)))


def jittered(rng: np.random.Generator, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move and resize each of the boxes (m, 4) by up to REFERENCE_JITTER of its sides."""
    shift_x, shift_y, grow_x, grow_y = rng.uniform(
        -REFERENCE_JITTER, REFERENCE_JITTER, boxes.shape
    ).T
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sides * (0.5 + np.stack([shift_x, shift_y], axis=1))
    half = sides * (1 + np.stack([grow_x, grow_y], axis=1)) / 2
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)


def collate(samples: Sequence[tuple[torch.Tensor, Tensors]]) -> tuple[torch.Tensor, list[Tensors]]:
    """Stack images to (N, H, W, 3) uint8 and list their targets, reference images padded alike.

    H and W are the least multiples of 32 that hold all images, which lie at the top left. Masks
    keep the size of their own image, and so tell it.
    """
    sides = [max(image.shape[axis] for image, _ in samples) for axis in (0, 1)]
    height, width = (side + -side % PAD_MULTIPLE for side in sides)

    def padded(image: torch.Tensor) -> torch.Tensor:
        return F.pad(image, (0, 0, 0, width - image.shape[1], 0, height - image.shape[0]))

    targets = [dict(target) for _, target in samples]
    for target in targets:
        if "reference_image" in target:
            target["reference_image"] = padded(target["reference_image"])
    return torch.stack([padded(image) for image, _ in samples]), targets


def normalised(
    normalise: Normalise, images: torch.Tensor, targets: Sequence[Tensors]
) -> tuple[torch.Tensor, list[Tensors]]:
    """Turn what `collate` returns into what `named_losses` takes: (N, 3, H, W), padded with zeros.

    All is float32. Zero is the mean colour, normalised: padding looks as it does at test time.
    """

    def pixels(image: torch.Tensor, target: Tensors) -> torch.Tensor:
        height, width = target["masks"].shape[1:]
        return normalise(image[None], (height, width), torch.float32)

    batch = torch.cat([pixels(image, t) for image, t in zip(images, targets, strict=True)])
    return batch, [
        {**t, "reference_image": pixels(t["reference_image"], t)[0]}
        if "reference_image" in t
        else t
        for t in targets
    ]

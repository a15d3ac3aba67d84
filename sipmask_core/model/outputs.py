"""What the network puts out, and which places and boxes its outputs are about."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sipmask_core.runtime.devices import upload

if TYPE_CHECKING:
    from collections.abc import Callable

    # Makes the grid of a level, as `locations` does.
    Locate: TypeAlias = Callable[[int, int, int, torch.device], Tensor]

STRIDES = (8, 16, 32, 64, 128)
BASIS_STRIDE = 2
TRACK_STRIDE = 8

# Grids of locations that are cached: five levels of a dozen input sizes.
KEPT_GRIDS = 64


class HeadOutputs(NamedTuple):
    """Raw outputs of the network for a batch of N images; lists run over P3 to P7.

    class_logits: (N, classes, H_l, W_l).
    distances: (N, 4, H_l, W_l), left top right bottom from the location to the box, in pixels of
        the network input; negative ones are possible unless the preset rectifies them.
    centerness: (N, 1, H_l, W_l) logits.
    coefficients: (N, cells * num_bases, H_l, W_l), cells in row-major order.
    basis: (N, num_bases, H / 2, W / 2), non-negative.
    track_features: (N, embedding_channels, H / 8, W / 8), an embedding of the object at each place;
        None without a track branch.
    candidates: those of each image, if they have been selected already.
    """

    class_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    coefficients: list[Tensor]
    basis: Tensor
    track_features: Tensor | None = None
    candidates: list[Candidates] | None = None

    def image(self, index: int) -> HeadOutputs:
        """Return the outputs of one image of the batch, as views."""
        here = slice(index, index + 1)
        class_logits, distances, centerness, coefficients = (
            [level[here] for level in levels] for levels in self[:4]
        )
        return HeadOutputs(
            class_logits,
            distances,
            centerness,
            coefficients,
            basis=self.basis[here],
            track_features=None if self.track_features is None else self.track_features[here],
            candidates=None if self.candidates is None else self.candidates[here],
        )


class Candidates(NamedTuple):
    """The locations of one image that may be detections.

    boxes: (M, 4) x0 y0 x1 y1; class_scores: (M, classes) and centerness: (M,)
    in [0, 1]; coefficients: (M, cells * num_bases). best: see `inference.best_pairs`; None if they
    were not chosen.
    """

    boxes: Tensor
    class_scores: Tensor
    centerness: Tensor
    coefficients: Tensor
    best: Tensor | None = None


def locations(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return the centres of a level's cells, row by row: (height * width, 2) x, y in pixels.

    On a CPU all callers share one cached tensor: do not change it. On a GPU it is made anew: a
    recorded graph keeps its own, for it would go on reading one that a cache has dropped.
    """
    grid = _kept_grid if device.type == "cpu" else _grid
    return grid(height, width, stride, device)


@torch.inference_mode(False)  # so that training can use the cached tensor
def _grid(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    y = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    x = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((xx, yy), dim=-1).view(-1, 2)


_kept_grid = lru_cache(KEPT_GRIDS)(_grid)


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Turn points (M, 2) and distances (M, 4) left top right bottom to boxes (M, 4) x0 y0 x1 y1."""
    return torch.cat((points - distances[:, :2], points + distances[:, 2:]), dim=1)


def embeddings_at(track_features: Tensor, boxes: Tensor) -> Tensor:
    """Return the embeddings (N, C) float32 at the centres of boxes.

    track_features: (C, H / 8, W / 8); boxes: (N, 4) in network pixels, on any device. A centre off
    the map takes the cell of the map that is nearest.
    """
    height, width = track_features.shape[-2:]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    x, y = (centre / TRACK_STRIDE).floor().long().unbind(1)
    cells = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    cells = upload(cells, track_features.device)
    return track_features.flatten(1).t().index_select(0, cells).float()

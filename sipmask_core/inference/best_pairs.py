"""The best pairs of location and class, chosen on a GPU: what NMS needs of an image, in one piece.

The threshold can change from image to image, so the pairs are the best of all, and what is left out
is known by its highest score: that shows whether they suffice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sipmask_core.runtime.devices import download

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sipmask_core.model.outputs import Candidates

MOST_PAIRS = 1024
_BOX, _CLASS_SCORE, _SCORE, _PAIR = slice(4), 4, 5, 6  # columns of a row


class Pairs(NamedTuple):
    """Pairs above a threshold, ordered by location, then by class.

    boxes: (P, 4) in network pixels; scores, labels and locations: (P,). worst: all of higher score
    are among them. complete: whether none above the threshold is missing.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    locations: NDArray[np.int64]
    worst: float
    complete: bool

    def suffice(self, keep: NDArray[np.int64], wanted: int) -> bool:
        """Return whether NMS, which left the pairs `keep`, would leave the same of all pairs.

        Whether a pair survives depends on better ones alone, so pairs that are missing change
        nothing if `wanted` better ones have survived.
        """
        if self.complete:
            return True
        return len(keep) >= wanted and bool(self.scores[keep[wanted - 1]] > self.worst)


def best_pairs(candidates: Candidates, by_class_score: bool) -> Tensor:
    """Choose the `MOST_PAIRS` pairs of highest class score x centerness, or all if there are fewer.

    by_class_score: whether the class score alone will be compared with a threshold.

    Returns (P + 1, 7) float32: for each pair, by falling score, its box, class score, score and, as
    the bits of an int32, its number, location * classes + class. The last row has the highest
    compared score of the other pairs, -1 if there are none, and whether all candidates are finite.
    """
    boxes, class_scores = candidates.boxes, candidates.class_scores
    classes = class_scores.shape[1]
    scores = class_scores * candidates.centerness[:, None]  # (M, classes)
    flat = scores.flatten()
    top, pair = flat.topk(min(MOST_PAIRS, len(flat)))
    compared = class_scores.flatten() if by_class_score else flat
    left = compared.index_fill(0, pair, -1).amax()
    finite = boxes.isfinite().all() & scores.isfinite().all()
    location = torch.div(pair, classes, rounding_mode="floor")
    rows = torch.cat(
        (
            boxes.index_select(0, location),
            class_scores.flatten().index_select(0, pair)[:, None],
            top[:, None],
            pair.int().view(torch.float32)[:, None],
        ),
        dim=1,
    )
    last = torch.cat((left[None], finite[None].float(), left.new_zeros(rows.shape[1] - 2)))
    return torch.cat((rows, last[None]))


def read_best(candidates: Candidates, by_class_score: bool, threshold: float) -> Pairs:
    """Download the best pairs and return those above the threshold.

    Raises FloatingPointError if candidates are not finite.
    """
    assert candidates.best is not None
    (packed,) = download(candidates.best)
    rows, (left, finite) = packed[:-1], packed[-1, :2]
    if not finite:
        raise FloatingPointError("The network's outputs are not finite.")
    worst = float(rows[-1, _SCORE])
    compared = rows[:, _CLASS_SCORE if by_class_score else _SCORE]
    rows = rows[compared > threshold]
    pair = rows[:, _PAIR].copy().view(np.int32).astype(np.int64)
    order = pair.argsort()
    rows, pair = rows[order], pair[order]
    location, labels = np.divmod(pair, candidates.class_scores.shape[1])
    return Pairs(
        np.ascontiguousarray(rows[:, _BOX]),
        np.ascontiguousarray(rows[:, _SCORE]),
        labels,
        location,
        worst,
        complete=not left > threshold,
    )

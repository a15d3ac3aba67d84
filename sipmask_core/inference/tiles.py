"""Small objects of large images: a segmenter that looks at an image whole and in tiles.

A tile shows its part of the image to the network at a larger scale. Tiles overlap, so that most
objects that one cuts are whole in another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.inference.tile_merging import View, merge
from sipmask_core.runtime.stopwatch import stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter

OVERLAP = 0.25  # of a tile with the next one, in shares of its side
MOST_TILES = 64
_GRID = re.compile(r"(\d{1,2})x(\d{1,2})")


def read_grid(text: str) -> tuple[int, int] | None:
    """Return (columns, rows) of a text such as "3x2"; None for "" and "1x1", which are no tiles.

    Raises InputError for any other text, and for more than MOST_TILES tiles.
    """
    grid = _GRID.fullmatch(text) if text else None
    columns, rows = map(int, grid.groups()) if grid else (not text, not text)
    if not 1 <= columns * rows <= MOST_TILES:
        raise InputError(
            f"tiles is {text!r}; accepted are columns x rows such as 2x2, {MOST_TILES} tiles at"
            " most, or nothing for the whole image alone."
        )
    return (columns, rows) if columns * rows > 1 else None


def tiled(segmenter: Segmenter, tiles: str) -> Segmenter:
    """Return the segmenter with tiles, or itself if the text asks for none; see `read_grid`."""
    grid = read_grid(tiles)
    return segmenter if grid is None else TiledSegmenter(segmenter, *grid)


def views(image_size: tuple[int, int], columns: int, rows: int) -> list[View]:
    """Return the whole of an image of (H, W) pixels and its tiles, which cover it and overlap."""
    height, width = image_size
    tiles = [
        View(x0, y0, x1, y1) for y0, y1 in _parts(height, rows) for x0, x1 in _parts(width, columns)
    ]
    return [View(0, 0, width, height), *tiles]


def _parts(length: int, number: int) -> list[tuple[int, int]]:
    """Return where equal parts of a side begin and end; fewer parts if pixels do not suffice."""
    part = min(length, int(np.ceil(length / (number - (number - 1) * OVERLAP))))
    starts = np.unique(np.linspace(0, length - part, number).round().astype(int))
    return [(start, start + part) for start in starts.tolist()]


class TiledSegmenter:
    """Lets a segmenter see images whole and in tiles, all in one batch.

    columns, rows: of tiles. Every object that the segmenter sees in any of these views comes once
    and whole. What tiles show small is as good as what the whole image shows, and of the same
    object the best score counts. What is large in a tile, and pieces of one object that several
    tiles have cut, joined, only fill gaps, because tiles are often wrong about large objects. A
    piece that no other continues is left out. A batch of n images is one of n x (1 + columns x
    rows) for the segmenter, which has to have memory for it.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> from sipmask_core.inference.tiles import TiledSegmenter
    >>> predictor = sm.Predictor.from_pretrained(device="cpu")
    >>> TiledSegmenter(predictor, 2, 2)(np.zeros((720, 1280, 3), np.uint8)).image_size
    (720, 1280)
    """

    def __init__(self, segmenter: Segmenter, columns: int, rows: int) -> None:
        self.segmenter = segmenter
        self._grid = columns, rows

    @property
    def model_name(self) -> str:
        """The segmenter's, and the tiles."""
        return f"{self.segmenter.model_name} in {'x'.join(map(str, self._grid))} tiles"

    @property
    def class_names(self) -> Sequence[str]:
        """The segmenter's."""
        return self.segmenter.class_names

    @property
    def device(self) -> torch.device:
        """The segmenter's."""
        return self.segmenter.device

    @property
    def precision(self) -> str:
        """The segmenter's."""
        return self.segmenter.precision

    @property
    def score_threshold(self) -> float | None:
        """The segmenter's, for each view."""
        return self.segmenter.score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float | None) -> None:
        self.segmenter.score_threshold = value

    def __call__(self, image: NDArray[np.uint8], /) -> Instances:
        """Return the instances of one image. Raises the errors of the segmenter."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[NDArray[np.uint8]], /) -> list[Instances]:
        """Return the instances of each of several images. Raises the errors of the segmenter."""
        if any(not isinstance(i, np.ndarray) or i.ndim != 3 or not i.size for i in images):
            return self.segmenter.predict_batch(images)  # it says what is wrong
        layouts = [views(image.shape[:2], *self._grid) for image in images]
        parts = [
            image[view.y0 : view.y1, view.x0 : view.x1]
            for image, layout in zip(images, layouts, strict=True)
            for view in layout
        ]
        seen = iter(self.segmenter.predict_batch(parts))
        with stage("tiles"):
            return [merge([(view, next(seen)) for view in layout]) for layout in layouts]

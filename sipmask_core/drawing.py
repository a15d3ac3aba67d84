"""Pictures of instances: overlays and contact sheets."""

from __future__ import annotations

import colorsys
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sipmask_core.instances import UNTRACKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

Colour = tuple[int, int, int]  # BGR, 0 to 255
Rectangle = tuple[int, int, int, int]  # x y w h
GREY: Colour = (150, 150, 150)

_GOLDEN_RATIO = 0.618034
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Lines and letters grow with the image: these are their sizes if its short side has 720 pixels.
_REFERENCE_SIDE = 720
_REFERENCE_LINE = 2.0
_REFERENCE_FONT = 0.6
_SMALLEST_FONT = 0.38  # below this Hershey letters run together


def colour(identity: int) -> Colour:
    """Return a vivid BGR colour; identities next to each other get hues far apart."""
    hue = (0.05 + identity * _GOLDEN_RATIO) % 1.0
    value = 1.0 if identity % 2 == 0 else 0.8
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def draw_instances(
    image: NDArray[np.uint8],
    instances: Instances,
    class_names: Sequence[str],
    *,
    alpha: float = 0.5,
    contours: bool = True,
    boxes: bool = False,
    labels: bool = True,
    untracked: Colour | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of the image with every mask tinted, outlined and named.

    image: (H, W, 3) uint8 BGR, of the size that `instances.image_size` names.
    class_names: the name of each label.
    alpha: opacity of the tint, 0 to 1.
    contours, boxes, labels: which lines and texts to add.
    untracked: colour of instances without a track id; None gives each a colour by its index.

    Colours follow the track id, so that an object keeps its colour. Higher scores lie on top.
    Raises ValueError if the sizes disagree.
    """
    if image.shape != (*instances.image_size, 3):
        raise ValueError(
            f"The image has shape {image.shape}, the instances are of size {instances.image_size}."
        )
    canvas: NDArray[np.uint8] = image.copy()
    style = _Style.of_image(image)
    colours = [
        (untracked or colour(index)) if track_id == UNTRACKED else colour(int(track_id))
        for index, track_id in enumerate(instances.track_ids)
    ]
    for index in reversed(range(len(instances))):
        x, y, bitmap = instances.mask_crops[index]
        mask = bitmap.view(np.uint8)
        _tint(canvas[y : y + mask.shape[0], x : x + mask.shape[1]], mask, colours[index], alpha)
        if contours and mask.size:
            # CCOMP finds the borders of holes too.
            outlines, _ = cv2.findContours(
                mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
            )
            # Not antialiased: that would cost more than the rest of the picture.
            cv2.drawContours(canvas, outlines, -1, colours[index], style.line)
        if boxes:
            x0, y0, x1, y1 = (round(float(edge)) for edge in instances.boxes[index])
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colours[index], style.line)
    if labels:
        _draw_labels(canvas, instances, class_names, colours, style)
    return canvas


def draw_trail(
    image: NDArray[np.uint8], points: Sequence[tuple[float, float]], tone: Colour
) -> None:
    """Draw a trail over these (x, y), oldest first, that grows bolder, into the BGR image."""
    line = _Style.of_image(image).line
    places = [(round(x), round(y)) for x, y in points]
    for index, (start, end) in enumerate(pairwise(places)):
        width = max(1, round(2 * line * (index + 1) / len(places)))
        cv2.line(image, start, end, tone, width, cv2.LINE_AA)


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    columns: int,
    *,
    cell_width: int = 480,
    gap: int = 6,
) -> NDArray[np.uint8]:
    """Arrange (H, W, 3) uint8 BGR images row by row on one page, an (H', W', 3) uint8 array.

    Cells are `cell_width` pixels wide; the first image's shape gives their height, and images of
    another shape are fitted in without distortion. Raises ValueError without an image or a column.
    """
    if not images or columns < 1:
        raise ValueError(f"A sheet needs an image and a column, got {len(images)} and {columns}.")
    first_height, first_width = images[0].shape[:2]
    cell_height = max(1, round(cell_width * first_height / first_width))
    rows = -(-len(images) // columns)
    sheet = np.full(
        (rows * (cell_height + gap) + gap, columns * (cell_width + gap) + gap, 3), 32, np.uint8
    )
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        height, width = image.shape[:2]
        scale = min(cell_width / width, cell_height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        top = gap + row * (cell_height + gap) + (cell_height - size[1]) // 2
        left = gap + column * (cell_width + gap) + (cell_width - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    return sheet


class _Style(NamedTuple):
    """Line width in pixels and Hershey font scale."""

    line: int
    font: float

    @classmethod
    def of_image(cls, image: NDArray[np.uint8]) -> _Style:
        scale = min(image.shape[:2]) / _REFERENCE_SIDE
        return cls(
            line=max(1, round(_REFERENCE_LINE * scale)),
            font=max(_SMALLEST_FONT, _REFERENCE_FONT * scale),
        )


def _tint(region: NDArray[np.uint8], mask: NDArray[np.uint8], tone: Colour, alpha: float) -> None:
    """Blend `tone` into `region` (h, w, 3) where `mask` (h, w) is set, in place."""
    if mask.size == 0:
        return
    # Blending with one colour depends on the old value alone, so a table does it.
    values = (
        np.arange(256, dtype=np.float32)[:, None] * (1 - alpha) + np.array(tone, np.float32) * alpha
    )
    table = np.rint(values).astype(np.uint8).reshape(1, 256, 3)
    cv2.copyTo(cv2.LUT(region, table), mask, region)


def _draw_labels(
    canvas: NDArray[np.uint8],
    instances: Instances,
    class_names: Sequence[str],
    colours: Sequence[Colour],
    style: _Style,
) -> None:
    """Write class, track id and score of each instance; higher scores choose their place first.

    If no place is free, the higher score lies on top.
    """
    thickness = max(1, round(style.font * 1.6))
    pad = max(2, round(style.font * 6))
    texts: list[str] = []
    places: list[Rectangle] = []
    for index in range(len(instances)):
        text = class_names[int(instances.labels[index])]
        if instances.track_ids[index] != UNTRACKED:
            text += f" #{instances.track_ids[index]}"
        text += f" {instances.scores[index]:.2f}"
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, style.font, thickness)
        w, h = text_width + 2 * pad, text_height + 2 * pad
        x, y = _place(w, h, instances.boxes[index], instances.image_size, places)
        texts.append(text)
        places.append((x, y, w, h))
    for index in reversed(range(len(instances))):
        x, y, w, h = places[index]
        cv2.rectangle(canvas, (x, y), (x + w - 1, y + h - 1), colours[index], cv2.FILLED)
        blue, green, red = colours[index]
        ink = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else (255, 255, 255)
        baseline = (x + pad, y + h - pad)
        cv2.putText(canvas, texts[index], baseline, _FONT, style.font, ink, thickness, cv2.LINE_AA)


def _place(
    w: int,
    h: int,
    box: NDArray[np.float32],
    image_size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> tuple[int, int]:
    """Return a (w, h) text's top left corner: above the box, else at its highest free place."""
    height, width = image_size
    x0, y0, _, y1 = (int(edge) for edge in box)
    x = min(max(x0, 0), max(width - w, 0))
    lowest = max(height - h, 0)
    wished = [y0 - h, y0, *range(y0 + h, y1 - h, h)]
    possible = [y for y in wished if 0 <= y <= lowest] or [min(max(y0, 0), lowest)]
    free = (y for y in possible if not any(_overlap((x, y, w, h), other) for other in taken))
    return x, next(free, possible[0])


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    """Return whether two rectangles share a pixel."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]

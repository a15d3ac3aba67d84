"""What a model misses and what it invents, picked out and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.coco import read_annotated_image
from sipmask_core.data.shapes import region
from sipmask_core.drawing import contact_sheet
from sipmask_core.evaluation.average_precision import match
from sipmask_core.evaluation.coco import AREA_RANGES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject
    from sipmask_core.data.coco_results import Result
    from sipmask_core.drawing import Colour
    from sipmask_core.evaluation.coco import Evaluation
    from sipmask_core.evaluation.overlaps import ClassComparison

SHOWN = 12  # of each sort
COLUMNS = 6
_CELL = 300  # pixels, width of a cut-out
_CAPTION = 44  # pixels below it
_LETTERS = 34  # of the file name
_HEADER = 40
_MARGIN = 0.35  # of the object's longer side, around it
_SMALLEST_CUT = 64  # pixels of the image
_GREEN, _RED = (90, 220, 60), (60, 60, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Mistake(NamedTuple):
    """An object that no result was matched to, or a result that was matched to no object.

    result and object: the one that is meant, and the one of the same class that overlaps it most,
    None if none does. score: of the result, 0 without one; iou: of the two, 0 if one is missing.
    """

    image: CocoImage
    label: int
    is_miss: bool
    result: Result | None
    object: CocoObject | None
    score: float
    iou: float


def misses(evaluation: Evaluation) -> list[Mistake]:
    """Find the objects, crowds aside, that nothing was matched to at IoU .50; largest first."""
    found = []
    for of_class in evaluation.comparisons:
        taken = set(_taken(of_class))
        nearest = _nearest(of_class.figures.objects, of_class.figures.ious)
        for m, o in enumerate(of_class.objects):
            if m not in taken and not o.is_crowd:
                found.append((o.area, _mistake(of_class, m, nearest.get(m), is_miss=True)))
    return [mistake for _, mistake in sorted(found, key=lambda entry: -entry[0])]


def false_alarms(evaluation: Evaluation) -> list[Mistake]:
    """Find the results matched to nothing, not even a crowd, at IoU .50; the surest first."""
    found = []
    for of_class in evaluation.comparisons:
        nearest = _nearest(of_class.figures.results, of_class.figures.ious)
        for n, m in enumerate(_taken(of_class)):
            if m < 0:
                found.append(_mistake(of_class, n, nearest.get(n), is_miss=False))
    return sorted(found, key=lambda mistake: -mistake.score)


def _taken(of_class: ClassComparison) -> list[int]:
    """Return the object that each result is matched to, or -1."""
    taken: list[int] = match(of_class.figures, AREA_RANGES[:1])[0, 0].tolist()
    return taken


def _nearest(ones: NDArray[np.int64], ious: NDArray[np.float64]) -> dict[int, int]:
    """Return, for each of these results or objects, the first of its pairs with the highest IoU."""
    order = np.lexsort((-np.arange(len(ious)), ious))
    return dict(zip(ones[order].tolist(), order.tolist(), strict=True))


def _mistake(of_class: ClassComparison, meant: int, pair: int | None, *, is_miss: bool) -> Mistake:
    """Describe an object or a result; pair: the overlap in which it has its nearest other."""
    figures = of_class.figures
    other = None if pair is None else int((figures.results if is_miss else figures.objects)[pair])
    n, m = (other, meant) if is_miss else (meant, other)
    return Mistake(
        image=(of_class.object_images if is_miss else of_class.result_images)[meant],
        label=of_class.label,
        is_miss=is_miss,
        result=None if n is None else of_class.results[n],
        object=None if m is None else of_class.objects[m],
        score=0.0 if n is None else float(figures.scores[n]),
        iou=0.0 if pair is None else float(figures.ious[pair]),
    )


def draw_mistakes(
    annotations: CocoAnnotations, image_dir: Path, evaluation: Evaluation
) -> NDArray[np.uint8]:
    """Draw the SHOWN worst misses and SHOWN worst false alarms on one sheet, (H, W, 3) uint8 BGR.

    Each is cut out of its image, the truth outlined in green, the result in red. Raise InputError
    if an image cannot be read.
    """
    rows: list[NDArray[np.uint8]] = []
    for title, order, mistakes in (
        ("objects that were not found", "largest", misses(evaluation)),
        ("false alarms", "surest", false_alarms(evaluation)),
    ):
        shown = mistakes[:SHOWN]
        cells = [_cell(annotations, image_dir, mistake) for mistake in shown]
        sheets = [contact_sheet(cells, COLUMNS, cell_width=_CELL)] if cells else []
        width = sheets[0].shape[1] if sheets else rows[0].shape[1] if rows else COLUMNS * _CELL
        text = f"{len(mistakes)} {title} at IoU .50"
        if shown:
            text += f", the {len(shown)} {order}   (green: truth, red: model)"
        rows += [_header(text, width), *sheets]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), "edge") for row in rows]
    )


def _header(text: str, width: int) -> NDArray[np.uint8]:
    band = np.full((_HEADER, width, 3), 32, np.uint8)
    cv2.putText(band, text, (10, 27), _FONT, 0.65, (255, 255, 255), 1, cv2.LINE_AA)
    return band


def _cell(annotations: CocoAnnotations, image_dir: Path, mistake: Mistake) -> NDArray[np.uint8]:
    """Draw the surroundings of the mistake with both outlines, and two lines of text below."""
    image = read_annotated_image(image_dir, mistake.image)
    truth, result = _truth_mask(mistake), _result_mask(mistake)
    meant = truth if mistake.is_miss else result
    assert meant is not None
    x0, y0, x1, y1 = _surroundings(meant)
    scale = _CELL / max(x1 - x0, y1 - y0)
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))  # w, h
    cut = np.asarray(
        cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_LINEAR), np.uint8
    )
    for mask, tone in ((truth, _GREEN), (result, _RED)):
        if mask is not None:
            _outline(cut, mask[y0:y1, x0:x1], tone)
    cell = np.full((_CELL + _CAPTION, _CELL, 3), 32, np.uint8)
    left, top = (_CELL - size[0]) // 2, (_CELL - size[1]) // 2
    cell[top : top + size[1], left : left + size[0]] = cut
    name = annotations.class_names[mistake.label]
    score = "" if mistake.result is None else f"score {mistake.score:.2f}, "
    caption = (f"{name}, {score}IoU {mistake.iou:.2f}", mistake.image.file_name[-_LETTERS:])
    for line, text in enumerate(caption):
        place = (4, _CELL + 18 + 19 * line)
        cv2.putText(cell, text, place, _FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return cell


def _truth_mask(mistake: Mistake) -> NDArray[np.uint8] | None:
    """Decode the object's mask, (H, W), 0 or 1; None if there is no object."""
    if mistake.object is None:
        return None
    size = (mistake.image.height, mistake.image.width)
    mask: NDArray[np.uint8] = coco_mask.decode(region(mistake.object, size))
    return mask


def _result_mask(mistake: Mistake) -> NDArray[np.uint8] | None:
    """Decode the result's mask or, without one, fill its box: (H, W), 0 or 1; None: no result."""
    if mistake.result is None:
        return None
    if "segmentation" in mistake.result:
        mask: NDArray[np.uint8] = coco_mask.decode(mistake.result["segmentation"])
        return mask
    x, y, w, h = (round(value) for value in mistake.result["bbox"])
    mask = np.zeros((mistake.image.height, mistake.image.width), np.uint8)
    mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 1
    return mask


def _surroundings(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return x0 y0 x1 y1 of what to cut out, within the image; a mask may be empty."""
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask)
    side = max(w, h, _SMALLEST_CUT) * (1 + 2 * _MARGIN)
    centre_x, centre_y = x + w / 2, y + h / 2
    return (
        max(0, int(centre_x - side / 2)),
        max(0, int(centre_y - side / 2)),
        min(width, int(centre_x + side / 2) + 1),
        min(height, int(centre_y + side / 2) + 1),
    )


def _outline(image: NDArray[np.uint8], mask: NDArray[np.uint8], tone: Colour) -> None:
    """Draw the mask's border into the image of another size, on a dark rim."""
    scaled = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(scaled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, lines, -1, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.drawContours(image, lines, -1, tone, 2, cv2.LINE_AA)

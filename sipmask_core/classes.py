"""COCO's 80 classes, and the category ids that result files carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COCO_CLASSES = tuple(
    """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,
    stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,
    backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,
    baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,
    banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,
    potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,
    oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,
    toothbrush""".replace("\n    ", "").split(",")
)

# COCO numbers its categories from 1 to 90 and leaves these out.
_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COCO_IDS = dict(zip(COCO_CLASSES, sorted({*range(1, 91)} - _UNUSED_IDS), strict=True))


def category_ids(class_names: Sequence[str]) -> list[int]:
    """A category id for each class: COCO's own where all of them are COCO's, else 1, 2, 3, ..."""
    if all(name in _COCO_IDS for name in class_names):
        return [_COCO_IDS[name] for name in class_names]
    return list(range(1, len(class_names) + 1))

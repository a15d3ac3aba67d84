"""The classes of COCO and YouTube-VIS, and the category ids that result files carry."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.data.youtube_vis import VideoAnnotations


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


COCO_CLASSES = _names(
    """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,
    fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,
    bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,
    sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,
    bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,
    broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,
    dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,
    toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,
    toothbrush"""
)

# In the order of their category ids, 1 to 40.
YOUTUBE_VIS_2019_CLASSES = _names(
    """person,giant_panda,lizard,parrot,skateboard,sedan,ape,dog,snake,monkey,hand,
    rabbit,duck,cat,cow,fish,train,horse,turtle,bear,motorbike,giraffe,leopard,fox,
    deer,owl,surfboard,airplane,truck,zebra,tiger,elephant,snowboard,boat,shark,
    mouse,frog,eagle,earless_seal,tennis_racket"""
)

# COCO numbers its categories from 1 to 90 and leaves these out.
_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COCO_IDS = dict(zip(COCO_CLASSES, sorted({*range(1, 91)} - _UNUSED_IDS), strict=True))


def category_ids(class_names: Sequence[str]) -> list[int]:
    """Return a category id for each class: COCO's if all classes are COCO's, else 1, 2, 3, ..."""
    if all(name in _COCO_IDS for name in class_names):
        return [_COCO_IDS[name] for name in class_names]
    return list(range(1, len(class_names) + 1))


def names_by_id(class_names: Sequence[str], ids: Sequence[int]) -> dict[Any, str]:
    """Return class names by category id; if all of these are as in COCO, all 80 of COCO."""
    given = dict(zip(ids, class_names, strict=True))
    is_coco = all(_COCO_IDS.get(name) == category_id for category_id, name in given.items())
    return {number: name for name, number in _COCO_IDS.items()} if is_coco else given


def matching_names(wanted: Sequence[str], given: Sequence[str]) -> list[str | None]:
    """Return for each wanted name the given one that is the same, or None.

    If there is none, one counts that differs in case, blanks, "_" and "-" only, unless several do.
    """
    exact = set(given)
    alike: dict[str, list[str]] = {}
    for name in given:
        alike.setdefault(_folded(name), []).append(name)
    unique = {folded: names[0] for folded, names in alike.items() if len(names) == 1}
    rivals = Counter(map(_folded, wanted))
    return [
        name if name in exact else unique.get(_folded(name)) if rivals[_folded(name)] == 1 else None
        for name in wanted
    ]


def _folded(name: str) -> str:
    return " ".join(re.sub("[_-]", " ", name).casefold().split())


def corresponding_ids(
    class_names: Sequence[str], annotations: CocoAnnotations | VideoAnnotations
) -> list[int | None]:
    """Return for each class the id of the annotations' category of that name, or None.

    Names correspond as `matching_names` says. Raises InputError if no class has one.
    """
    by_name = dict(zip(annotations.class_names, annotations.category_ids, strict=True))
    names = matching_names(class_names, annotations.class_names)
    if all(name is None for name in names):
        raise InputError(
            f"{annotations.path} has none of the model's classes: it has"
            f" {_quoted(annotations.class_names)}, the model knows {_quoted(class_names)}."
        )
    return [None if name is None else by_name[name] for name in names]


def _quoted(names: Sequence[str]) -> str:
    """Return the first names in quotation marks, so that blanks at their ends show."""
    return ", ".join(map(repr, names[:5])) + ", ..." * (len(names) > 5)

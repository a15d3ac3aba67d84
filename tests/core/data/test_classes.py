"""Class names and the category ids of result files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmask_core.data.classes import (
    COCO_CLASSES,
    YOUTUBE_VIS_2019_CLASSES,
    category_ids,
    corresponding_ids,
)
from sipmask_core.data.coco import CocoAnnotations
from sipmask_core.errors import InputError


def test_cocos_classes_have_cocos_gapped_ids() -> None:
    ids = dict(zip(COCO_CLASSES, category_ids(COCO_CLASSES), strict=True))
    assert len(ids) == 80
    known = {"person": 1, "stop sign": 13, "backpack": 27, "tv": 72, "toothbrush": 90}
    assert {name: ids[name] for name in known} == known
    assert category_ids(["toothbrush", "person"]) == [90, 1]


def test_other_classes_are_counted_from_one() -> None:
    assert category_ids(["person", "forklift"]) == [1, 2]


def test_youtube_viss_classes_have_its_ids() -> None:
    assert len(set(YOUTUBE_VIS_2019_CLASSES)) == 40
    assert category_ids(YOUTUBE_VIS_2019_CLASSES) == list(range(1, 41))
    assert YOUTUBE_VIS_2019_CLASSES[0] == "person"
    assert YOUTUBE_VIS_2019_CLASSES[39] == "tennis_racket"


def test_classes_correspond_to_categories_by_name() -> None:
    annotations = CocoAnnotations(Path("a.json"), "", "", ("cat", "dog"), (17, 18), ())
    assert corresponding_ids(["dog", "unicorn"], annotations) == [18, None]
    with pytest.raises(InputError, match=r"a\.json has none of the .* it has 'cat', 'dog', the"):
        corresponding_ids(["unicorn"], annotations)

"""Class names and the category ids of result files."""

from __future__ import annotations

from sipmask_core.classes import COCO_CLASSES, category_ids


def test_cocos_classes_have_cocos_gapped_ids() -> None:
    ids = dict(zip(COCO_CLASSES, category_ids(COCO_CLASSES), strict=True))
    assert len(ids) == 80
    known = {"person": 1, "stop sign": 13, "backpack": 27, "tv": 72, "toothbrush": 90}
    assert {name: ids[name] for name in known} == known
    assert category_ids(["toothbrush", "person"]) == [90, 1]


def test_other_classes_are_counted_from_one() -> None:
    assert category_ids(["person", "forklift"]) == [1, 2]

"""Presets: their names, and that a checkpoint can carry the whole record."""

from __future__ import annotations

import dataclasses
import json

import pytest
from coco_squares import AS_PUBLISHED

import sipmask_core as sm
from sipmask_core.model.presets import (
    KeepRatio,
    Letterbox,
    Stretch,
    override,
    preset_from_json,
    preset_to_json,
    with_longest_side,
)


def test_the_official_configurations_are_presets() -> None:
    official = [name for name in sm.preset_names() if sm.get_preset(name).inclusive_boxes]
    assert len(official) == 13
    assert "sipmask++_r101_caffe_fpn_ssd_gn_10x" in official
    assert "vis_sipmask_r50_caffe_fpn_gn_ms_1x" in official


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(sm.InputError, match=r"no preset 'yolo'.*sipmask_r50_caffe_fpn_gn_1x"):
        sm.get_preset("yolo")


@pytest.mark.parametrize("name", sm.preset_names())
def test_a_preset_survives_json(name: str) -> None:
    preset = sm.get_preset(name)
    assert preset_from_json(preset_to_json(preset), "a test") == preset


@pytest.mark.parametrize(
    "change",
    [
        {"resize_rule": "__import__"},
        {"resize_rule": None},
        {"unknown": 1},
        {"resize": {}},
        {"sub_regions": 9},
        {"channels": 40},
        {"backbone": "resnet34"},
        {"nms": "soft"},
        {"box_loss": "l1"},
        {"iou_unit": "mile"},
        {"batch_norm_eps": -1e-5},
        {"embedding_channels": -1},
        {"track_convs": -1},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(change: dict) -> None:
    record = json.loads(preset_to_json(sm.get_preset("sipmask_r18_lite")))
    with pytest.raises(sm.InputError, match=r"'model\.safetensors' cannot be read"):
        preset_from_json(json.dumps({**record, **change}), "model.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "3", "{"])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(sm.InputError, match="cannot be read"):
        preset_from_json(text, "x")


def test_overriding_fields_changes_them_and_the_name() -> None:
    lite = sm.get_preset("sipmask_r18_lite")
    changed = override(lite, ["sub_regions=3", "mask_weighting=false", "nms=fast", "std=[1, 2, 3]"])
    assert (changed.sub_regions, changed.mask_weighting, changed.nms) == (3, False, "fast")
    assert changed.std == (1, 2, 3)
    assert changed.name.startswith("sipmask_r18_lite+sub_regions=3+")
    assert override(lite, []) is lite


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (Letterbox(320, 320), Letterbox(256, 256)),
        (KeepRatio(384, 384), KeepRatio(256, 256)),
        (Letterbox(320, 640), Letterbox(320, 640)),
        (KeepRatio(1333, 800), KeepRatio(1333, 800)),
        (Stretch(544, 544), Stretch(544, 544)),
    ],
)
def test_a_preset_whose_rule_knows_one_side_alone_can_have_another(rule, changed) -> None:
    preset = dataclasses.replace(sm.get_preset("sipmask_r18_lite"), resize=rule)
    assert with_longest_side(preset, 256).resize == changed


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("cells=3", "'cells=3' changes no field"),
        ("sub_regions", "sub_regions is like 2"),
        ("sub_regions=2.5", "sub_regions is like 2"),
        ("sub_regions=9", "between 1 and 5"),
        ("feature_alignment=off", "feature_alignment is like true"),
        ("resize=3", "changes no field"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(setting: str, reason: str) -> None:
    with pytest.raises(sm.InputError, match=reason):
        override(sm.get_preset("sipmask_r18_lite"), [setting])


@pytest.mark.parametrize(("said", "conventions"), [(True, AS_PUBLISHED), (False, None)])
def test_a_record_from_before_each_convention_had_a_field_still_loads(said, conventions):
    own = sm.get_preset("sipmask_r18_lite")
    record = json.loads(preset_to_json(own))
    for name in AS_PUBLISHED:
        del record[name]
    loaded = preset_from_json(json.dumps({**record, "authors": said}), "old.safetensors")
    assert loaded == (own if conventions is None else dataclasses.replace(own, **conventions))

"""The predictor's fast masks equal those of the plain way, for every kind of preset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic_outputs import synthetic_outputs

import sipmask_core as sm
from sipmask_core.benchmark.plain import plain_postprocess, plain_rle
from sipmask_core.model.presets import KeepRatio

KINDS = (
    "sipmask_r18_lite",
    "sipmask_r50_caffe_fpn_gn_1x",
    "sipmask++_r101_caffe_fpn_ssd_6x",
    "benchmark_sipmask_R_50_FPN_1x",
    "vis_sipmask_r50_caffe_fpn_gn_1x",
)


def _predictor(name: str) -> sm.Predictor:
    """Return a predictor of which only the post-processing counts: network and input are small."""
    preset = sm.get_preset(name)
    if isinstance(preset.resize, KeepRatio):
        preset = replace(preset, resize=replace(preset.resize, long=333, short=200))
    preset = replace(preset, backbone="resnet18", channels=32, deformable=False)
    torch.manual_seed(0)
    model = sm.build_model(preset, num_classes=3)
    return sm.Predictor(model, device="cpu", precision="fp32")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(240, 426), (150, 97)])
def test_the_predictor_equals_the_plain_way(name: str, size: tuple[int, int]) -> None:
    predictor = _predictor(name)
    outputs, prepared = synthetic_outputs(predictor.preset, size)
    fast = predictor.postprocess(outputs, prepared, size)
    plain = plain_postprocess(
        outputs, prepared, size, predictor.preset, rate_masks=predictor.rate_masks
    )
    assert len(fast) == len(plain) >= 10
    assert np.array_equal(fast.boxes, plain.boxes)
    assert np.array_equal(fast.labels, plain.labels)
    np.testing.assert_allclose(fast.mask_scores, plain.mask_scores, rtol=1e-5)
    assert np.array_equal(fast.embeddings, plain.embeddings)
    common, either = fast.masks & plain.masks, fast.masks | plain.masks
    assert (common.sum((1, 2)) >= 0.999 * either.sum((1, 2))).all()
    assert common.any()


def test_both_ways_give_the_same_run_lengths() -> None:
    predictor = _predictor("sipmask_r18_lite")
    outputs, prepared = synthetic_outputs(predictor.preset, (120, 160))
    fast = predictor.postprocess(outputs, prepared, (120, 160))
    assert fast.to_rle() == plain_rle(fast)


def test_an_empty_scene_is_empty_in_both_ways() -> None:
    preset = sm.get_preset("sipmask_r18_lite")
    outputs, prepared = synthetic_outputs(preset, (48, 64), objects=0)
    assert len(plain_postprocess(outputs, prepared, (48, 64), preset, 0.99)) == 0

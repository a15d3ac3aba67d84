"""A network whose outputs are not finite is an error of that image, never an empty result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from synthetic_outputs import synthetic_outputs

import sipmask_core as sm
from sipmask_core.benchmark.plain import plain_postprocess
from sipmask_core.model.presets import KeepRatio
from sipmask_core.runtime.devices import require_finite

if TYPE_CHECKING:
    from pathlib import Path

    from sipmask_core.model.outputs import HeadOutputs

pytestmark = pytest.mark.slow

KINDS = (
    "sipmask_r18_lite",
    "sipmask_r50_caffe_fpn_gn_1x",
    "benchmark_sipmask_R_50_FPN_1x",
    "vis_sipmask_r50_caffe_fpn_gn_1x",
)
DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.cuda))


def _predictor(name: str, device: str = "cpu") -> sm.Predictor:
    """Return a predictor of which only the post-processing counts: network and input are small."""
    preset = sm.get_preset(name)
    if isinstance(preset.resize, KeepRatio):
        preset = replace(preset, resize=replace(preset.resize, long=333, short=200))
    preset = replace(preset, backbone="resnet18", channels=32, deformable=False)
    return sm.Predictor(sm.build_model(preset, num_classes=3), device=device, precision="fp32")


def _poisoned(outputs: HeadOutputs, field: str) -> HeadOutputs:
    values = getattr(outputs, field)
    for tensor in values if isinstance(values, list) else [values]:
        tensor.fill_(torch.nan)
    return outputs


def _on(outputs: HeadOutputs, device: str) -> HeadOutputs:
    lists = [[x.to(device) for x in field] for field in outputs[:4]]
    track = outputs.track_features
    return outputs._replace(
        **dict(zip(outputs._fields, lists, strict=False)),
        basis=outputs.basis.to(device),
        track_features=None if track is None else track.to(device),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "field",
    ["class_logits", "distances", "centerness", "coefficients", "basis", "track_features"],
)
def test_nan_in_any_output_is_seen_in_both_forms(name: str, field: str, device: str) -> None:
    predictor = _predictor(name, device)
    outputs, prepared = synthetic_outputs(predictor.preset, (96, 128))
    if getattr(outputs, field) is None:
        assert not predictor.preset.embedding_channels
        return
    outputs = _on(_poisoned(outputs, field), device)
    with pytest.raises(FloatingPointError):
        predictor.postprocess(outputs, prepared, (96, 128))
    with pytest.raises(FloatingPointError):
        plain_postprocess(outputs, prepared, (96, 128), predictor.preset)


def test_one_nan_among_the_candidates_is_enough() -> None:
    predictor = _predictor("sipmask_r18_lite")
    outputs, prepared = synthetic_outputs(predictor.preset, (96, 128))
    outputs.class_logits[1][0, 0, 2, 3] = torch.nan
    with pytest.raises(FloatingPointError):
        predictor.postprocess(outputs, prepared, (96, 128))


def test_an_overflow_inside_the_network_fails_one_image_and_not_the_next() -> None:
    model = sm.build_model(replace(sm.get_preset("sipmask_r18_lite"), channels=32), num_classes=2)
    predictor = sm.Predictor(model, device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    expected = predictor(image)
    weight = predictor.model.backbone.layer2[0].conv1.weight
    whole = weight.clone()
    weight.mul_(1e38)
    with pytest.raises(sm.PredictionError) as error:
        predictor(image)
    assert str(error.value) == (
        "The network's outputs for an image of 90x60 pixels are not finite on cpu with "
        "sipmask_r18_lite in fp32; the weights may be damaged, or their training has diverged."
    )
    weight.copy_(whole)
    assert np.array_equal(predictor(image).scores, expected.scores)


def test_half_precision_is_named_as_the_likely_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = _predictor("sipmask_r18_lite")
    predictor.precision = "fp16"  # which only a GPU has
    outputs, _ = synthetic_outputs(predictor.preset, (96, 128))
    monkeypatch.setattr(predictor, "forward", lambda _: _poisoned(outputs, "centerness"))
    with pytest.raises(sm.PredictionError, match="too large for fp16: choose precision fp32"):
        predictor(np.zeros((96, 128, 3), np.uint8))


def test_an_onnx_file_with_nan_weights_is_named(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from onnx_files import onnx_file

    path = onnx_file(tmp_path / "m.onnx")
    model = onnx.load(path)
    for weights in model.graph.initializer:
        array = np.full_like(onnx.numpy_helper.to_array(weights), np.nan)
        weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    onnx.save(model, path)
    predictor = sm.Predictor.from_file(path, device="cpu")
    with pytest.raises(sm.PredictionError, match=r"not finite .*weights may be damaged"):
        predictor(np.full((60, 90, 3), 200, np.uint8))


def test_infinity_is_no_number_either() -> None:
    require_finite(np.zeros((0, 4), np.float32), np.ones(3, np.float32))
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(FloatingPointError):
            require_finite(np.ones(3, np.float32), np.array([1, value], np.float32))

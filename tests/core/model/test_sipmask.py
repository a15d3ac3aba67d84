"""The network's structure: the authors' key names, shapes and frozen parts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from official import golden_files

import sipmask_core as sm
from sipmask_core.model.presets import NETWORK_FIELDS, override

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("file", golden_files("keys", "sipmask", "vis"))
def test_keys_shapes_and_frozen_parameters_are_the_authors(file: Path) -> None:
    record = json.loads(file.read_text())
    with torch.device("meta"):
        model = sm.build_model(record["config"])
    state, parameters = model.state_dict(), dict(model.named_parameters())
    assert set(state) == {entry["key"] for entry in record["keys"]}
    for entry in record["keys"]:
        key = entry["key"]
        assert list(state[key].shape) == entry["shape"], key
        assert str(state[key].dtype) == f"torch.{entry['dtype']}", key
        assert (key in parameters) == (entry["kind"] == "param"), key
        if key in parameters:
            assert parameters[key].requires_grad == entry["requires_grad"], key
    assert sum(p.numel() for p in model.parameters()) == record["num_params"]


@pytest.mark.parametrize("sub_regions", [1, 2, 3, 4, 5])
def test_each_sub_region_has_its_own_coefficients(sub_regions: int) -> None:
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=32, sub_regions=sub_regions)
    model = sm.build_model(preset, num_classes=3)
    with torch.inference_mode():
        outputs = model(torch.randn(2, 3, 64, 96))
    assert outputs.coefficients[0].shape == (2, sub_regions**2 * 32, 8, 12)
    assert outputs.class_logits[0].shape == (2, 3, 8, 12)
    assert outputs.basis.shape == (2, 32, 32, 48)
    assert (outputs.basis >= 0).all()


def test_sub_regions_out_of_range_are_refused() -> None:
    with pytest.raises(sm.InputError, match="sub_regions is 6"):
        replace(sm.get_preset("sipmask_r18_lite"), sub_regions=6)


def test_frozen_parts_stay_frozen_in_training_mode() -> None:
    model = sm.build_model("sipmask_r18_lite", num_classes=1).train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    model(torch.randn(1, 3, 64, 64))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


def test_folding_batch_norm_does_not_change_the_features() -> None:
    torch.manual_seed(0)
    backbone = sm.build_model("sipmask_r18_lite", num_classes=1).backbone
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = backbone(image)
        backbone.fold_batch_norm()
        actual = backbone(image)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in backbone.modules())
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def _small(**changes: object) -> sm.SipMask:
    small = {"backbone": "resnet18", "stage_widths": (64, 32, 32, 32), "channels": 32}
    preset = replace(sm.get_preset("benchmark_sipmask_R_50_FPN_1x"), **{**small, **changes})
    return sm.build_model(preset, num_classes=2)


def test_a_model_of_another_preset_is_a_copy_and_its_network_stays_what_it_was() -> None:
    model = _small().train()
    wary = replace(model.preset, score_threshold=0.5)
    copied = model.with_preset(wary)
    assert copied.preset == wary and copied.training
    assert model.preset.score_threshold != 0.5
    with torch.no_grad():
        next(copied.parameters()).zero_()
    assert next(model.parameters()).any()
    with pytest.raises(sm.InputError, match="num_bases is 16, but the network was built with 32"):
        model.with_preset(replace(model.preset, num_bases=16))


def test_presets_that_share_the_fields_of_the_network_share_their_networks() -> None:
    networks: dict[tuple[object, ...], dict[str, torch.Size]] = {}
    for name in sm.preset_names():
        preset = sm.get_preset(name)
        with torch.device("meta"):
            state = sm.build_model(preset, num_classes=2).state_dict()
        shapes = {key: value.shape for key, value in state.items()}
        built_from = tuple(getattr(preset, field) for field in NETWORK_FIELDS)
        assert networks.setdefault(built_from, shapes) == shapes, name


def test_rectified_distances_are_never_negative() -> None:
    image = torch.randn(1, 3, 192, 192)
    for rectified in (True, False):
        torch.manual_seed(0)
        with torch.inference_mode():
            distances = _small(rectified_distances=rectified)(image).distances[0]
        assert (distances.min() < 0) == (not rectified)


def test_convolutions_can_keep_their_biases_before_a_norm() -> None:
    for kept in (True, False):
        head = _small(bias_with_norm=kept).bbox_head
        assert (head.cls_convs[0].conv.bias is not None) == kept
        assert (head.feat_align.conv_adaption.bias is not None) == kept
        assert head.cls_convs[0].gn is not None


def test_the_bias_of_feature_alignment_shifts_its_result() -> None:
    align = _small().bbox_head.feat_align
    align.normalise = False
    x, distances = torch.rand(1, 32, 5, 6), torch.ones(1, 4, 5, 6)
    with torch.inference_mode():
        align.conv_adaption.weight.abs_()
        align.conv_adaption.bias.zero_()
        plain = align(x, distances)
        align.conv_adaption.bias.fill_(0.5)
        torch.testing.assert_close(align(x, distances), plain + 0.5)


def test_batch_norm_without_epsilon_divides_by_the_bare_deviation() -> None:
    norm = _small().backbone.bn1
    norm.running_var.fill_(1e-4)
    x = torch.rand(1, 64, 2, 2)
    torch.testing.assert_close(norm(x), x * 100)


def test_class_names_default_to_cocos() -> None:
    with torch.device("meta"):
        assert sm.build_model("sipmask_r18_lite").class_names[:2] == ("person", "bicycle")
        assert sm.build_model("sipmask_r18_lite", 2).class_names == ("class 0", "class 1")


def test_class_names_of_video_presets_default_to_youtube_viss() -> None:
    with torch.device("meta"):
        names = sm.build_model("vis_sipmask_r50_caffe_fpn_gn_1x").class_names
    assert len(names) == 40
    assert names[:3] == ("person", "giant_panda", "lizard")


def test_the_track_branch_has_as_many_convolutions_as_the_preset_says() -> None:
    for convs in (0, 1, 2):
        preset = replace(sm.get_preset("vis_sipmask_r18_lite"), channels=32, track_convs=convs)
        model = sm.build_model(preset, num_classes=1)
        assert len(model.bbox_head.track_convs) == convs
        with torch.no_grad():
            features = model.track_features(torch.zeros(1, 3, 96, 96))
        assert features.shape == (1, 64, 12, 12)


def test_the_track_branch_is_there_where_the_preset_asks_for_it() -> None:
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=32, embedding_channels=16)
    model = sm.build_model(preset, num_classes=3)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        features = model(images).track_features
        assert features is not None
        assert features.shape == (2, 16, 8, 12)
        torch.testing.assert_close(model.track_features(images), features)
        without = sm.build_model(replace(preset, embedding_channels=0), num_classes=3)
        assert without(images).track_features is None


def test_class_names_and_number_must_agree() -> None:
    with pytest.raises(sm.InputError, match="num_classes is 3, but 1 names"):
        sm.build_model("sipmask_r18_lite", 3, ["person"])
    with pytest.raises(sm.InputError, match="num_classes is 0"):
        sm.build_model("sipmask_r18_lite", 0)


def test_without_alignment_the_class_branch_ignores_the_boxes() -> None:
    torch.manual_seed(0)
    model = sm.build_model(
        override(sm.get_preset("sipmask_r18_lite"), ["feature_alignment=false"]), num_classes=1
    )
    assert not any("conv_offset" in key for key in model.state_dict())
    image = torch.randn(1, 3, 96, 96)
    before = model(image)
    with torch.no_grad():
        model.bbox_head.fcos_reg.weight.mul_(50)
    after = model(image)
    assert not torch.equal(before.distances[0], after.distances[0])
    assert torch.equal(before.class_logits[0], after.class_logits[0])
    for precision in ("fp32", "bf16"):
        sm.Predictor(model, device="cpu", precision=precision)(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_coordinates_are_computed_in_float32_even_under_autocast(device: str) -> None:
    """Check that boxes and offsets are those of float32 for the same features."""
    torch.manual_seed(0)
    model = sm.build_model("sipmask_r18_lite", num_classes=1).to(device)
    head = model.bbox_head
    calls: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor]] = []
    for convolution in (head.fcos_reg, head.feat_align.conv_offset):
        convolution.register_forward_hook(lambda *call: calls.append((call[0], *call[1], call[2])))
    with torch.autocast(device, torch.bfloat16), torch.no_grad():
        outputs = model(torch.randn(1, 3, 64, 64, device=device))
    assert outputs.coefficients[0].dtype == torch.bfloat16
    assert outputs.distances[0].dtype == torch.float32
    assert len(calls) == 10
    for convolution, x, found in list(calls):
        assert x.dtype == found.dtype == torch.float32
        expected = F.conv2d(x, convolution.weight, convolution.bias, padding=convolution.padding)
        assert torch.equal(found, expected)


def test_a_fresh_detail_branch_changes_nothing_and_learns_from_stride_four() -> None:
    preset = replace(
        sm.get_preset("sipmask_r18_lite"), stage_widths=(16, 16, 16, 16), channels=64, num_bases=4
    )
    torch.manual_seed(0)
    plain = sm.build_model(preset, num_classes=2)
    detailed = sm.build_model(replace(preset, detail_channels=8), num_classes=2)
    missing, _ = detailed.load_state_dict(plain.state_dict(), strict=False)
    assert {key.split(".")[1] for key in missing} == {"detail_conv", "detail_basis"}
    maps = []
    detailed.bbox_head.sip_mask_lat.register_forward_hook(lambda *call: maps.append(call[2]))
    image = torch.randn(1, 3, 64, 96)
    before, after = plain(image), detailed(image)
    assert after.basis.shape == before.basis.shape == (1, 4, 32, 48)
    expected = F.relu(maps[0])
    for _ in range(2):
        expected = F.interpolate(expected, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(after.basis, expected)
    assert torch.equal(after.coefficients[0], before.coefficients[0])
    after.basis.sum().backward()
    assert detailed.bbox_head.detail_basis.weight.grad.any()

"""Checkpoints: what loads, what is refused, and what the refusal says."""

from __future__ import annotations

import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import sipmask_core as sm
from sipmask_core.model import checkpoint_files
from sipmask_core.model.checkpoints import checkpoint_preset, transfer_weights
from sipmask_core.model.maskrcnn_benchmark_keys import to_benchmark_key
from sipmask_core.model.presets import preset_to_json

pytestmark = pytest.mark.slow

OFFICIAL_NAME = "sipmask_r50_caffe_fpn_ssd_6x"
BENCHMARK_NAME = "benchmark_sipmask_R_50_FPN_1x"


def _small(num_classes: int = 2) -> sm.SipMask:
    preset = replace(sm.get_preset("sipmask_r18_lite"), stage_widths=(64, 32, 32, 32), channels=32)
    return sm.build_model(preset, class_names=[f"thing {i}" for i in range(num_classes)])


def _same_weights(a: sm.SipMask, b: sm.SipMask) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


def _mmdetection_file(path: Path, state: dict[str, torch.Tensor], **extra: object) -> Path:
    meta = {"epoch": 12, "iter": 87960, "mmdet_version": "1.0rc1", "CLASSES": ("person", "dog")}
    torch.save({"meta": meta, "state_dict": state, **extra}, path)
    return path


def _benchmark_state(model: sm.SipMask) -> dict[str, torch.Tensor]:
    """Return the model's weights as the authors' maskrcnn-benchmark code names and shapes them."""
    return {
        to_benchmark_key(key): value.view(1) if key.endswith(".scale") else value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def test_our_own_file_rebuilds_the_model(tmp_path: Path) -> None:
    model = _small()
    sm.save_checkpoint(model, tmp_path / "m.safetensors", {"data": "made up"})
    loaded = sm.load_model(tmp_path / "m.safetensors")
    assert loaded.preset == model.preset
    assert loaded.class_names == ("thing 0", "thing 1")
    assert not loaded.training
    assert _same_weights(loaded, model)
    assert sm.load_checkpoint(_small(), tmp_path / "m.safetensors")["data"] == "made up"


def test_half_precision_storage_halves_the_file(tmp_path: Path) -> None:
    model = _small()
    sm.save_checkpoint(model, tmp_path / "full.safetensors")
    sm.save_checkpoint(model, tmp_path / "half.safetensors", dtype=torch.float16)
    full, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half"))
    assert half < 0.6 * full
    weight = sm.load_model(tmp_path / "half.safetensors").neck.fpn_convs[0].conv.weight
    assert weight.dtype == torch.float32


def test_the_authors_layout_loads_with_its_class_names(tmp_path: Path) -> None:
    model = sm.build_model(OFFICIAL_NAME, num_classes=2)
    file = _mmdetection_file(tmp_path / "epoch_12.pth", model.state_dict(), optimizer={"state": {}})
    other = sm.build_model(OFFICIAL_NAME, num_classes=2)
    metadata = sm.load_checkpoint(other, file)
    assert _same_weights(other, model)
    assert other.class_names == ("person", "dog")
    assert metadata["epoch"] == "12"


def test_prefixes_and_old_offset_names_are_understood(tmp_path: Path) -> None:
    model = sm.build_model("sipmask++_r101_caffe_fpn_ssd_6x", num_classes=2)
    state = {
        "module." + key.replace("conv2.conv_offset.", "conv2_offset."): value
        for key, value in model.state_dict().items()
    }
    assert any("conv2_offset" in key for key in state)
    file = _mmdetection_file(tmp_path / "old.pth", state)
    other = sm.build_model("sipmask++_r101_caffe_fpn_ssd_6x", num_classes=2)
    sm.load_checkpoint(other, file)
    assert _same_weights(other, model)


def test_a_file_of_maskrcnn_benchmark_loads_and_converts(tmp_path: Path) -> None:
    model = sm.build_model(BENCHMARK_NAME, num_classes=2)
    state = {f"module.{key}": value for key, value in _benchmark_state(model).items()}
    assert state["module.rpn.head.scales.0.scale"].shape == (1,)
    torch.save({"model": state, "iteration": 90000}, tmp_path / "model_final.pth")
    loaded = sm.load_model(tmp_path / "model_final.pth")
    assert loaded.preset.name == BENCHMARK_NAME
    assert _same_weights(loaded, model)
    sm.convert_checkpoint(tmp_path / "model_final.pth", tmp_path / "new.safetensors")
    assert _same_weights(sm.load_model(tmp_path / "new.safetensors"), model)


def test_the_state_of_a_training_run_is_refused_with_the_file_to_use(tmp_path: Path) -> None:
    torch.save({"recipe": "{}", "model": _small().state_dict()}, tmp_path / "last.pth")
    with pytest.raises(sm.InputError, match=r"last\.pth.* best\.safetensors beside it"):
        sm.load_model(tmp_path / "last.pth")


def test_what_does_not_fit_is_named_as_in_the_file(tmp_path: Path) -> None:
    model = sm.build_model(BENCHMARK_NAME, num_classes=2)
    state = _benchmark_state(model)
    del state["backbone.body.stem.conv1.weight"]
    state["rpn.anchors"] = torch.zeros(1)
    state["rpn.head.bbox_pred.bias"] = torch.zeros(5)
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(sm.InputError) as error:
        sm.load_checkpoint(model, tmp_path / "x.pth")
    assert "1 missing: backbone.body.stem.conv1.weight; 1 unexpected: rpn.anchors;" in str(
        error.value
    )
    assert "wrongly shaped: rpn.head.bbox_pred.bias (5,) instead of (4,)" in str(error.value)
    del state["rpn.head.cls_logits.weight"]
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(sm.InputError, match=r"it has no rpn\.head\.cls_logits\.weight"):
        sm.load_model(tmp_path / "x.pth")


def test_keys_that_do_not_fit_are_named_with_the_preset_that_would(tmp_path: Path) -> None:
    source = sm.build_model(OFFICIAL_NAME, num_classes=2)
    file = _mmdetection_file(tmp_path / "x.pth", source.state_dict())
    target = sm.build_model("sipmask_r50_caffe_fpn_ssd_gn_10x", num_classes=2)
    with pytest.raises(sm.InputError) as error:
        sm.load_checkpoint(target, file)
    sentence = str(error.value)
    assert "6 missing: bbox_head.cls_convs.0.gn.weight" in sentence
    assert "3 unexpected: bbox_head.cls_convs.0.conv.bias" in sentence
    assert sentence.count("bbox_head") <= 10
    assert f"it fits {OFFICIAL_NAME} with 2 classes." in sentence


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    sm.save_checkpoint(_small(3), tmp_path / "m.safetensors")
    with pytest.raises(sm.InputError, match=r"fcos_cls.weight \(3, 32, 3, 3\) instead of \(2, 32"):
        sm.load_checkpoint(_small(2), tmp_path / "m.safetensors")


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    torch.save({"state_dict": {}, "meta": _Malicious(marker)}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Malicious(marker)))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(sm.InputError, match=r"refused: .* nothing from a file is executed"):
            sm.load_checkpoint(_small(), tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "empty.pth", "empty.safetensors"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    model = _small()
    if name.endswith(".pth"):
        torch.save({"state_dict": model.state_dict()}, tmp_path / "whole")
    else:
        sm.save_checkpoint(model, tmp_path / "whole.safetensors")
    whole = next(tmp_path.glob("whole*")).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if name.startswith("cut") else b"")
    with pytest.raises(sm.InputError, match=name):
        sm.load_checkpoint(model, tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"state_dict": 5}, {"state_dict": {"a": "b"}}, {"state_dict": {1: torch.zeros(1)}}],
)
def test_a_torch_file_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(sm.InputError, match=r"x\.pth"):
        sm.load_checkpoint(_small(), tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(sm.InputError, match=r"no checkpoint file .*nowhere\.pth"):
        sm.load_model(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(sm.InputError, match=rf"folder{suffix}' is a folder; a checkpoint file is"):
        sm.load_model(tmp_path / f"folder{suffix}")
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for name in (f"link{suffix}", f"pipe{suffix}"):
        with pytest.raises(sm.InputError, match=f"There is no checkpoint file .*{name}"):
            sm.load_model(tmp_path / name)
    with pytest.raises(sm.InputError, match="cannot be read: File name too long"):
        sm.load_model(tmp_path / ("x" * 300 + suffix))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_the_system_cannot_read_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("no /proc")
    path = tmp_path / f"m{suffix}"
    path.symlink_to("/proc/self/mem")  # even root gets an error from its first byte
    with pytest.raises(sm.InputError, match=rf"m{suffix}' cannot be read: Input/output error\."):
        sm.load_model(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_goes_away_once_it_was_seen_is_one_sentence(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipmask_core.model.checkpoint_files.require_file", lambda *_: None)
    with pytest.raises(
        sm.InputError, match=f"m{suffix}' cannot be read: No such file or directory"
    ):
        sm.load_model(tmp_path / f"m{suffix}")


def test_a_file_that_is_replaced_while_it_is_read_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replace it as `cp` does: the same file, emptied first. What was mapped would be gone."""
    model = _small()
    path = tmp_path / "m.safetensors"
    sm.save_checkpoint(model, path)
    before = checkpoint_files.deserialize

    def deserialize(content: bytes) -> dict[str, torch.Tensor]:
        state = before(content)
        os.truncate(path, 100)
        return state

    monkeypatch.setattr(checkpoint_files, "deserialize", deserialize)
    assert _same_weights(sm.load_model(path), model)
    with pytest.raises(sm.InputError, match=r"m\.safetensors' is not a readable safetensors file"):
        sm.load_model(path)


@pytest.mark.parametrize(
    "header",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (10**8).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (10).to_bytes(8, "little") + b"\xff" * 10,
        b"\0" * 100,
        b"short",
    ],
    ids=["absurd length", "too long", "deep", "no text", "zeros", "short"],
)
def test_a_header_of_no_sense_is_refused(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(header)
    with pytest.raises(sm.InputError, match=r"m\.safetensors' is not a readable") as error:
        sm.load_model(tmp_path / "m.safetensors")
    assert "\n" not in str(error.value)


def test_class_names_nested_beyond_measure_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    sm.save_checkpoint(_small(), tmp_path / "m.safetensors")
    state = load_file(tmp_path / "m.safetensors")
    save_file(state, tmp_path / "n.safetensors", metadata={"class_names": "[" * 100_000})
    with pytest.raises(sm.InputError, match="no JSON list of strings as class_names"):
        sm.load_checkpoint(_small(), tmp_path / "n.safetensors")


def test_convert_keeps_names_and_provenance(tmp_path: Path) -> None:
    model = sm.build_model(OFFICIAL_NAME, num_classes=2)
    file = _mmdetection_file(tmp_path / "old.pth", model.state_dict())
    preset = sm.convert_checkpoint(file, tmp_path / "new.safetensors")
    assert preset.name == OFFICIAL_NAME
    loaded = sm.load_model(tmp_path / "new.safetensors")
    assert loaded.class_names == ("person", "dog")
    assert _same_weights(loaded, model)
    metadata = sm.load_checkpoint(model, tmp_path / "new.safetensors")
    assert metadata["converted_from"] == "old.pth"
    assert metadata["mmdet_version"] == "1.0rc1"


def test_convert_asks_for_the_preset_when_several_fit(tmp_path: Path) -> None:
    model = sm.build_model("sipmask_r50_caffe_fpn_gn_1x", num_classes=2)
    file = _mmdetection_file(tmp_path / "old.pth", model.state_dict())
    with pytest.raises(sm.InputError, match="gn_1x and sipmask_r50_caffe_fpn_gn_ms_2x; name the"):
        sm.convert_checkpoint(file, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()
    sm.convert_checkpoint(file, tmp_path / "new.safetensors", preset="sipmask_r50_caffe_fpn_gn_1x")
    assert sm.load_model(tmp_path / "new.safetensors").preset.name.endswith("gn_1x")


def test_convert_publishes_a_file_of_our_own(tmp_path: Path) -> None:
    model = _small()
    sm.save_checkpoint(model, tmp_path / "best.safetensors", {"segm AP": "0.3"})
    sm.convert_checkpoint(
        tmp_path / "best.safetensors",
        tmp_path / "published.safetensors",
        metadata={"licence": "Apache-2.0"},
        dtype=torch.float16,
    )
    published = sm.load_model(tmp_path / "published.safetensors")
    assert published.preset == model.preset
    metadata = sm.load_checkpoint(model, tmp_path / "published.safetensors")
    assert metadata["segm AP"] == "0.3"
    assert metadata["licence"] == "Apache-2.0"


def test_a_file_without_a_preset_loads_as_the_one_that_fits(tmp_path: Path) -> None:
    model = sm.build_model(OFFICIAL_NAME, num_classes=2)
    file = _mmdetection_file(tmp_path / "old.pth", model.state_dict())
    loaded = sm.load_model(file)
    assert loaded.preset.name == OFFICIAL_NAME
    assert loaded.class_names == ("person", "dog")
    assert _same_weights(loaded, model)


def test_a_file_that_fits_several_presets_needs_a_name(tmp_path: Path) -> None:
    model = sm.build_model("sipmask_r50_caffe_fpn_gn_1x", num_classes=2)
    file = _mmdetection_file(tmp_path / "old.pth", model.state_dict())
    with pytest.raises(sm.InputError, match="name the preset it was trained as"):
        sm.load_model(file)
    loaded = sm.load_model(file, "sipmask_r50_caffe_fpn_gn_ms_2x")
    assert loaded.preset.name == "sipmask_r50_caffe_fpn_gn_ms_2x"


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "resnet.pth")
    with pytest.raises(sm.InputError, match="is not a SipMask checkpoint"):
        sm.load_model(tmp_path / "resnet.pth")


def test_saving_is_atomic_and_open_to_other_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "m.safetensors"
    sm.save_checkpoint(_small(), file, {"version": "1"})
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(sm.InputError, match=r"m\.safetensors: No space left on device"):
        sm.save_checkpoint(_small(), file, {"version": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert sm.load_checkpoint(_small(), file)["version"] == "1"


def test_metadata_that_is_no_list_of_names_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    sm.save_checkpoint(_small(), tmp_path / "m.safetensors")
    state = load_file(tmp_path / "m.safetensors")
    save_file(state, tmp_path / "n.safetensors", metadata={"class_names": json.dumps({"a": 1})})
    with pytest.raises(sm.InputError, match="no JSON list of strings as class_names"):
        sm.load_checkpoint(_small(), tmp_path / "n.safetensors")


def test_backbone_weights_start_a_model(tmp_path: Path) -> None:
    source, target = _small(), _small()
    state = source.backbone.state_dict()
    del state["layer4.0.conv1.weight"]
    state["fc.weight"] = torch.zeros(10, 10)
    torch.save(state, tmp_path / "resnet.pth")
    assert sm.load_backbone(target, tmp_path / "resnet.pth") == ["layer4.0.conv1.weight"]
    assert torch.equal(target.backbone.conv1.weight, source.backbone.conv1.weight)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(sm.InputError, match="no weights that fit the resnet18 backbone"):
        sm.load_backbone(target, tmp_path / "other.pth")


def _renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {key.replace(old, new, 1): value for key, value in state.items()}


def test_weights_of_a_deeper_shallower_or_bottleneck_backbone_are_refused(tmp_path: Path) -> None:
    target = _small()
    state = target.backbone.state_dict()
    deeper = state | _renamed({k: v for k, v in state.items() if "layer1.1" in k}, "1.1", "1.2")
    shallower = {k: v for k, v in state.items() if not k.startswith("layer2.1")}
    bottleneck = state | {"layer1.0.conv1.weight": state["layer1.0.conv1.weight"][..., :1, :1]}
    wider = {k: torch.cat([v, v]) if v.ndim == 4 else v for k, v in state.items()}
    wider = {k: torch.cat([v, v]) if v.ndim == 1 else v for k, v in wider.items()}
    for other, complaint in (
        (deeper, "it has layer1.2, which the other lacks"),
        (shallower, "the model has layer2.1, which the other lacks"),
        (bottleneck, r"layer1.0.conv1.weight is \(\d+, \d+, 1, 1\) there"),
        (wider, r"0 of its \d+ weights have their shape"),
    ):
        torch.save(other, tmp_path / "other.pth")
        with pytest.raises(sm.InputError, match=f"fit the resnet18 backbone: {complaint}"):
            sm.load_backbone(target, tmp_path / "other.pth")


def test_a_backbone_from_before_counters_of_batches_is_complete(tmp_path: Path) -> None:
    state = _small().backbone.state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / "old.pth")
    assert sm.load_backbone(_small(), tmp_path / "old.pth") == []


def test_weights_move_to_a_model_with_other_classes_when_asked(tmp_path: Path) -> None:
    source, target = _small(3), _small(2)
    file = tmp_path / "m.safetensors"
    sm.save_checkpoint(source, file)
    fresh = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(
        sm.InputError, match=r"2 wrongly shaped: .*which `remake_heads` starts afresh"
    ):
        transfer_weights(target, file)
    transfer = transfer_weights(target, file, remake_heads=True)
    classifier = ["bbox_head.fcos_cls.weight", "bbox_head.fcos_cls.bias"]
    assert transfer.fresh == classifier and transfer.left_out == []
    assert transfer.class_names == source.class_names != target.class_names
    for key, value in target.state_dict().items():
        assert torch.equal(value, (fresh if key in classifier else source.state_dict())[key])


def test_parts_of_the_head_that_the_model_lacks_are_named_and_left_out(tmp_path: Path) -> None:
    deep = sm.build_model(replace(_small().preset, tower_convs=4), num_classes=2)
    shallow = _small(2)
    sm.save_checkpoint(deep, tmp_path / "m.safetensors")
    transfer = transfer_weights(shallow, tmp_path / "m.safetensors", remake_heads=True)
    assert transfer.fresh == []
    assert "bbox_head.reg_convs.3.conv.weight" in transfer.left_out
    assert all(key.startswith("bbox_head.") for key in transfer.left_out)


def test_a_body_that_does_not_fit_is_never_remade(tmp_path: Path) -> None:
    narrow = sm.build_model(replace(_small().preset, stage_widths=(64, 32, 32, 16)), num_classes=3)
    sm.save_checkpoint(narrow, tmp_path / "m.safetensors")
    with pytest.raises(sm.InputError, match=r"wrongly shaped: backbone\.layer4") as error:
        transfer_weights(_small(2), tmp_path / "m.safetensors", remake_heads=True)
    assert "bbox_head" not in str(error.value)


def test_a_checkpoint_tells_its_preset(tmp_path: Path) -> None:
    sm.save_checkpoint(_small(), tmp_path / "m.safetensors")
    assert checkpoint_preset(tmp_path / "m.safetensors") == _small().preset
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet.pth")
    with pytest.raises(sm.InputError, match="is not a SipMask checkpoint"):
        checkpoint_preset(tmp_path / "resnet.pth")


def test_a_video_model_starts_from_an_image_model(tmp_path: Path) -> None:
    narrow = {"stage_widths": (16, 16, 16, 16), "channels": 32, "basis_channels": 32}
    image = replace(sm.get_preset("sipmask_r50_caffe_fpn_gn_1x"), **narrow)
    video = replace(sm.get_preset("vis_sipmask_r50_caffe_fpn_gn_1x"), **narrow)
    sm.save_checkpoint(sm.build_model(image, num_classes=2), tmp_path / "image.safetensors")
    model = sm.build_model(video, num_classes=2)
    transfer = transfer_weights(model, tmp_path / "image.safetensors", remake_heads=True)
    assert transfer.fresh and all("track" in key for key in transfer.fresh)
    assert {key.split(".")[1] for key in transfer.left_out} == {"cls_convs", "reg_convs"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"channels": 32_000_000}, "does not fit preset"),
        ({"channels": "64"}, "has channels '64'; expected is the like of 96|cannot be read"),
        ({"tower_convs": 10**9}, "it must be between 0 and 16"),
        ({"candidates_per_level": -1}, "has candidates_per_level -1"),
        ({"stage_widths": [10**12, 32, 32, 32]}, "No network is like the preset"),
        ({"stage_widths": [64]}, "has stage_widths"),
        ({"mean": [0, 0, float("nan")]}, "has mean"),
        ({"mean": [0, 0, 10**400]}, "has mean"),
        ({"mask_threshold": -1.0}, "mask_threshold is -1.0; it must be 0 or more and below 1"),
        ({"std": [1.0, 0.0, 1.0]}, "has std .* it must be > 0"),
        (
            {"resize": {"height": 10**6, "width": 4}},
            "has height 1000000; expected are 1 to",
        ),
        ({"iou_unit": "metre"}, "it must be stride or pixel"),
    ],
)
def test_a_preset_record_of_no_sense_is_refused_before_memory_is_taken(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    model = _small()
    sm.save_checkpoint(model, tmp_path / "good.safetensors")
    state = load_file(tmp_path / "good.safetensors")
    record = {**json.loads(preset_to_json(model.preset)), **changes}
    save_file(state, tmp_path / "m.safetensors", {"preset": json.dumps(record)})
    with pytest.raises(sm.InputError, match=complaint):
        sm.load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("shape", [(), (0, 96, 3, 3), (10**9, 1, 1, 1)])
def test_a_class_branch_of_another_shape_is_no_checkpoint(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    weights = torch.zeros(1).expand(shape) if shape else torch.zeros(())  # no memory
    torch.save({"bbox_head.fcos_cls.weight": weights}, tmp_path / "m.pth")
    with pytest.raises(sm.InputError, match=r"it has no .* of 1 to 65536 classes"):
        sm.load_model(tmp_path / "m.pth")


def test_a_pickle_that_ends_badly_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"Q.")  # takes from an empty stack
    with pytest.raises(sm.InputError, match="not a readable torch checkpoint"):
        sm.load_model(tmp_path / "m.pth")


def test_a_refusal_is_one_line_whatever_a_file_calls_its_weights(tmp_path: Path) -> None:
    torch.save({**_small().state_dict(), "a\nb": torch.zeros(1)}, tmp_path / "m.pth")
    with pytest.raises(sm.InputError, match=r"1 unexpected: 'a\\nb'"):
        sm.load_checkpoint(_small(), tmp_path / "m.pth")

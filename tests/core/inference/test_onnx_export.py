"""ONNX files compute what the model does; and the command that writes them."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open

import sipmask_core as sm
from sipmask_core.cli import main as cli
from sipmask_core.inference import onnx_export
from sipmask_core.inference.onnx_model import OnnxNetwork, default_device, flat
from sipmask_core.model import resnet
from sipmask_core.model.presets import KeepRatio, Letterbox, Preset, Stretch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed")


class Exported(NamedTuple):
    model: sm.SipMask
    path: Path
    printed: str = ""
    report: Path | None = None


def _shallow(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> sm.SipMask:
    """Return a model with random weights, one block a stage, that finds objects everywhere."""
    monkeypatch.setitem(resnet.LAYERS, preset.backbone, (1, 1, 1, 1))
    torch.manual_seed(0)
    narrow = replace(preset, stage_widths=(64, 32, 32, 32), channels=64, tower_convs=1)
    model = sm.build_model(narrow, num_classes=3)
    for name, parameter in model.named_parameters():
        if "conv_offset" in name or "fcos_cls" in name:
            torch.nn.init.normal_(parameter, std=0.002 if "backbone" in name else 0.05)
    return model


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export all that presets can have, with an input of one size.

    There are deformable convolutions, a track branch, mask re-scoring, biases before norms and
    distances without a sign.
    """
    preset = replace(
        sm.get_preset("sipmask++_r101_caffe_fpn_ssd_gn_10x"),
        embedding_channels=16,
        rectified_distances=True,
        bias_with_norm=True,
    )
    folder = tmp_path_factory.mktemp("fixed")
    weights, path, report = (folder / n for n in ("m.safetensors", "m.onnx", "m.json"))
    command = ["export", "--checkpoint", weights, "--size", "320x256", "--output", path]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(printed):
        model = _shallow(preset, monkeypatch)
        sm.save_checkpoint(model, weights, {"licence": "CC BY 4.0"})
        assert cli.main([*map(str, command), "--json", str(report)]) == 0
    model = onnx_export.with_input_size(model, (256, 320))
    return Exported(model, path, printed.getvalue(), report)


@pytest.fixture(scope="module")
def any_size(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export a network whose input follows the image."""
    lite = sm.get_preset("sipmask_r18_lite")
    preset = replace(lite, resize=KeepRatio(160, 96), group_norm=False)
    path = tmp_path_factory.mktemp("any") / "m.onnx"
    with pytest.MonkeyPatch.context() as monkeypatch:
        model = _shallow(preset, monkeypatch)
    sm.export_onnx(model, path)
    return Exported(model, path)


def _assert_equal_outputs(exported: Exported, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    network = OnnxNetwork(sm.OnnxModel(exported.path), torch.device("cpu"))
    with torch.inference_mode():
        wanted, found = flat(exported.model(x)), flat(network(x))
    assert len(found) == len(wanted)
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() <= 1e-5 * ours.abs().max()
    # As on a GPU, where onnxruntime reads and writes torch's memory.
    in_place = network.run_in_place(x)
    assert all(torch.equal(a, b) for a, b in zip(in_place, found, strict=True))


@pytest.mark.cuda
def test_a_network_on_a_gpu_equals_that_on_the_cpu(fixed: Exported) -> None:
    if default_device() != "cuda":
        pytest.skip("onnxruntime has no CUDA here")
    x = torch.randn(2, 3, 256, 320)
    model = sm.OnnxModel(fixed.path)
    wanted, found = (
        flat(OnnxNetwork(model, device)(x.to(device)))
        for device in (torch.device("cpu"), torch.device("cuda", 0))
    )
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs.is_cuda
        assert (theirs.cpu() - ours).abs().max() <= 1e-2 * ours.abs().max()


@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_of_fixed_size_equals_the_model(fixed: Exported, batch: int) -> None:
    _assert_equal_outputs(fixed, (batch, 3, 256, 320))


@pytest.mark.parametrize("shape", [(1, 3, 32, 96), (2, 3, 160, 64), (3, 3, 96, 128)])
def test_a_network_of_any_size_equals_the_model(any_size: Exported, shape: tuple[int, ...]) -> None:
    _assert_equal_outputs(any_size, shape)


@pytest.mark.parametrize("kind", ["fixed", "any_size"])
def test_a_predictor_finds_the_same_with_either(
    kind: str, image: np.ndarray, request: pytest.FixtureRequest
) -> None:
    exported: Exported = request.getfixturevalue(kind)
    eager = sm.Predictor(exported.model, "cpu", "fp32", score_threshold=0.0)
    onnx = sm.Predictor.from_file(exported.path, "cpu", score_threshold=0.0)
    assert (onnx.model_name, onnx.class_names) == (eager.model_name, eager.class_names)
    assert onnx.precision == "fp32"
    wanted, found = eager(image), onnx(image)
    assert len(found) == len(wanted) > 20
    assert np.array_equal(found.labels, wanted.labels)
    assert np.allclose(found.boxes, wanted.boxes, atol=1e-2)
    for name in ("scores", "mask_scores", "embeddings"):
        assert np.allclose(getattr(found, name), getattr(wanted, name), atol=1e-4)
    assert (found.masks != wanted.masks).mean() < 1e-3


def test_a_file_with_other_weights_does_not_agree(fixed: Exported, image: np.ndarray) -> None:
    exported = sm.OnnxModel(fixed.path)
    assert onnx_export.compare(fixed.model, exported, image).holds
    other = onnx_export.with_input_size(fixed.model, (256, 320))
    with torch.no_grad():
        other.bbox_head.fcos_centerness.bias += 0.5
    agreement = onnx_export.compare(other, exported, image)
    assert not agreement.holds
    assert agreement.differences["centerness"] > 0.1 > agreement.differences["basis"]


def test_the_command_reports_what_differs(fixed: Exported) -> None:
    assert "centerness" in fixed.printed
    assert fixed.report is not None
    report = json.loads(fixed.report.read_text())
    assert report["agrees"]
    assert max(report["differences"].values()) < 1e-5
    assert report["detections"] == report["onnx_detections"] == report["matched"]
    assert "onnxruntime" in report["provenance"]["versions"]


def test_the_command_keeps_the_metadata_of_the_checkpoint(fixed: Exported) -> None:
    import onnx

    metadata = {p.key: p.value for p in onnx.load(fixed.path).metadata_props}
    assert metadata["licence"] == "CC BY 4.0"
    with safe_open(fixed.path.with_suffix(".safetensors"), "pt") as checkpoint:
        assert metadata["class_names"] == checkpoint.metadata()["class_names"]


def test_the_command_fails_where_the_file_computes_something_else(
    fixed: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sm, "export_onnx", lambda *to: shutil.copy(fixed.path, to[1]))
    with torch.no_grad():
        other = onnx_export.with_input_size(fixed.model, (256, 320))
        other.bbox_head.fcos_reg.bias += 1
    monkeypatch.setattr(sm, "load_model", lambda *_: other)
    assert cli.main(["export", "--output", str(tmp_path / "x.onnx")]) == 1
    error = capsys.readouterr().err
    assert "x.onnx does not compute what the model does" in error


def test_a_fixed_size_letterboxes_or_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rule in (
        ("vis_sipmask_r50_caffe_fpn_gn_1x", Letterbox(384, 640)),
        ("sipmask_r50_caffe_fpn_ssd_6x", Stretch(384, 640)),
    ):
        model = _shallow(sm.get_preset(name), monkeypatch)
        before = model.preset
        assert onnx_export.with_input_size(model, (384, 640)).preset.resize == rule
        assert model.preset == before
    with pytest.raises(sm.InputError, match=r"input size is 650x384; .*multiples of 32"):
        onnx_export.with_input_size(model, (384, 650))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output", "m.pt"], r"'m\.pt' must end in \.onnx"),
        (["--output", "m.onnx", "--size", "30x30"], r"input size is 30x30"),
        (["--output", "m.onnx", "--image", "no.jpg"], r"no\.jpg"),
        (["--output", "m.onnx", "--preset", "sipmask_r18_lite"], r"add --checkpoint"),
    ],
)
def test_wrong_usage_is_one_sentence_and_writes_nothing(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error)
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_versions_that_do_not_go_together_are_a_sentence(
    fixed: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown_operator(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("Error when translating node")

    monkeypatch.setattr(torch.onnx, "export", unknown_operator)
    with pytest.raises(sm.InputError, match=r"PyTorch .* cannot export with onnxscript \d"):
        sm.export_onnx(fixed.model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_exporters_packages_the_sentence_names_them(
    fixed: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(sm.InputError, match=r"pip install 'sipmask-core\[onnx\]'"):
        sm.export_onnx(fixed.model, tmp_path / "m.onnx")

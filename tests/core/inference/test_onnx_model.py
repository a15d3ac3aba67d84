"""Files that are not an exported network, and what onnxruntime is told to use."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx_files import LITE, PLUS_PLUS, onnx_file

import sipmask_core as sm
from sipmask_core.inference.onnx_model import execution_providers
from sipmask_core.model.presets import Letterbox, preset_to_json

if TYPE_CHECKING:
    from pathlib import Path


ALL = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    model = sm.OnnxModel(onnx_file(tmp_path / "m.onnx"))
    assert model.preset == LITE
    assert model.class_names == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": None}, r"was not written by `sipmask export`"),
        ({"preset": None}, r"preset record .* cannot be read"),
        ({"preset": '{"name": "x"}'}, r"preset record .* cannot be read"),
        ({"class_names": "person"}, r"no JSON list of strings as class_names"),
        ({"class_names": None}, r"with 0 classes: .*'class_logits_p3', 2"),
        (
            {"class_names": json.dumps(["a", "b", "c"])},
            r"sipmask_r18_lite with 3 classes: it has \('class_logits_p3', 2\) in place of"
            r" \('class_logits_p3', 3\)",
        ),
    ],
)
def test_metadata_that_do_not_fit_are_one_sentence(
    changes: dict[str, str | None], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(sm.InputError, match=sentence) as error:
        sm.OnnxModel(onnx_file(tmp_path / "m.onnx", **changes))
    assert "m.onnx" in str(error.value) and "\n" not in str(error.value)


def test_another_input_size_than_the_presets_is_refused(tmp_path: Path) -> None:
    record = preset_to_json(replace(LITE, resize=Letterbox(352, 320)))
    with pytest.raises(sm.InputError, match=r"it has \(320, 320\) in place of \(352, 320\)"):
        sm.OnnxModel(onnx_file(tmp_path / "m.onnx", preset=record))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (None, r"re-score masks in .*m\.onnx' do not fit|cannot be read"),
        ("no base64!", r"re-score masks in .*m\.onnx' cannot be read"),
        ("AAAA", r"re-score masks in .*m\.onnx' cannot be read"),
    ],
)
def test_a_network_without_its_weights_for_masks_is_refused(
    weights: str | None, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(sm.InputError, match=sentence):
        sm.OnnxModel(onnx_file(tmp_path / "m.onnx", PLUS_PLUS, mask_scoring=weights))


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x80\x04not protobuf")
    with pytest.raises(sm.InputError, match=r"m\.onnx' is not a readable ONNX file"):
        sm.OnnxModel(tmp_path / "m.onnx")
    whole = onnx_file(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sm.InputError, match=r"m\.onnx' is not a readable ONNX file"):
        sm.OnnxModel(tmp_path / "m.onnx")
    with pytest.raises(sm.InputError, match=r"There is no model file '.*n\.onnx'"):
        sm.OnnxModel(tmp_path / "n.onnx")


def test_operations_of_others_are_refused(tmp_path: Path) -> None:
    model = onnx.load(onnx_file(tmp_path / "m.onnx"))
    model.graph.node[0].domain = "somebody.else"
    model.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(sm.InputError, match=r"m\.onnx' is not a readable ONNX file"):
        sm.OnnxModel(tmp_path / "m.onnx")


def test_a_predictor_names_what_a_file_cannot_do(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    with pytest.raises(sm.InputError, match=r"precision is 'bf16'.* auto or fp32"):
        sm.Predictor.from_file(path, "cpu", precision="bf16")
    with pytest.raises(sm.InputError, match=r"m\.onnx' has a preset of its own"):
        sm.Predictor.from_file(path, "cpu", preset="sipmask_r18_lite")
    with pytest.raises(sm.InputError, match=r"m\.onnx' is an exported network"):
        sm.load_model(path)


def test_without_onnxruntime_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(sm.InputError, match=r"pip install onnxruntime"):
        sm.OnnxModel(path)


def test_the_fastest_provider_of_the_device_comes_first() -> None:
    gpu, cpu = torch.device("cuda:1"), torch.device("cpu")
    assert execution_providers(cpu, True, ALL) == ["CPUExecutionProvider"]
    on_gpu = {"device_id": 1}
    assert execution_providers(gpu, True, ALL) == [
        ("TensorrtExecutionProvider", on_gpu),
        ("CUDAExecutionProvider", on_gpu),
        "CPUExecutionProvider",
    ]
    assert execution_providers(gpu, False, ALL)[0] == ("CUDAExecutionProvider", on_gpu)
    assert execution_providers(gpu, True, ALL[1:])[0] == ("CUDAExecutionProvider", on_gpu)


def test_what_is_no_file_or_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(sm.InputError, match=r"folder\.onnx' is a folder; a model file is expected"):
        sm.OnnxModel(tmp_path / "folder.onnx")
    (tmp_path / "m.onnx").symlink_to("/proc/self/mem")  # even root gets an error
    if (tmp_path / "m.onnx").exists():
        with pytest.raises(sm.InputError, match=r"m\.onnx' cannot be read: Input/output error"):
            sm.OnnxModel(tmp_path / "m.onnx")


def test_a_file_that_goes_away_once_it_was_seen_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipmask_core.inference.onnx_model.require_file", lambda *_: None)
    with pytest.raises(sm.InputError, match=r"m\.onnx' cannot be read: No such file or directory"):
        sm.OnnxModel(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_one_sentence(tmp_path: Path, share: float) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(sm.InputError, match=r"m\.onnx' is not a readable ONNX file") as error:
        sm.OnnxModel(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_gone_after_it_was_read_runs_all_the_same(tmp_path: Path) -> None:
    model = sm.OnnxModel(onnx_file(tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").unlink()
    assert len(sm.Predictor(model, device="cpu")(np.zeros((60, 90, 3), np.uint8))) == 0

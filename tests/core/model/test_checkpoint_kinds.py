"""Files that people have instead of a checkpoint, and the wrappings in which weights come."""

from __future__ import annotations

import argparse
import datetime
import decimal
import gzip
import io
import pickle
import tarfile
import uuid
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save

import sipmask_core as sm
from sipmask_core.model.checkpoint_files import read_checkpoint

WEIGHTS = {
    "backbone.bn1.running_mean": torch.arange(3.0),
    "bbox_head.fcos_cls.weight": torch.ones(2, 3, 3, 3),
}
COUNTER = "backbone.bn1.num_batches_tracked"


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in WEIGHTS.items()}


def torch_bytes(content: object, **how: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


def assert_holds_the_weights(path: Path) -> None:
    state = read_checkpoint(path).state
    assert set(state) == {*WEIGHTS, COUNTER}
    assert all(torch.equal(state[key], value) for key, value in WEIGHTS.items())


TWINS = {"ema_" + key.replace(".", "_"): value + 1 for key, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model_state_dict": WEIGHTS, "epoch": 2},
        {"state_dict_ema": WEIGHTS},
        {"ema": {"module": WEIGHTS, "updates": 7}},
        {"state_dict": prefixed("module.module.")},
        {"state_dict": prefixed("_orig_mod.")},
        {"state_dict": prefixed("model._orig_mod."), "pytorch-lightning_version": "2.5"},
        {"state_dict": {k.replace(".", "._orig_mod.", 1): v for k, v in WEIGHTS.items()}},
        {"state_dict": {**WEIGHTS, **TWINS}},
        {"state_dict": {"module." + k: v for k, v in {**WEIGHTS, **TWINS}.items()}},
        {"model": {**prefixed("module."), "n_averaged": torch.tensor(9)}},
        {"params": WEIGHTS, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
        {"best": {"net_g": WEIGHTS}, "net": {"student": WEIGHTS}},
        {"state_dict": {**WEIGHTS, "backbone._extra_state": {"version": 1}, "aux": None}},
        {"state_dict": prefixed("detector.")},
        {"state_dict": prefixed("student.sipmask._orig_mod.")},
    ],
    ids=str.split(
        "bare model_state_dict ema nested module _orig_mod lightning compiled_parts twins"
        " wrapped_twins averaged any_key nested_any_key extra_state part_of_another deep_in_another"
    ),
)
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_are_found_in_every_wrapping(tmp_path: Path, content: object, legacy: bool) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(torch_bytes(content, _use_new_zipfile_serialization=not legacy))
    assert_holds_the_weights(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_trainers_write_beside_the_weights_is_left_unread(
    tmp_path: Path, legacy: bool
) -> None:
    meta = {
        "epoch": 12,
        "iter": np.int64(7),
        "best_score": np.float64(0.31),
        "PALETTE": np.array([[1, 2, 3]]),
        "names": np.array(["a", "b"], object),
        "CLASSES": ("person", "dog"),
        "saved": datetime.datetime.now(datetime.timezone.utc),
        "span": (uuid.UUID(int=1), range(3), slice(1, 2), frozenset([1]), decimal.Decimal("0.1")),
        "args": argparse.Namespace(lr=np.float32(0.1), output=PurePosixPath("x").name),
    }
    path = tmp_path / "m.pth"
    content = {"state_dict": WEIGHTS, "meta": meta}
    path.write_bytes(torch_bytes(content, _use_new_zipfile_serialization=not legacy))
    assert_holds_the_weights(path)
    metadata = read_checkpoint(path).metadata
    assert metadata == {"epoch": "12", "class_names": '["person", "dog"]'}


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ("person", "dog")},
        {"dataset_meta": {"classes": ["person", "dog"], "palette": [(0, 0, 0)]}},
        {"dataset_meta": {"CLASSES": ("person", "dog")}},
    ],
)
def test_class_names_are_found_where_mmdetection_and_mmengine_write_them(
    tmp_path: Path, meta: dict[str, object]
) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(torch_bytes({"state_dict": WEIGHTS, "meta": meta}))
    assert read_checkpoint(path).metadata == {"class_names": '["person", "dog"]'}


def test_of_two_networks_in_a_file_none_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(torch_bytes({"generator": WEIGHTS, "discriminator": WEIGHTS}))
    with pytest.raises(sm.InputError, match="at its top it has generator, discriminator"):
        read_checkpoint(path)


def test_names_do_not_decide_how_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(save(WEIGHTS))
    (tmp_path / "m.safetensors").write_bytes(torch_bytes({"state_dict": WEIGHTS}))
    (tmp_path / "m").write_bytes(save(WEIGHTS))
    for path in tmp_path.iterdir():
        assert_holds_the_weights(path)


def archive(content: bytes, kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("m.pth", content)
    else:
        with tarfile.open(fileobj=stream, mode="w") as file:
            info = tarfile.TarInfo("m.pth")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def torchscript() -> bytes:
    """Return an archive with the names of a saved program's; PyTorch gives up making them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "data/0", "version"):
            file.writestr(f"m/{name}", b"")
    return stream.getvalue()


WHOLE = torch_bytes({"state_dict": WEIGHTS})
LEGACY = torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html><title>Virus scan", "is a web page .*Google Drive asks for a co"),
        (b'<?xml version="1.0"?><Error>AccessDenied', "is XML, in which servers"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:01",
            "is a Git LFS pointer.*`git lfs pull`",
        ),
        (gzip.compress(WHOLE), "is a gzip archive: unpack it"),
        (archive(WHOLE, "tar"), "is a tar archive: unpack it"),
        (archive(WHOLE, "zip"), "is a zip archive: unpack it"),
        (WHOLE[: len(WHOLE) // 2], "is cut off or damaged: copy or download it again"),
        (torchscript(), "is a TorchScript program, which can only be run"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    ],
    ids=str.split("empty drive s3 lfs gzip tar zip half torchscript hdf5"),
)
def test_what_is_no_checkpoint_is_named(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(sm.InputError, match=f"{name}' {what}") as error:
        sm.load_model(tmp_path / name)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"404: Not Found", "is not a readable torch checkpoint: it begins neither as torch"),
        (bytes(5000), "is not a readable torch checkpoint"),
        (b'{"weight_map": {}}', "is not a readable torch checkpoint"),
        (
            pickle.dumps({"model": {"w": np.zeros(3)}}),
            "is refused: it is a pickle that torch.save has not written",
        ),
        (pickle.dumps({"a": 1}, protocol=0), "is not a readable torch checkpoint"),
        (LEGACY[:-9], "is not a readable torch checkpoint"),
    ],
    ids=str.split("text zeros json pickle old_pickle cut"),
)
def test_what_torch_has_not_written_is_told_without_its_advice(
    tmp_path: Path, content: bytes, what: str
) -> None:
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(sm.InputError, match=f"m.pth' {what}") as error:
        read_checkpoint(tmp_path / "m.pth")
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (torch.eye(3).to_sparse(), "torch.float32, torch.sparse_coo"),
        (torch.zeros(3, device="meta"), "no values"),
        (torch.zeros(3, dtype=torch.complex64), "torch.complex64"),
    ],
    ids=["sparse", "meta", "complex"],
)
def test_tensors_that_are_no_plain_numbers_are_named(
    tmp_path: Path, value: torch.Tensor, what: str
) -> None:
    torch.save({**WEIGHTS, "backbone.x": value}, tmp_path / "m.pth")
    with pytest.raises(sm.InputError, match=f"has backbone.x as a tensor of {what}"):
        read_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_whole_pickled_model_is_named_without_pytorchs_advice(
    tmp_path: Path, legacy: bool
) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    path = tmp_path / "m.pth"
    path.write_bytes(torch_bytes(model, _use_new_zipfile_serialization=not legacy))
    with pytest.raises(sm.InputError) as error:
        sm.load_model(path)
    sentence = str(error.value)
    assert "is a whole model, pickled with its code (torch.nn.modules.container.Seq" in sentence
    assert "nothing from a file is executed; save the state_dict() of the model" in sentence
    assert "weights_only" not in sentence and "trust" not in sentence and "\x1b" not in sentence


def test_where_nothing_fits_the_names_at_the_top_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    torch.save({"epoch": 3, "weights": [1], 5: 1}, path)
    with pytest.raises(
        sm.InputError, match=r"no state_dict .*; at its top it has epoch, weights, 5"
    ):
        sm.load_model(path)
    torch.save({"conv1.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(sm.InputError, match="its weights are of conv1, layer1"):
        sm.load_model(path)

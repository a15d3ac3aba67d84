"""Checkpoints: a model that works, or a refusal in one sentence; nothing in a file is executed."""

import io
import json
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_squares import tiny_model
from fuzzing import damaged, fuzz, may_refuse, mutated
from hypothesis import strategies as st
from safetensors.torch import save

import sipmask_core as sm
from sipmask_core.cli import main as cli
from sipmask_core.model.checkpoint_files import read_checkpoint
from sipmask_core.model.checkpoints import checkpoint_preset, describe_model

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
MODEL = tiny_model()
STATE = {key: value.contiguous() for key, value in MODEL.state_dict().items()}
RECORD = describe_model(MODEL)
NEEDED = [key for key in STATE if not key.endswith("num_batches_tracked")]
IMAGE = np.zeros((9, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def looked_at(path):
    """Do what a user may do with a file. Return the model, or None if it is refused."""
    with may_refuse():
        checkpoint_preset(path)
    with may_refuse() as refusals:
        model = sm.load_model(path)
    return None if refusals else model


@fuzz(preset=mutated(json.loads(RECORD["preset"])))
def test_a_preset_record_that_was_changed_gives_a_model_or_a_refusal(folder, preset):
    path = folder / "record.safetensors"
    path.write_bytes(save(STATE, {**RECORD, "preset": json.dumps(preset)}))
    model = looked_at(path)
    if model is not None:
        # Numbers that are allowed can still let a network overflow.
        with may_refuse(), suppress(sm.PredictionError):
            sm.Predictor(model, "cpu", "fp32")(IMAGE)


texts = st.one_of(
    mutated(["square"]).map(json.dumps),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(["[" * 9999, "[]", '["a", "a"]', "[1]", "NaN", '"square"']),
)


@fuzz(record=st.dictionaries(st.sampled_from([*RECORD, "", "\n"]), texts, max_size=4))
def test_metadata_of_any_text_give_a_model_or_a_refusal(folder, record):
    path = folder / "metadata.safetensors"
    path.write_bytes(save(STATE, record))
    looked_at(path)


def header_of(content):
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


HEADER, TENSORS = header_of(save({"a": torch.arange(6.0), "b": torch.zeros(2, 3)}, RECORD))
SMALL = save({"a": torch.arange(6.0), "bbox_head.fcos_cls.weight": torch.zeros(2, 3)}, RECORD)


@fuzz(
    header=mutated(HEADER),
    length=st.one_of(st.none(), st.integers(0, 2**64 - 1), st.integers(0, 999)),
)
def test_a_header_that_was_changed_gives_tensors_or_a_refusal(folder, header, length):
    path = folder / "header.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + TENSORS)
    with may_refuse():
        checkpoint = read_checkpoint(path)
        assert all(isinstance(value, torch.Tensor) for value in checkpoint.state.values())
    assert looked_at(path) is None


tensors = st.builds(
    lambda shape, dtype: torch.zeros(shape, dtype=dtype),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]),
)


@fuzz(
    share=0.1,
    removed=st.sets(st.sampled_from(sorted(NEEDED)), max_size=3),
    changed=st.dictionaries(
        st.one_of(st.sampled_from(sorted(STATE)), st.text(max_size=5)), tensors, max_size=3
    ),
    record=st.sampled_from([RECORD, {}]),
)
def test_weights_that_do_not_fit_are_refused(folder, removed, changed, record):
    path = folder / "weights.pth"
    state = {key: value for key, value in STATE.items() if key not in removed} | changed
    torch.save({"state_dict": state, "meta": record}, path)
    same = {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in STATE.items()
    }
    with may_refuse() as refusals:
        sm.load_checkpoint(tiny_model(), path)
    assert bool(refusals) != same
    looked_at(path)


def saved(content, **how):
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


CONTENT = {"state_dict": {"a.weight": torch.zeros(2), "module.b": torch.ones(1)}, "meta": {}}
FILES = [
    SMALL,
    saved(CONTENT),
    saved(CONTENT, _use_new_zipfile_serialization=False),
    pickle.dumps({"a": 1}),
]


@fuzz(
    share=2, content=damaged(FILES), suffix=st.sampled_from([".pth", ".safetensors", ".onnx", ""])
)
def test_bytes_that_were_changed_give_tensors_or_a_refusal(folder, content, suffix):
    path = folder / f"bytes{suffix}"
    path.write_bytes(content)
    assert looked_at(path) is None


@fuzz(
    content=mutated(
        {
            "state_dict": {"a": 1.0, "module.b": [2]},
            "model": {"a": 1},
            "meta": {"epoch": 1, "CLASSES": ["a", "b"]},
            "recipe": "{}",
        }
    )
)
def test_a_pth_of_plain_values_is_refused(folder, content):
    path = folder / "plain.pth"
    torch.save(content, path)
    assert looked_at(path) is None


class Evil:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@fuzz(
    function=st.sampled_from([os.system, os.mkdir, Path.touch, eval, exec, os.popen]),
    place=st.sampled_from(["whole", "meta", "state_dict", "key"]),
    protocol=st.integers(0, 5),
    as_zip=st.booleans(),
    name=st.sampled_from(["evil.pth", "evil.pt", "evil.safetensors", "evil"]),
)
def test_nothing_in_a_file_is_executed(folder, function, place, protocol, as_zip, name):
    mark = folder / "executed"
    arguments = {
        os.system: f"touch {mark}",
        os.popen: f"touch {mark}",
        os.mkdir: str(mark),
        Path.touch: mark,
        eval: f"open({str(mark)!r}, 'w')",
        exec: f"open({str(mark)!r}, 'w')",
    }
    evil = Evil(function, arguments[function])
    content = {
        "whole": evil,
        "meta": {"state_dict": STATE, "meta": {"epoch": evil}},
        "state_dict": {"state_dict": {"a": evil}},
        "key": {"state_dict": {**STATE, "a": torch.zeros(1)}, evil: 1},
    }[place]
    path = folder / name
    if as_zip:
        torch.save(content, path, pickle_protocol=max(2, protocol))
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    assert looked_at(path) is None
    assert cli.main(["convert", str(path), str(folder / "target.safetensors")]) == 2
    assert not mark.exists() and not (folder / "target.safetensors").exists()

"""The key names of the maskrcnn-benchmark code, there and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from official import golden_files

import sipmask_core as sm
from sipmask_core.model.maskrcnn_benchmark_keys import (
    from_benchmark_keys,
    to_benchmark_key,
    uses_benchmark_keys,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("file", golden_files("keys", "benchmark"))
def test_every_key_has_its_place_in_the_model(file: Path) -> None:
    record = json.loads(file.read_text())
    with torch.device("meta"):
        model = sm.build_model(record["config"])
        theirs = {
            entry["key"]: torch.empty(entry["shape"], dtype=getattr(torch, entry["dtype"]))
            for entry in record["keys"]
        }
    ours, own = from_benchmark_keys(theirs), model.state_dict()
    assert {key: (value.shape, value.dtype) for key, value in ours.items()} == {
        key: (value.shape, value.dtype)
        for key, value in own.items()
        if not key.endswith("num_batches_tracked")
    }
    back = {to_benchmark_key(key) for key in own if not key.endswith("num_batches_tracked")}
    assert back == set(theirs)
    trained = {to_benchmark_key(k) for k, p in model.named_parameters() if p.requires_grad}
    assert trained == {entry["key"] for entry in record["keys"] if entry["requires_grad"]}


@pytest.mark.parametrize(
    "name", ["benchmark_sipmask_R_50_FPN_1x", "benchmark_sipmask_R_101_FPN_ms_3x"]
)
def test_translating_there_and_back_changes_nothing(name: str) -> None:
    with torch.device("meta"):
        state = sm.build_model(name).state_dict()
    keys = {key for key in state if not key.endswith("num_batches_tracked")}
    theirs = {to_benchmark_key(key): state[key] for key in keys}
    assert uses_benchmark_keys(theirs)
    assert set(from_benchmark_keys(theirs)) == keys


def test_the_names_of_other_files_are_left_alone() -> None:
    assert not uses_benchmark_keys({"bbox_head.fcos_cls.weight": torch.zeros(1)})
    assert list(from_benchmark_keys({"optimizer.step": torch.zeros(1)})) == ["optimizer.step"]

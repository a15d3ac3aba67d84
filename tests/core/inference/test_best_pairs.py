"""The best pairs give the detections of all pairs, or are seen not to suffice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from synthetic_outputs import synthetic_outputs

import sipmask_core as sm
from sipmask_core.inference import best_pairs, detections
from sipmask_core.inference.detections import find_objects, for_download, with_candidates
from sipmask_core.model.presets import Letterbox

if TYPE_CHECKING:
    from sipmask_core.inference.detections import Detections
    from sipmask_core.model.outputs import HeadOutputs

# Greedy with a threshold on the score, greedy with one on the class score, and fast.
KINDS = ("sipmask_r18_lite", "sipmask_r50_caffe_fpn_gn_1x", "sipmask_r50_caffe_fpn_ssd_6x")


def _preset(name: str) -> sm.Preset:
    return replace(sm.get_preset(name), resize=Letterbox(128, 160))


def _is_equal(found: Detections, expected: Detections) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("most", [8, 64, 300, 10**6])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("wanted", [5, 100])
def test_detections_are_those_of_all_pairs(
    name: str, most: int, threshold: float | None, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_pairs, "MOST_PAIRS", most)
    preset = replace(_preset(name), max_detections=wanted)
    outputs, prepared = synthetic_outputs(preset, (96, 160))
    # Scores of few values: many of them tie.
    outputs = outputs._replace(class_logits=[x.round() for x in outputs.class_logits])
    for level in outputs.centerness:
        level.fill_(1)
    expected = find_objects(outputs, prepared, preset, threshold)
    chosen = for_download(with_candidates(outputs, prepared.size, preset), preset)
    assert chosen.class_logits == []
    assert _is_equal(find_objects(chosen, prepared, preset, threshold), expected)


@pytest.mark.parametrize("name", KINDS)
def test_all_candidates_are_downloaded_only_if_the_best_pairs_do_not_suffice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []
    download = detections.download
    monkeypatch.setattr(
        detections, "download", lambda *tensors: downloads.append(None) or download(*tensors)
    )
    preset = replace(_preset(name), max_detections=100)
    outputs, prepared = synthetic_outputs(preset, (96, 160))

    def count(most: int, threshold: float) -> int:
        monkeypatch.setattr(best_pairs, "MOST_PAIRS", most)
        chosen = for_download(with_candidates(outputs, prepared.size, preset), preset)
        downloads.clear()
        find_objects(chosen, prepared, preset, threshold)
        return len(downloads)

    assert count(1024, 0.3) == 0
    assert count(16, 0.01) == 1


def _poisoned(outputs: HeadOutputs, field: str) -> HeadOutputs:
    getattr(outputs, field)[0][0, 0, 1, 1] = torch.nan
    return outputs


@pytest.mark.parametrize("field", ["class_logits", "centerness", "distances"])
def test_one_value_that_is_not_finite_is_seen_wherever_it_is(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_pairs, "MOST_PAIRS", 8)
    preset = _preset(KINDS[0])
    outputs, prepared = synthetic_outputs(preset, (96, 160))
    outputs = _poisoned(outputs, field)
    chosen = for_download(with_candidates(outputs, prepared.size, preset), preset)
    with pytest.raises(FloatingPointError):
        find_objects(chosen, prepared, preset, None)


def test_a_size_as_a_tensor_gives_the_same_candidates() -> None:
    for name in KINDS:
        preset = _preset(name)
        outputs, prepared = synthetic_outputs(preset, (96, 160))
        (one,) = with_candidates(outputs, prepared.size, preset).candidates or ()
        size = torch.tensor(prepared.size)
        (other,) = with_candidates(outputs, size, preset).candidates or ()
        assert np.array_equal(one.boxes, other.boxes)

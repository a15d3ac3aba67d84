"""Decoding, thresholds and the two kinds of NMS on cases with known answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import sipmask_core as sm
from sipmask_core.inference.detections import Detections, detect, detect_pairs, select_candidates
from sipmask_core.model.outputs import STRIDES, Candidates, HeadOutputs, embeddings_at, locations

LITE = sm.get_preset("sipmask_r18_lite")
AUTHORS = sm.get_preset("sipmask_r50_caffe_fpn_gn_1x")
PAIRS = sm.get_preset("benchmark_sipmask_R_50_FPN_1x")
FAST = sm.get_preset("sipmask_r50_caffe_fpn_ssd_6x")


def _candidates(boxes: list[list[float]], scores: list[list[float]]) -> Candidates:
    n = len(boxes)
    return Candidates(
        torch.tensor(boxes, dtype=torch.float32).view(n, 4),
        torch.tensor(scores, dtype=torch.float32).view(n, -1),
        torch.ones(n),
        torch.arange(n, dtype=torch.float32)[:, None],
    )


def test_locations_are_the_centres_of_the_cells() -> None:
    assert locations(1, 2, 8, torch.device("cpu")).tolist() == [[4, 4], [12, 4]]


@pytest.mark.parametrize("preset", [LITE, AUTHORS, FAST])
def test_of_two_boxes_on_one_object_the_better_stays(preset: sm.Preset) -> None:
    found = detect(
        _candidates([[0, 0, 10, 10], [0, 0, 10, 11], [20, 0, 30, 10]], [[0.8], [0.9], [0.7]]),
        preset,
        0.3,
    )
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.coefficients.tolist() == [[1], [2]]


@pytest.mark.parametrize("preset", [LITE, AUTHORS, FAST])
def test_boxes_of_different_classes_do_not_suppress_each_other(preset: sm.Preset) -> None:
    box = [0.0, 0, 10, 10]
    found = detect(_candidates([box, box], [[0.9, 0], [0, 0.8]]), preset, 0.3)
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("preset", [LITE, AUTHORS, FAST])
def test_nothing_above_the_threshold_gives_no_detection(preset: sm.Preset) -> None:
    found = detect(_candidates([[0, 0, 10, 10]], [[0.1]]), preset, 0.3)
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == (0,)


@pytest.mark.parametrize("preset", [LITE, AUTHORS, FAST])
def test_no_more_than_the_allowed_number_is_kept(preset: sm.Preset) -> None:
    boxes = [[20.0 * i, 0, 20 * i + 10, 10] for i in range(30)]
    scores = [[0.4 + 0.01 * i] for i in range(30)]
    found = detect(_candidates(boxes, scores), replace(preset, max_detections=5), 0.3)
    assert found.scores.tolist() == pytest.approx([0.69, 0.68, 0.67, 0.66, 0.65])


def test_greedy_nms_lets_only_survivors_suppress_but_fast_nms_all() -> None:
    """Let A suppress B; C overlaps only B."""
    chain = _candidates([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], [[0.9], [0.8], [0.7]])
    assert detect(chain, replace(LITE, nms_threshold=0.5), 0.3).scores.tolist() == pytest.approx(
        [0.9, 0.7]
    )
    assert detect(chain, FAST, 0.3).scores.tolist() == pytest.approx([0.9])


def test_an_embedding_is_that_of_the_cell_at_the_centre_of_the_box_or_next_to_it() -> None:
    features = torch.arange(12).view(1, 3, 4)  # 24 x 32 network pixels
    boxes = torch.tensor([[0.0, 0, 15, 15], [16, 8, 32, 24], [-40, -40, 4, 4], [60, 60, 90, 90]])
    assert embeddings_at(features, boxes)[:, 0].tolist() == [0, 11, 0, 11]


def test_the_authors_threshold_the_class_score_before_centerness_lowers_it() -> None:
    candidates = _candidates([[0, 0, 10, 10]], [[0.4]])._replace(centerness=torch.tensor([0.5]))
    assert detect(candidates, AUTHORS, 0.3).scores.tolist() == pytest.approx([0.2])
    assert len(detect(candidates, LITE, 0.3).scores) == 0


def test_candidates_are_decoded_clipped_and_limited_per_level() -> None:
    sizes = [(4, 6), (2, 3), (1, 2), (1, 1), (1, 1)]
    outputs = HeadOutputs(
        class_logits=[torch.randn(2, 3, *size) for size in sizes],
        distances=[torch.full((2, 4, *size), 5.0) for size in sizes],
        centerness=[torch.zeros(2, 1, *size) for size in sizes],
        coefficients=[torch.randn(2, 8, *size) for size in sizes],
        basis=torch.zeros(2, 2, 16, 24),
    )
    found = select_candidates(outputs, 1, (32, 48), per_level=4)
    assert found.boxes.shape == (4 + 4 + 2 + 1 + 1, 4)
    assert found.boxes.min() >= 0
    assert found.boxes[:, 2].max() <= 48
    assert found.boxes[:, 3].max() <= 32
    best = (outputs.class_logits[0][1].sigmoid().amax(0) * 0.5).flatten().topk(4).values
    torch.testing.assert_close(
        found.class_scores[:4].amax(1) * found.centerness[:4], best, rtol=1e-5, atol=1e-6
    )
    assert len(STRIDES) == len(sizes)


def _find_pairs(
    scores: list[list[float]], *, distance: float = 4.0, threshold: float = 0.05, **changes: int
) -> Detections:
    """Return detections if P3 has these class scores, one location a row, and centerness 0.5."""
    logits = torch.tensor(scores).t().logit()[None, :, None]  # (1, classes, 1, locations)
    number = logits.shape[-1]
    nothing = torch.full((1, logits.shape[1], 1, 1), -20.0)
    sizes = [(1, number)] + [(1, 1)] * 4
    outputs = HeadOutputs(
        class_logits=[logits, *[nothing] * 4],
        distances=[torch.full((1, 4, *size), distance) for size in sizes],
        centerness=[torch.zeros(1, 1, *size) for size in sizes],
        coefficients=[torch.arange(w, dtype=torch.float32).view(1, 1, h, w) for h, w in sizes],
        basis=torch.zeros(1, 1, 4, 4 * number),
    )
    return detect_pairs(outputs, 0, (7, 8 * number - 1), replace(PAIRS, **changes), threshold)


def test_a_location_can_hold_a_pair_for_each_class() -> None:
    found = _find_pairs([[0.9, 0.8], [0.04, 0.5]])
    assert found.labels.tolist() == [0, 1, 1]
    assert found.coefficients[:, 0].tolist() == [0, 0, 1]
    assert found.scores.tolist() == pytest.approx([0.45**0.5, 0.4**0.5, 0.25**0.5])
    assert found.boxes.tolist() == [[0, 0, 8, 7], [0, 0, 8, 7], [8, 0, 15, 7]]


def test_pairs_that_overlap_within_a_class_are_suppressed() -> None:
    assert len(_find_pairs([[0.9], [0.8]], distance=40).scores) == 1
    assert len(_find_pairs([[0.9], [0.8]], distance=4).scores) == 2


def test_a_level_gives_its_best_pairs_only() -> None:
    found = _find_pairs([[0.9, 0.8], [0.7, 0.6]], candidates_per_level=3)
    assert found.scores.tolist() == pytest.approx([0.45**0.5, 0.4**0.5, 0.35**0.5])


def test_pairs_that_tie_with_the_last_one_allowed_stay() -> None:
    assert len(_find_pairs([[0.9], [0.6], [0.6], [0.5]], max_detections=2).scores) == 3
    assert len(_find_pairs([[0.9], [0.6], [0.6], [0.5]], max_detections=1).scores) == 1


def test_a_pair_can_score_higher_than_its_class() -> None:
    assert _find_pairs([[0.2]], threshold=0.3).scores.tolist() == pytest.approx([0.1**0.5])
    assert len(_find_pairs([[0.04]], threshold=0.3).scores) == 0
    assert len(_find_pairs([[0.04]], threshold=0.01).scores) == 1


def test_no_pair_above_the_threshold_gives_no_detection() -> None:
    assert _find_pairs([[0.01]]).boxes.shape == (0, 4)

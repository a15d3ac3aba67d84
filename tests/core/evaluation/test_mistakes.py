import cv2
import numpy as np
import pytest
from coco_cases import FIRST, SECOND, SIZE, entry, ground_truth, result

from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import evaluate
from sipmask_core.evaluation.mistakes import COLUMNS, SHOWN, draw_mistakes, false_alarms, misses

SMALL, NEAR = (0, 0, 20, 20), (0, 0, 20, 5)  # IoU 0.25


def evaluation(truth, results, kind="segm"):
    return evaluate(truth, results)[kind]


def test_misses_are_the_objects_that_nothing_was_matched_to_largest_first(tmp_path):
    truth = ground_truth(
        tmp_path,
        [
            entry(1, 1, FIRST),
            entry(2, 1, SMALL),
            entry(3, 2, SECOND),
            entry(4, 2, (0, 0, 90, 90), iscrowd=1),
        ],
    )
    missed = misses(evaluation(truth, [result(1, FIRST, 0.9), result(1, NEAR, 0.7)]))
    assert [mistake.object.id for mistake in missed] == [3, 2]
    assert missed[0].result is None and missed[0].iou == 0
    assert missed[1].result["score"] == missed[1].score == 0.7
    assert missed[1].iou == pytest.approx(0.25)


def test_false_alarms_are_the_results_that_match_nothing_surest_first(tmp_path):
    crowd = entry(2, 2, (40, 40, 90, 90), iscrowd=1)
    truth = ground_truth(tmp_path, [entry(1, 1, SMALL), crowd])
    in_crowd = result(2, (50, 50, 80, 80), 0.99)
    results = [result(1, NEAR, 0.6), result(1, SMALL, 0.5), result(2, SMALL, 0.9), in_crowd]
    alarms = false_alarms(evaluation(truth, results))
    assert [mistake.score for mistake in alarms] == [0.9, 0.6]
    assert alarms[0].object is None and alarms[0].iou == 0
    assert alarms[1].object.id == 1 and alarms[1].iou == pytest.approx(0.25)


def test_mistakes_name_their_own_image_and_the_nearest_there(tmp_path):
    entries = [entry(1, 2, FIRST), entry(2, 1, SMALL), entry(3, 1, SECOND), entry(4, 2, SMALL)]
    results = [result(2, NEAR, 0.4), result(1, NEAR, 0.8), result(1, NEAR, 0.7)]
    found = evaluation(ground_truth(tmp_path, entries), results)
    missed = [(m.image.id, m.object.id, m.result and m.result["score"]) for m in misses(found)]
    assert missed == [(1, 3, None), (2, 1, None), (1, 2, 0.8), (2, 4, 0.4)]
    alarms = [(m.image.id, m.score, m.object.id) for m in false_alarms(found)]
    assert alarms == [(1, 0.8, 2), (1, 0.7, 2), (2, 0.4, 4)]


def test_the_sheet_shows_the_worst_of_both_sorts_and_no_more(tmp_path):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*SIZE, 3), 128, np.uint8))
    truth = ground_truth(
        tmp_path, [entry(number, 1, (0, 0, 20 + number, 20)) for number in range(1, 31)]
    )
    alarms = [result(2, SECOND, 0.01 * number) for number in range(1, 31)]
    full = draw_mistakes(truth, tmp_path, evaluation(truth, alarms))
    few = draw_mistakes(truth, tmp_path, evaluation(truth, alarms[:1]))
    none = draw_mistakes(truth, tmp_path, evaluation(truth, []))
    assert full.shape[0] > few.shape[0] > none.shape[0]
    assert full.shape[1] == few.shape[1] == none.shape[1]
    assert SHOWN == 2 * COLUMNS
    colours = {tuple(pixel) for pixel in full.reshape(-1, 3)[::7].tolist()}
    assert {(90, 220, 60), (60, 60, 255)} <= colours  # outlines of truth and results


def test_boxes_without_masks_are_drawn_too(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((*SIZE, 3), 128, np.uint8))
    truth = ground_truth(tmp_path, [])
    boxes = [{k: v for k, v in result(1, FIRST, 0.9).items() if k != "segmentation"}]
    sheet = draw_mistakes(truth, tmp_path, evaluation(truth, boxes, "bbox"))
    assert (sheet == (60, 60, 255)).all(2).any()


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    with pytest.raises(InputError, match=r"1\.png does not exist"):
        draw_mistakes(truth, tmp_path, evaluation(truth, []))

import cv2
import numpy as np
import pytest
from comparisons import ALL, comparison

from sipmask_core.evaluation.average_precision import curves, summarise
from sipmask_core.evaluation.precision_recall import draw_precision_recall


def scores(classes, without_truth=0):
    rng = np.random.default_rng(0)
    by_class = {}
    for number in range(classes):
        pairs = [comparison(rng.random((6, 3)), scores=rng.random(6)) for _ in range(5)]
        by_class[f"class {number}"] = curves(pairs, [ALL] * 4)
    for number in range(without_truth):
        by_class[f"absent {number}"] = curves([], [ALL] * 4)
    return summarise(by_class)


@pytest.mark.parametrize("classes", [0, 1, 3, 20])
def test_any_number_of_classes_can_be_drawn(tmp_path, classes):
    path = tmp_path / "curves.png"
    of_kind = scores(classes, without_truth=2)
    draw_precision_recall(path, {"segm": of_kind, "bbox": of_kind})
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 1000
    # Below the mean, several classes have a row of their own.
    assert (picture.shape[0] > 800) == (classes > 1)


def test_the_same_scores_give_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        draw_precision_recall(tmp_path / name, {"segm": scores(3)})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

import contextlib
import copy
import dataclasses
import io
import json

import numpy as np
import pytest
from coco_cases import FIRST, SECOND, SIZE, entry, ground_truth, result
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import METRICS, evaluate, format_classes, score


def test_perfect_results_score_one(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST), entry(2, 2, SECOND)])
    scores = score(truth, [result(1, FIRST, 0.9), result(2, SECOND, 0.8)])
    for kind in ("segm", "bbox"):
        assert set(scores[kind]) == set(METRICS)
        assert scores[kind]["AP"] == pytest.approx(1.0)
        assert scores[kind]["APm"] == pytest.approx(1.0)  # 50 x 50 is of medium size
        assert scores[kind]["AR1"] == pytest.approx(1.0)
        assert scores[kind]["APs"] == -1  # nothing small to find


def test_a_found_and_a_missed_object_give_the_known_figures(tmp_path):
    # 50 of 60 columns of the first are covered: IoU 5/6 counts at .50 to .80, seven of the ten
    # thresholds. One of two objects found: precision 1 up to recall 1/2, 51 of 101 recall points.
    truth = ground_truth(tmp_path, [entry(1, 1, (0, 0, 60, 60)), entry(2, 2, SECOND)])
    scores = score(truth, [result(1, (0, 0, 50, 60), 0.9)])
    for kind in ("segm", "bbox"):
        assert scores[kind]["AP50"] == pytest.approx(51 / 101)
        assert scores[kind]["AP75"] == pytest.approx(51 / 101)
        assert scores[kind]["AP"] == pytest.approx(0.7 * 51 / 101)
        assert scores[kind]["AR100"] == pytest.approx(0.7 * 0.5)


def test_a_false_alarm_that_ranks_higher_halves_the_precision(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    found, alarm = result(1, FIRST, 0.5), result(2, SECOND, 0.9)
    assert score(truth, [found, alarm])["segm"]["AP"] == pytest.approx(0.5)
    assert score(truth, [found, {**alarm, "score": 0.1}])["segm"]["AP"] == pytest.approx(1.0)


def test_what_lies_in_a_crowd_is_not_a_false_alarm(tmp_path):
    crowd = entry(2, 2, (0, 0, 90, 90), iscrowd=1)
    alarms = [result(2, (5, 5, 40, 40), 0.9), result(2, (40, 40, 80, 80), 0.8)]
    found = [result(1, FIRST, 0.5), *alarms]
    with_crowd = score(ground_truth(tmp_path, [entry(1, 1, FIRST), crowd]), found)
    without = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), found)
    assert with_crowd["segm"]["AP"] == pytest.approx(1.0)
    assert without["segm"]["AP"] == pytest.approx(1 / 3)


def test_boxes_are_ranked_by_their_own_score(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    results = [result(1, FIRST, 0.9, box_score=0.5), result(2, SECOND, 0.1, box_score=0.7)]
    scores = score(truth, results)
    assert scores["segm"]["AP"] == pytest.approx(1.0)
    assert scores["bbox"]["AP"] == pytest.approx(0.5)


def test_size_classes_go_by_the_area_of_each_kind(tmp_path):
    # A cross of area 1900 in a box of 100 x 100: medium as a mask, large as a box.
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[45:55] = mask[:, 45:55] = 1
    encoded = coco_mask.encode(mask)
    cross = {"size": list(SIZE), "counts": encoded["counts"].decode()}
    wrong = result(2, (0, 0, 100, 100), 0.9) | {"segmentation": cross}
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])  # medium
    scores = score(truth, [result(1, FIRST, 0.5), wrong])
    assert scores["segm"]["APm"] == pytest.approx(0.5)
    assert scores["bbox"]["APm"] == pytest.approx(1.0)


def test_no_results_at_all_score_zero(tmp_path):
    scores = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), [])
    assert scores["segm"]["AP"] == 0
    assert scores["bbox"]["AR100"] == 0


def test_box_results_are_scored_as_boxes_alone(tmp_path):
    boxes = [{k: v for k, v in result(1, FIRST, 0.9).items() if k != "segmentation"}]
    scores = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), boxes)
    assert list(scores) == ["bbox"]
    assert scores["bbox"]["AP"] == pytest.approx(1.0)


def test_results_that_share_no_kind_of_shape_are_refused(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    box, mask = result(1, FIRST, 0.9), result(1, FIRST, 0.9)
    del box["segmentation"], mask["bbox"]
    with pytest.raises(InputError, match="no kind has all"):
        score(truth, [box, mask])


def random_data(seed):
    """Return ground truth and results in COCO's form that meet every rule of the protocol.

    There are sizes on the borders of the area ranges, crowds, scores that tie, boxes that match
    exactly or hardly, images and categories without truth, without results or without either.
    """
    rng = np.random.default_rng(seed)
    sides = np.array([8, 16, 31, 32, 33, 64, 95, 96, 97, 120])
    size = 150
    categories = [7, 3, 90, 12]  # 12 has no truth
    truth, results = [], []
    for image_id in (9, 2, 5, 40, 11):  # 40 has no truth
        for category_id in categories:
            boxes = []
            for _ in range(rng.poisson(3) if image_id != 40 and category_id != 12 else 0):
                w, h = (int(side) for side in rng.choice(sides, 2))
                x, y = (int(rng.integers(0, size - side)) for side in (w, h))
                boxes.append((x, y, x + w, y + h))
                crowd = int(rng.random() < 0.2)
                truth.append(true_object(len(truth) + 1, image_id, category_id, boxes[-1], crowd))
            moved = [
                np.clip(np.array(box) + rng.integers(-3, 4, 4) * rng.integers(0, 4), 0, size)
                for box in boxes * int(rng.integers(0, 3))
                if rng.random() < 0.8
            ]
            for _ in range(rng.poisson(2)):
                corners = np.sort(rng.integers(0, size, (2, 2)), axis=0)
                moved.append(np.array([*corners[0], *corners[1]]))
            for x0, y0, x1, y1 in np.array(moved, int).reshape(-1, 4).tolist():
                score = float(rng.random()) if seed % 2 else round(float(rng.random()), 1)
                results.append(found(image_id, category_id, (x0, y0, x1 + 1, y1 + 1), score))
    return size + 1, categories, truth, results


def mask_of(box, size=151):
    mask = np.zeros((size, size), np.uint8, order="F")
    mask[box[1] : box[3], box[0] : box[2]] = 1
    encoded = coco_mask.encode(mask)
    return {"size": [size, size], "counts": encoded["counts"].decode()}


def true_object(number, image_id, category_id, box, crowd):
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": crowd,
        "segmentation": mask_of(box),
    }


def found(image_id, category_id, box, confidence):
    x0, y0, x1, y1 = box
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in (x0, y0, x1 - x0, y1 - y0)],
        "segmentation": mask_of(box),
        "score": confidence,
    }


def by_pycocotools(document, results, kind):
    """Return the twelve figures, and precision of all areas, (T, R, K), by the reference."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, detections = COCO(), COCO()
        truth.dataset = copy.deepcopy(document)
        areas = [
            float(coco_mask.area(r["segmentation"]))
            if kind == "segm"
            else r["bbox"][2] * r["bbox"][3]
            for r in results
        ]
        detections.dataset = {
            **copy.deepcopy(document),
            "annotations": [
                {**r, "id": number, "iscrowd": 0, "area": area}
                for number, (r, area) in enumerate(zip(results, areas, strict=True), start=1)
            ],
        }
        for coco in (truth, detections):
            coco.createIndex()
        evaluation = COCOeval(truth, detections, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist(), evaluation.eval["precision"][:, :, :, 0, -1]


def assert_equal_to_pycocotools(folder, size, categories, truth, results, images):
    document = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": size, "width": size} for i in images
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in categories],
        "annotations": truth,
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(document))
    evaluations = evaluate(read_annotations(path), results)
    for kind in ("segm", "bbox"):
        figures, precision = by_pycocotools(document, results, kind)
        scores = evaluations[kind].scores
        assert list(scores.overall.values()) == figures
        assert np.array_equal(scores.precision, precision)
        for k, by_class in enumerate(scores.by_class.values()):
            of_class = precision[:, :, k][precision[:, :, k] > -1]
            assert by_class["AP"] == (np.mean(of_class) if len(of_class) else -1)


@pytest.mark.parametrize("seed", range(12))
def test_random_data_give_the_figures_of_pycocotools_to_the_last_bit(tmp_path, seed):
    assert_equal_to_pycocotools(tmp_path, *random_data(seed), (9, 2, 5, 40, 11, 77))


def test_of_more_than_100_results_in_an_image_the_first_of_equal_scores_count(tmp_path):
    rng = np.random.default_rng(0)
    truth, results = [], []
    for number in range(1, 131):
        x, y = (int(v) for v in rng.integers(0, 120, 2))
        box = (x, y, x + 30, y + 30)
        truth.append(true_object(number, 1 + number % 2, 1, box, 0))
        results.append(found(1, 1, box, round(float(rng.random()), 1)))
    assert_equal_to_pycocotools(tmp_path, 151, [1], truth, results, (1, 2))


@pytest.mark.parametrize("seed", range(3))
def test_where_many_results_contend_for_many_objects_the_figures_are_those_of_pycocotools(
    tmp_path, seed
):
    # Boxes on a coarse grid: most results overlap several objects enough, many of them equally.
    rng = np.random.default_rng(seed)
    truth, results = [], []

    def boxes(number):
        corners = rng.integers(0, 6, (number, 2)) * 4
        return [(x, y, x + 32, y + int(rng.choice([28, 32, 36]))) for x, y in corners.tolist()]

    for image_id in (4, 1, 8):
        for category_id in (2, 1):
            for box in boxes(25):
                crowd = int(rng.random() < 0.1)
                truth.append(true_object(len(truth) + 1, image_id, category_id, box, crowd))
            for box in boxes(60):
                confidence = round(float(rng.random()), 2)
                results.append(found(image_id, category_id, box, confidence))
    assert_equal_to_pycocotools(tmp_path, 151, [2, 1], truth, results, (4, 1, 8))


def test_a_single_result_that_is_right_scores_what_pycocotools_gives_it(tmp_path):
    # Its precision is 1 / (1 + 2**-52), less than 1.
    truth = [true_object(1, 1, 1, FIRST, 0), true_object(2, 1, 1, SECOND, 0)]
    results = [found(1, 1, FIRST, 0.9)]
    assert_equal_to_pycocotools(tmp_path, 151, [1], truth, results, (1,))


def test_without_results_the_figures_are_those_of_pycocotools(tmp_path):
    size, categories, truth, _ = random_data(3)
    assert_equal_to_pycocotools(tmp_path, size, categories, truth, [], (9, 2, 5, 40, 11))


def test_without_ground_truth_every_figure_says_so(tmp_path):
    size, categories, _, results = random_data(3)
    assert_equal_to_pycocotools(tmp_path, size, categories, [], results, (9, 2, 5, 40, 11))


def test_the_table_of_classes_leaves_out_those_without_ground_truth():
    figures = dict.fromkeys(METRICS, 0.5)
    by_class = {"cat": figures, "giraffe": dict.fromkeys(METRICS, -1.0), "dog": figures}
    lines = format_classes({"segm": by_class, "bbox": by_class}).splitlines()
    assert lines[0].split() == ["segm", "bbox"]
    assert lines[1].split() == ["AP", "AP50", "AP75", "AR100"] * 2
    assert [line.split() for line in lines[2:4]] == [
        ["cat", *["0.500"] * 8],
        ["dog", *["0.500"] * 8],
    ]
    assert lines[4] == "(1 classes without ground truth)"


def without_mask(annotation):
    return {k: v for k, v in annotation.items() if k != "segmentation"}


def test_boxes_alone_are_scored_as_boxes_alone(tmp_path):
    truth = ground_truth(tmp_path, [without_mask(entry(1, 1, FIRST))])
    scores = score(truth, [result(1, FIRST, 0.9)])
    assert set(scores) == {"bbox"}
    assert scores["bbox"]["AP"] == pytest.approx(1.0)


def test_beside_masks_an_object_known_by_its_box_is_neither_missed_nor_a_false_alarm(tmp_path):
    objects = [entry(1, 1, FIRST), without_mask(entry(2, 2, SECOND))]
    truth = ground_truth(tmp_path, objects)
    found = [result(1, FIRST, 0.5), result(2, SECOND, 0.9)]
    for results in (found, found[:1]):
        assert score(truth, results)["segm"]["AP"] == pytest.approx(1.0)
    assert score(truth, found)["bbox"]["AP"] == pytest.approx(1.0)
    assert score(truth, found[:1])["bbox"]["AP"] == pytest.approx(51 / 101)


def test_results_of_a_class_that_is_not_known_in_their_image_do_not_count(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    found, alarm = result(1, FIRST, 0.5), result(2, SECOND, 0.9)
    assert score(truth, [found, alarm])["segm"]["AP"] == pytest.approx(0.5)
    first, second = truth.images[:2]
    ignorant = dataclasses.replace(second, known_labels=frozenset())
    partial = dataclasses.replace(truth, images=(first, ignorant, *truth.images[2:]))
    assert score(partial, [found, alarm])["segm"]["AP"] == pytest.approx(1.0)

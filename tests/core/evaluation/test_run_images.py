import dataclasses
import json
from itertools import chain

import cv2
import numpy as np
import pytest
from coco_cases import FakePredictor
from coco_squares import write_squares

from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import score
from sipmask_core.evaluation.run_images import ahead, detect


def detections(predictor, annotations, images, workers=2):
    return list(chain(*(d.results for d in detect(predictor, annotations, images, workers))))


def test_a_predictor_that_sees_everything_scores_one(tmp_path):
    path, images = write_squares(tmp_path)
    annotations = read_annotations(path)
    results = detections(FakePredictor(), annotations, images)
    assert [r["image_id"] for r in results] == [1, 2, 3, 4, 5]  # the sixth image is empty
    assert {r["category_id"] for r in results} == {3}
    assert json.loads(json.dumps(results)) == results
    assert score(annotations, results)["segm"]["AP"] == pytest.approx(1.0)


def test_a_model_without_the_classes_of_the_file_is_refused(tmp_path):
    path, images = write_squares(tmp_path)
    annotations = dataclasses.replace(read_annotations(path), class_names=("circle",))
    with pytest.raises(InputError, match="none of the model's classes: it has 'circle'"):
        detections(FakePredictor(), annotations, images)


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    path, images = write_squares(tmp_path)
    cv2.imwrite(str(images / "001.png"), np.zeros((40, 60, 3), np.uint8))
    complaint = r"001\.png has 40 x 60 pixels, the annotations say 80 x 80"
    with pytest.raises(InputError, match=complaint):
        detections(FakePredictor(), read_annotations(path), images)


def test_the_number_of_workers_changes_neither_order_nor_results(tmp_path):
    path, images = write_squares(tmp_path)
    annotations = read_annotations(path)
    one, many = (detections(FakePredictor(), annotations, images, n) for n in (1, 5))
    assert one == many and len(one) == 5


def test_damaged_images_are_all_named_before_the_run(tmp_path):
    path, images = write_squares(tmp_path)
    (images / "001.png").write_bytes((images / "001.png").read_bytes()[:-20])
    (images / "003.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"2 of 6 images .*001\.png is cut off.*003\.png cannot"):
        next(detect(FakePredictor(), read_annotations(path), images))


def test_damage_amid_an_image_ends_the_run_when_its_turn_comes(tmp_path):
    path, images = write_squares(tmp_path)
    content = bytearray((images / "003.png").read_bytes())
    content[len(content) // 2] ^= 255
    (images / "003.png").write_bytes(content)
    seen = []
    with pytest.raises(InputError, match=r"003\.png cannot be decoded"):
        for image in detect(FakePredictor(), read_annotations(path), images):
            seen.append(image.image_id)
    assert seen == [1, 2, 3]


def test_each_stage_of_each_image_is_timed(tmp_path):
    path, images = write_squares(tmp_path)
    found = list(detect(FakePredictor(), read_annotations(path), images))
    assert all(set(image.seconds) >= {"decode"} for image in found)
    assert all(min(image.seconds.values()) >= 0 for image in found)


def test_items_are_worked_off_ahead_in_order_but_not_without_bound():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    results = ahead(lambda number: number**2, items(), workers=2)
    assert next(results) == 0
    assert len(taken) == 5  # the one that was asked for, and two for each worker
    assert list(results) == [number**2 for number in range(1, 20)]

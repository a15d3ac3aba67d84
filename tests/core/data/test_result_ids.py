"""Results whose file numbers images and classes in its own way."""

import gzip
import json
from dataclasses import replace

import pytest
from coco_cases import FIRST, SECOND, entry, ground_truth, result

from sipmask_core.data.coco_results import read_results, suspicion
from sipmask_core.errors import AvoidableError, InputError
from sipmask_core.evaluation.coco import score


@pytest.fixture
def truth(tmp_path):
    """Two images, 1.png and 2.png with ids 1 and 2, and the category 4, square."""
    return ground_truth(tmp_path, [entry(1, 1, FIRST), entry(2, 2, SECOND)])


def write(folder, images, results, categories=None):
    """Write results as `sipmask predict --json` does. images: {id: file name}."""
    content = {
        "annotations": results,
        "images": [{"id": number, "file_name": name} for number, name in images.items()],
        "categories": [{"id": i, "name": n} for i, n in (categories or {4: "square"}).items()],
    }
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "images",
    [
        {1: "1.png", 2: "2.png"},
        {2: "1.png", 1: "2.png"},
        {77: "1.png", 78: "2.png"},
        {2: "/data/photos/1.png", 1: "photos\\2.png"},
        {2: "1.jpg", 1: "2.jpg"},
        {"a": "1.png", 0: "2.png"},
    ],
)
def test_images_are_matched_by_name_if_ids_disagree(tmp_path, truth, images):
    of = {name[-5]: number for number, name in images.items()}
    path = write(tmp_path, images, [result(of["1"], FIRST, 0.9), result(of["2"], SECOND, 0.8)])
    found = read_results(path, truth)
    assert [r["image_id"] for r in found] == [1, 2]
    assert score(truth, found)["segm"]["AP"] == pytest.approx(1.0)


def test_a_name_beside_each_result_serves_as_well(tmp_path, truth):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result("2", SECOND, 0.9, file_name="2.png")]))
    assert [r["image_id"] for r in read_results(path, truth)] == [2]


@pytest.mark.parametrize(
    "second",
    [
        {"image_id": "2"},
        {"image_id": 2.0},
        {"image_id": "2.png"},
        {"image_id": "photos/2.png"},
        {"image_id": "2", "category_id": "4"},
        {"image_id": 2, "category_id": "square"},
    ],
)
def test_ids_may_be_names_and_numbers_written_otherwise(tmp_path, truth, second):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**result(1, SECOND, 0.9), **second}]))
    (found,) = read_results(path, truth)
    assert (found["image_id"], found["category_id"]) == (2, 4)


def test_text_ids_of_the_annotations_are_known_to_results(tmp_path, truth):
    truth = replace(truth, text_ids={"0a1": 2})
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result("0a1", SECOND, 0.9), result(1, FIRST, 0.8)]))
    assert [r["image_id"] for r in read_results(path, truth)] == [2, 1]


def test_a_file_name_alone_says_which_image_is_meant(tmp_path, truth):
    found = result(None, SECOND, 0.9)
    del found["image_id"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**found, "file_name": "2.png"}]))
    assert [r["image_id"] for r in read_results(path, truth)] == [2]
    path.write_text(json.dumps([{**found, "file_name": "9.png"}]))
    with pytest.raises(InputError, match=r"result 0\.file_name is '9\.png', not in the annot"):
        read_results(path, truth)


def test_a_stem_with_zeros_is_a_name_and_not_the_id_of_another_image(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST), entry(2, 2, SECOND)])
    one, two = (
        replace(i, file_name=n) for i, n in zip(truth.images, ["002.png", "001.png"], strict=True)
    )
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result("001", SECOND, 0.9)]))
    assert read_results(path, replace(truth, images=(one, two)))[0]["image_id"] == 2


@pytest.mark.parametrize(("corners", "is_told"), [(False, False), (True, True)])
def test_boxes_of_results_that_are_corners_are_told(tmp_path, truth, corners, is_told):
    results = [result(1, FIRST, 0.9), result(2, SECOND, 0.8)]
    for each in results:
        x, y, w, h = each["bbox"]
        each["bbox"] = [x, y, x + w, y + h] if corners else [x, y, w, h]
    path = write(tmp_path, {}, results)
    assert ("as x0, y0, x1, y1" in suspicion(read_results(path, truth))) is is_told


@pytest.mark.parametrize("images", [{5: "left/1.png", 6: "right/1.png"}, {5: "1.png", 6: "1.jpg"}])
def test_names_that_may_mean_the_same_image_are_refused(tmp_path, truth, images):
    path = write(tmp_path, images, [result(5, FIRST, 0.9), result(6, FIRST, 0.8)])
    with pytest.raises(InputError, match=r"may both be '1\.png' of the annotations"):
        read_results(path, truth)


def test_classes_are_matched_by_name_and_those_that_are_unknown_left_out(tmp_path, truth):
    results = [result(1, FIRST, 0.9, category_id=1), result(1, SECOND, 0.8, category_id=4)]
    path = write(tmp_path, {1: "1.png"}, results, {1: "Square ", 4: "disc", 9: "unused"})
    (found,) = read_results(path, truth)
    assert (found["category_id"], found["score"]) == (4, 0.9)
    path = write(tmp_path, {1: "1.png"}, results, {1: "disc", 4: "ring"})
    with pytest.raises(InputError, match="it has 'square', the model knows 'disc', 'ring'"):
        read_results(path, truth)


@pytest.mark.parametrize("named", [False, True])
def test_results_of_more_images_are_scored_on_request_only(tmp_path, truth, named):
    images = {1: "1.png", 2: "2.png", 9: "9.png"}
    results = [result(9, FIRST, 0.9), result(2, SECOND, 0.8)]
    path = write(tmp_path, images if named else {}, results)
    with pytest.raises(AvoidableError, match=r"result 0\.image_id is 9, .* as are 1 of 2 results"):
        read_results(path, truth)
    assert [r["image_id"] for r in read_results(path, truth, subset=True)] == [2]


def test_results_of_other_images_alone_are_never_scored(tmp_path, truth):
    path = write(tmp_path, {1: "a.png", 2: "b.png"}, [result(1, FIRST, 0.9)])
    with pytest.raises(InputError, match="image_id is 1, not in the annotations"):
        read_results(path, truth, subset=True)


def test_results_may_be_compressed(tmp_path, truth):
    path = tmp_path / "results.json.gz"
    path.write_bytes(gzip.compress(json.dumps([result(1, FIRST, 0.9)]).encode()))
    assert len(read_results(path, truth)) == 1

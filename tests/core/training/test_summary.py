"""What is told, and refused, before the first step of a training."""

import json

import pytest
from coco_documents import document, read

from sipmask_core.errors import InputError
from sipmask_core.training.summary import summary


def annotations_of(folder, *changes, images=1):
    content = document()
    (image,), (first,) = content["images"], content["annotations"]
    content["images"] = [{**image, "id": i, "file_name": f"{i}.png"} for i in range(1, images + 1)]
    content["annotations"] = [{**first, "id": i, **c} for i, c in enumerate(changes, 1)]
    return read(folder, json.dumps(content))


CROWD = {"iscrowd": 1}
THIN = {"segmentation": None, "bbox": [1, 2, 0.5, 9]}
EMPTY = {"segmentation": {"size": [60, 80], "counts": [4800]}, "area": 0}
UNSURE = {"segmentation": None, "iscrowd": 1}


def test_what_is_learnt_and_what_is_not_is_counted_by_class(tmp_path):
    dog, box = {"category_id": 2}, {"segmentation": None}
    training = annotations_of(
        tmp_path, {}, box, {"image_id": 2}, dog, CROWD, UNSURE, THIN, EMPTY, CROWD, images=4
    )
    text = summary(training, annotations_of(tmp_path, {}, {}, images=2)).splitlines()
    assert text[0] == "Images to learn from: 4, 2 of them without objects; to validate on: 2."
    assert text[1].split() == ["objects", "boxes", "alone", "images", "to", "validate"]
    assert [line.split() for line in text[2:4]] == [
        ["cat", "3", "1", "2", "2"],
        ["dog", "1", "0", "1", "0"],
    ]
    assert text[4] == (
        "Not learnt from: crowds (2), doubtful boxes (1), objects less than a pixel wide or high"
        " (1), empty masks (1)."
    )
    assert text[5:] == ["3 objects have masks to learn from, 1 a box alone."]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([], "the images to train on, 1, have no object"),
        ([CROWD] * 5, r"have only crowds \(5\)"),
        (
            [EMPTY, EMPTY, THIN],
            r"only empty masks \(2\), objects less than a pixel .*",
        ),
        ([UNSURE], r"only doubtful boxes \(1\)"),
    ],
)
def test_a_training_that_would_learn_nothing_is_refused(tmp_path, changes, complaint):
    nothing = annotations_of(tmp_path, *changes)
    with pytest.raises(InputError, match=rf"instances\.json: there is nothing .*{complaint}\."):
        summary(nothing, nothing)


def test_classes_and_validation_without_objects_are_named(tmp_path):
    text = summary(annotations_of(tmp_path, {}), annotations_of(tmp_path, CROWD))
    assert "Without an object to learn from, 1 of 2 classes: dog." in text
    assert "No image to validate on has an object: there will be no AP." in text


def test_of_many_classes_the_most_frequent_have_lines(tmp_path):
    content = document()
    content["categories"] = [{"id": i, "name": f"class {i}"} for i in range(1, 101)]
    (first,) = content["annotations"]
    content["annotations"] = [
        {**first, "id": 100 * i + n, "category_id": i} for i in range(1, 41) for n in range(i)
    ]
    text = summary(read(tmp_path, content), read(tmp_path, content))
    assert len(text.splitlines()) == 1 + 1 + 20 + 2
    assert "\nclass 40 " in text and "class 20 " not in text
    assert "(and 20 classes with fewer objects)" in text
    assert "60 of 100 classes: class 41, " in text and text.endswith("class 60, ...")

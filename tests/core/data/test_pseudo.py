import json

import pytest
from coco_documents import write_boxes

from sipmask_core.data.coco import read_annotations
from sipmask_core.data.pseudo import add_pseudo_labels
from sipmask_core.errors import InputError

CHAIR = 62


def made(folder, found, *, use=0.5, unsure=0.3):
    """Return annotations of one person with the teacher's findings added, and their counts."""
    write_boxes(folder, "people", ["person"], {1: "a.png", 2: "b.png"}, [(1, "person")])
    (folder / "found.json").write_text(json.dumps(found))
    document, counts = add_pseudo_labels(folder / "people.json", folder / "found.json", use, unsure)
    (folder / "all.json").write_text(json.dumps(document))
    return read_annotations(folder / "all.json"), counts


def teacher(*boxes, name="a"):
    categories = [{"id": 1, "name": "person"}, {"id": CHAIR, "name": "chair"}]
    return {"categories": categories, "boxes": {name: list(boxes)}}


def test_scores_decide_between_object_uncertain_and_nothing(tmp_path):
    found = teacher(
        [CHAIR, 20, 20, 10, 10, 0.5],
        [CHAIR, 30, 20, 10, 10, 0.49],
        [CHAIR, 40, 20, 9, 9, 0.3],
        [CHAIR, 20, 40, 9, 9, 0.29],
    )
    annotations, counts = made(tmp_path, found)
    assert counts == {"used": 1, "unsure": 2, "low": 1, "overlapping": 0}
    _, used, *unsure = annotations.images[0].objects
    assert used.bbox == (20, 20, 10, 10) and not used.is_crowd and not used.has_mask
    assert annotations.class_names[used.label] == "chair"
    assert all(o.is_crowd and not o.has_mask for o in unsure) and len(unsure) == 2


def test_a_box_on_a_true_object_of_its_class_is_left_out(tmp_path):
    # The true person lies at 1 to 10.
    found = teacher([1, 0, 0, 30, 30, 0.9], [1, 30, 30, 9, 9, 0.9], [CHAIR, 1, 1, 9, 9, 0.9])
    annotations, counts = made(tmp_path, found)
    assert counts == {"used": 2, "unsure": 0, "low": 0, "overlapping": 1}
    names = [annotations.class_names[o.label] for o in annotations.images[0].objects]
    assert names == ["person", "person", "chair"]


def test_images_whose_ids_are_texts_keep_them(tmp_path):
    write_boxes(tmp_path, "people", ["person"], {"0a": "a.png", "0b": "b.png"}, [("0a", "person")])
    found = teacher([CHAIR, 20, 20, 10, 10, 0.5], name="b")
    (tmp_path / "found.json").write_text(json.dumps(found))
    document, _ = add_pseudo_labels(tmp_path / "people.json", tmp_path / "found.json", 0.5, 0.3)
    assert [entry["image_id"] for entry in document["annotations"]] == ["0a", "0b"]
    document["categories"] = [{"id": "one", "name": "person"}]
    document["annotations"] = []
    (tmp_path / "people.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="ids of categories are texts"):
        add_pseudo_labels(tmp_path / "people.json", tmp_path / "found.json", 0.5, 0.3)


def test_the_file_counts_as_annotated_for_all_classes_of_the_teacher(tmp_path):
    annotations, _ = made(tmp_path, teacher(name="elsewhere"))
    assert annotations.class_names == ("person", "chair")


def test_coco_results_are_taken_with_cocos_ids(tmp_path):
    found = [
        {"image_id": 2, "category_id": CHAIR, "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
    ]
    annotations, counts = made(tmp_path, found)
    assert counts["used"] == 1
    (chair,) = annotations.images[1].objects
    assert annotations.class_names[chair.label] == "chair"


def test_results_that_name_images_and_classes_are_taken_by_name(tmp_path):
    found = {
        "images": [{"id": 7, "file_name": "photos/b.png"}],
        "categories": [{"id": 1, "name": "chair"}, {"id": 2, "name": "sofa"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}],
    }
    annotations, counts = made(tmp_path, found)
    assert counts["used"] == 1 and annotations.class_names == ("person", "chair", "sofa")
    (chair,) = annotations.images[1].objects
    assert annotations.class_names[chair.label] == "chair"


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"boxes": 1}, "neither COCO results nor"),
        ({**teacher(), "categories": None}, "'categories' is no list"),
        (teacher([1, 2, 3]), r"boxes\['a'\]\[0\] is \[1, 2, 3\]"),
        (teacher([7, 1, 2, 3, 4, 0.5]), "has category 7"),
        (teacher([[1], 1, 2, 3, 4, 0.5]), "has category"),
        (teacher([1, 1, 2, -3, 4, 0.5]), "expected are four numbers"),
        ([{"image_id": 1, "category_id": 1, "score": 0.5}], "has the box None"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}], "the score None"),
    ],
)
def test_malformed_results_are_named(tmp_path, found, complaint):
    with pytest.raises(InputError, match=complaint):
        made(tmp_path, found)


def test_thresholds_out_of_order_are_refused(tmp_path):
    with pytest.raises(InputError, match="must not be higher"):
        made(tmp_path, teacher(), use=0.3, unsure=0.4)

import copy

import pytest
from coco_documents import document, read
from coco_squares import write_squares

from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError


def test_labels_follow_rising_category_ids(tmp_path):
    annotations = read(tmp_path, document())
    assert annotations.class_names == ("dog", "cat")
    assert annotations.category_ids == (2, 7)
    assert annotations.images[0].objects[0].label == 1


def test_missing_box_and_area_come_from_the_mask(tmp_path):
    content = document()
    del content["annotations"][0]["bbox"], content["annotations"][0]["area"]
    (coco_object,) = read(tmp_path, content).images[0].objects
    assert coco_object.bbox == (10, 20, 20, 30)
    assert coco_object.area == 600


@pytest.mark.parametrize(
    "given", [*({"segmentation": none} for none in ([], [[]], {}, "", None)), {}]
)
def test_an_object_without_a_mask_is_known_by_its_box(tmp_path, given):
    content = document(**given, area=None)
    if not given:
        del content["annotations"][0]["segmentation"]
    annotations = read(tmp_path, content)
    (coco_object,) = annotations.images[0].objects
    assert not coco_object.has_mask and not coco_object.is_crowd
    assert coco_object.bbox == (10, 20, 20, 30) and coco_object.area == 600
    assert annotations.masks == (0, 1)


def test_a_doubtful_mask_beside_a_box_of_one_object_leaves_that_box(tmp_path):
    content = document(iscrowd=1, voc_box=[5, 6, 7, 8])
    content["annotations"].append({**document()["annotations"][0], "id": 6, "iscrowd": 1})
    doubtful, crowd = read(tmp_path, content).images[0].objects
    assert (doubtful.has_mask, doubtful.is_crowd, doubtful.bbox) == (False, False, (5, 6, 7, 8))
    assert doubtful.area == 56
    assert crowd.has_mask and crowd.is_crowd


@pytest.mark.parametrize(
    ("fields", "track_id"),
    [
        ({}, None),
        ({"track_id": 4}, 4),
        ({"attributes": {"track_id": 4, "occluded": False}}, 4),
        ({"track_id": "left", "attributes": None}, None),
    ],
)
def test_a_track_id_is_read_where_trackers_and_cvat_write_it(tmp_path, fields, track_id):
    (coco_object,) = read(tmp_path, document(**fields)).images[0].objects
    assert coco_object.track_id == track_id


BROKEN = {
    "no JSON": ("{", "not valid JSON"),
    "no list of classes": ({**document(), "categories": {"7": 1}}, r"{'7': 1}, not a list of obj"),
    "a list": ([], r"holds \[\]; expected an object"),
    "no images": ({**document(), "images": []}, "'images' is empty"),
    "unknown image": (document(image_id=9), r"annotations\[id=5\]\.image_id is 9"),
    "unknown category": (document(category_id=1), r"annotations\[id=5\]\.category_id is 1"),
    "text for a number": (document(image_id="one"), r"\.image_id is 'one', expected an integer"),
    "a box of three": (document(bbox=[1, 2, 3]), r"annotations\[id=5\]\.bbox is \[1, 2, 3\]"),
    "a box with NaN": (document(bbox=[1, 2, 3, float("nan")]), "expected four finite numbers"),
    "a box too large for a float": (document(bbox=[1, 2, 3, 10**400]), "expected four finite"),
    "a negative box": (document(bbox=[1, 2, -3, 4]), "negative size"),
    "a text box": (document(bbox="1234"), r"\.bbox is '1234'"),
    "an odd polygon": (document(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), r"\.segmentation is "),
    "a line": (document(segmentation=[[1, 2, 3, 4]]), "three or more points"),
    "a corner far away": (
        document(segmentation=[[1, 2, 3, 4, 5, 1e9]]),
        r"\.segmentation is .* no further beyond the image than it is wide \(80\) and high \(60\)",
    ),
    "a box far away": (
        document(segmentation=None, bbox=[1e300, 0, 5, 5]),
        r"\.bbox is .* no further beyond the image than it is wide \(80\) and high \(60\)",
    ),
    "an image too large": (
        {**document(), "images": [{"id": 1, "file_name": "a", "height": 60, "width": 2**16}]},
        r"images\[id=1\]\.height and width are 60 and 65536, expected at most 65535",
    ),
    "no shape": (document(segmentation=[], bbox=None), "segmentation and .* are missing"),
    "no mask and half a box": (document(segmentation=None, bbox=[1, 2]), r"\.bbox is \[1, 2\]"),
    "a mask of text": (document(segmentation="10 20"), "expected polygons or an RLE"),
    "half a box of a doubtful mask": (document(iscrowd=1, voc_box=[1, 2]), r"\.voc_box is"),
    "an RLE of another size": (
        document(segmentation={"size": [80, 60], "counts": [4800]}),
        r"\.segmentation\.size is \[80, 60\], expected \[60, 80\]",
    ),
    "two categories of one name": (
        {
            **document(),
            "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "cat"}],
            "annotations": [
                {**document()["annotations"][0], "id": i, "category_id": i} for i in (2, 7)
            ],
        },
        r"categories\[id=7\]\.name is 'cat', which another category has, too",
    ),
    "a crowd of two": (document(iscrowd=2), r"\.iscrowd is 2, expected 0 or 1"),
}


@pytest.mark.parametrize(("content", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_malformed_annotations_are_named_by_file_entry_and_field(tmp_path, content, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        read(tmp_path, content)
    assert "instances.json" in str(caught.value)


@pytest.mark.parametrize("section", ["images", "annotations"])
def test_an_entry_that_is_listed_twice_is_refused(tmp_path, section):
    content = document()
    content[section].append(copy.deepcopy(content[section][0]))
    with pytest.raises(InputError, match="listed twice"):
        read(tmp_path, content)


def test_a_list_of_images_is_read_where_no_truth_is_needed(tmp_path):
    content = document()
    assert read(tmp_path, content).has_truth
    del content["annotations"]
    with pytest.raises(InputError, match="'annotations' is missing"):
        read(tmp_path, content)
    annotations = read_annotations(tmp_path / "instances.json", need_truth=False)
    assert not annotations.has_truth and annotations.images[0].objects == ()


def test_a_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read annotations .*nothing\.json"):
        read_annotations(tmp_path / "nothing.json")


def test_a_split_divides_the_images(tmp_path):
    annotations, _ = write_squares(tmp_path, count=6)
    everything = read_annotations(annotations)
    train, validation = everything.split(2)
    assert len(train.images) == 4
    assert len(validation.images) == 2
    divided = [image.id for image in (*train.images, *validation.images)]
    assert sorted(divided) == [image.id for image in everything.images]

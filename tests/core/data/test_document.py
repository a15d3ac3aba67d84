"""Annotation files as tools export them, of images and of videos."""

import copy
import gzip
import json
import re
import unicodedata

import cv2
import numpy as np
import pytest
from coco_documents import SQUARE, document, read
from moving_squares import write_videos

from sipmask_core.data.coco import read_annotations, require_images
from sipmask_core.data.document import OtherFormatError
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import AvoidableError, InputError


def annotations_of(*changes):
    """Return a document with an annotation for each dict of changes."""
    content = document()
    (first,) = content["annotations"]
    content["annotations"] = [{**first, "id": i, **c} for i, c in enumerate(changes, 1)]
    return content


def only_object(folder, **annotation):
    (found,) = read(folder, document(**annotation)).images[0].objects
    return found


@pytest.mark.parametrize("ids", [(0, 1), (2**64 + 5, 2**90), (None, None), ("a-1", "a-2"), (7, 7)])
def test_annotation_ids_may_be_anything_and_objects_are_counted(tmp_path, ids):
    content = annotations_of({"id": ids[0]}, {"id": ids[1], "category_id": 2})
    assert [o.id for o in read(tmp_path, content).images[0].objects] == [1, 2]


@pytest.mark.parametrize("number", ["1", 1.0])
def test_numbers_that_are_written_otherwise_are_numbers(tmp_path, number):
    content = document(image_id=number)
    content["images"][0] |= {"id": number, "height": "60", "width": 80.0}
    (image,) = read(tmp_path, content).images
    assert (image.id, image.height, image.width, len(image.objects)) == (1, 60, 80, 1)


def test_ids_of_images_and_classes_may_be_texts(tmp_path):
    content = annotations_of({"image_id": "0a1", "category_id": "dog"}, {"image_id": 4})
    (image,) = content["images"]
    content["images"] = [{**image, "id": "0a1"}, {**image, "id": "4", "file_name": "b.png"}]
    content["categories"] = [{"id": "dog", "name": "a dog"}, {"id": 7, "name": "cat"}]
    annotations = read(tmp_path, content)
    assert annotations.text_ids == {"0a1": 5} and annotations.class_names == ("cat", "a dog")
    assert [(i.id, [o.label for o in i.objects]) for i in annotations.images] == [
        (5, [1]),
        (4, [0]),
    ]
    assert "Ids of images that are texts stand for numbers here, '0a1' for 5: 1 of 2." in (
        annotations.notes
    )
    content["annotations"][0]["image_id"] = "0a2"
    with pytest.raises(InputError, match=r"\[id=1\]\.image_id is '0a2', expected an integer"):
        read(tmp_path, content)


def test_a_track_id_beyond_64_bits_still_fits_a_tensor(tmp_path):
    assert only_object(tmp_path, track_id=2**64 + 5).track_id == 5
    assert only_object(tmp_path, track_id=2**63 - 1).track_id == 2**63 - 1


@pytest.mark.parametrize(("value", "crowd"), [(None, False), ("0", False), ("1", True)])
def test_iscrowd_may_be_null_or_text(tmp_path, value, crowd):
    assert only_object(tmp_path, iscrowd=value).is_crowd is crowd


@pytest.mark.parametrize("area", [0, None, -600])
def test_an_area_that_says_nothing_comes_from_the_mask(tmp_path, area):
    assert only_object(tmp_path, area=area).area == 600


def test_a_box_without_extent_beside_a_mask_comes_from_the_mask(tmp_path):
    assert only_object(tmp_path, bbox=[0, 0, 0, 0]).bbox == (10, 20, 20, 30)


@pytest.mark.parametrize(
    "segmentation", [SQUARE, [SQUARE, [12, 25]], [[], SQUARE], [[1, 2, 3, 4], SQUARE]]
)
def test_flat_lists_are_polygons_and_points_beside_polygons_are_dropped(tmp_path, segmentation):
    assert only_object(tmp_path, segmentation=segmentation).segmentation == [SQUARE]


PAIRS = [SQUARE[i : i + 2] for i in range(0, len(SQUARE), 2)]


@pytest.mark.parametrize("segmentation", [PAIRS, [PAIRS], [PAIRS, [[1, 2], [3, 4]]]])
def test_points_may_stand_in_lists_of_their_own(tmp_path, segmentation):
    assert only_object(tmp_path, segmentation=segmentation).segmentation == [SQUARE]


RUNS = {"size": [60, 80], "counts": [620, 30, 4150]}


@pytest.mark.parametrize("rle", [[RUNS], {**RUNS, "counts": [620.0, 30.0, 4150.0]}])
def test_run_lengths_may_stand_in_a_list_and_be_written_as_floats(tmp_path, rle):
    plain = only_object(tmp_path, segmentation=RUNS)
    assert only_object(tmp_path, segmentation=rle) == plain and plain.has_mask


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [5, 7, 0, 0], []])
@pytest.mark.parametrize("mask", [[], None, [[]]])
def test_an_empty_box_with_an_empty_mask_marks_an_image_without_objects(tmp_path, box, mask):
    annotations = read(tmp_path, document(bbox=box, segmentation=mask, area=0))
    assert annotations.images[0].objects == ()
    assert annotations.notes == ("Annotations without box and mask, which are no objects: 1.",)


ROOT, PERSON = {"id": 0, "name": "people", "supercategory": "none"}, {"id": 1, "name": "person"}


@pytest.mark.parametrize("name", ["people", "person"])
def test_the_root_of_roboflow_is_no_class(tmp_path, name):
    content = document(category_id=1)
    content["categories"] = [{**ROOT, "name": name}, {**PERSON, "supercategory": name}]
    annotations = read(tmp_path, content)
    assert (annotations.class_names, annotations.category_ids) == (("person",), (1,))
    assert annotations.images[0].objects[0].label == 0
    assert f"The category '{name}' (id 0) stands for others" in annotations.notes[0]


@pytest.mark.parametrize(
    "categories",
    [
        # The root is annotated, has a parent itself, or nobody is below it.
        [{**ROOT, "id": 7}, {**PERSON, "supercategory": "people"}],
        [{**ROOT, "supercategory": "beings"}, {**PERSON, "id": 7, "supercategory": "people"}],
        [ROOT, {**PERSON, "id": 7, "supercategory": "none"}],
    ],
)
def test_other_classes_without_objects_stay(tmp_path, categories):
    annotations = read(tmp_path, {**document(), "categories": categories})
    assert set(annotations.class_names) == {"people", "person"}


def test_a_gzip_file_is_read_and_its_own_bytes_are_hashed(tmp_path):
    path = tmp_path / "instances.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document()).encode()))
    assert len(read_annotations(path).images) == 1
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="gzip file that cannot be unpacked"):
        read_annotations(path)


def test_lvis_names_files_by_address_and_knows_some_classes_of_each_image(tmp_path):
    content = document()
    content["images"][0] |= {
        "file_name": None,
        "coco_url": "http://images.cocodataset.org/train2017/a.png",
        "neg_category_ids": [2],
        "not_exhaustive_category_ids": [7],
    }
    (image,) = read(tmp_path, content).images
    assert image.file_name == "train2017/a.png"
    assert image.known_labels == {0}  # dog is absent; not all cats are annotated
    content["images"][0]["not_exhaustive_category_ids"] = []
    assert read(tmp_path, content).images[0].known_labels == {0, 1}


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ("photos\\a.png", "photos/a.png"),
        ("photos\\a.png", "a.png"),
        ("C:\\work\\photos\\a.png", "a.png"),
        ("train2017/a.png", "a.png"),
        (unicodedata.normalize("NFD", "Zoë é.png"), unicodedata.normalize("NFC", "Zoë é.png")),
        (unicodedata.normalize("NFC", "Zoë é.png"), unicodedata.normalize("NFD", "Zoë é.png")),
        ("a\\b.png", "a\\b.png"),
        ("my%20photo.png", "my photo.png"),
        ("100%.png", "100%.png"),
        ("https://host/x/my%20photo.png?signature=a/b", "my photo.png"),
        ("/data/local-files/?d=photos/a.png", "photos/a.png"),
        ("/data/local-files/?d=photos/a.png", "a.png"),
        ("s3://bucket/[x/a.png", "a.png"),
    ],
)
def test_files_are_found_whatever_machine_named_them(tmp_path, listed, stored):
    content = document()
    content["images"][0]["file_name"] = listed
    path = tmp_path / stored
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.zeros((60, 80), np.uint8))
    annotations = read(tmp_path, content)
    require_images(annotations, tmp_path)
    assert annotations.files(tmp_path) == [path]


def test_two_names_of_one_file_are_refused_and_names_too_long_are_missing(tmp_path):
    content = document()
    names = ["left/a.png", "right/a.png", "b" * 5000]
    (image,) = content["images"]
    content["images"] = [{**image, "id": i, "file_name": n} for i, n in enumerate(names, 1)]
    (tmp_path / "a.png").touch()
    annotations = read(tmp_path, content)
    with pytest.raises(InputError, match=r"left/a\.png and right/a\.png, and for both there is on"):
        require_images(annotations, tmp_path)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.png").touch()
    with pytest.raises(InputError, match="1 of 3 images"):
        require_images(annotations, tmp_path)


@pytest.mark.parametrize("stored", ["A.png", "a.JPG", "a.webp"])
def test_a_missing_image_is_told_with_what_is_there_in_its_place(tmp_path, stored):
    (tmp_path / stored).touch()
    with pytest.raises(InputError, match=rf"a\.png for one; {stored} is there\."):
        require_images(read(tmp_path, document()), tmp_path)


WRONG = (
    [{"bbox": [1, 2, 3]}] * 7
    + [{}, {"category_id": 9}, {"bbox": [1, 2, -3, 4]}, {"category_id": 8, "id": None}]
    + [{"segmentation": {"size": [9, 9], "counts": [81]}}]
)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04", "is a zip archive: unpack it"), (None, "is no folder that is there")],
)
def test_what_is_no_folder_of_images_is_told(tmp_path, content, what):
    if content:
        (tmp_path / "images").write_bytes(content)
    with pytest.raises(InputError, match=f"images {what}.*; expected the folder of the images"):
        require_images(read(tmp_path, document()), tmp_path / "images")


def test_problems_are_told_in_one_go_by_kind_with_number_and_first_ids(tmp_path):
    with pytest.raises(InputError) as caught:
        read(tmp_path, annotations_of(*WRONG))
    assert str(caught.value) == (
        f"{tmp_path / 'instances.json'}: 11 of 12 annotations cannot be used:"
        " 7 as annotations[id=1].bbox is [1, 2, 3], expected four finite numbers"
        " (ids 1, 2, 3, 4, 5, ...);"
        " 2 as annotations[id=9].category_id is 9, which 'categories' lacks (ids 9, 10);"
        " annotations[id=10].bbox is [1, 2, -3, 4], which has a negative size;"
        " annotations[id=12].segmentation.size is [9, 9], expected [60, 80]."
        " skip_invalid=True leaves such objects out."
    )
    assert isinstance(caught.value, AvoidableError)


def test_problems_of_images_are_told_in_one_go_and_cannot_be_skipped(tmp_path):
    content = document()
    (image,) = content["images"]
    content["images"] = [image, {**image, "id": 2}, {**image, "id": None}, {**image, "height": 0}]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"3 of 4 images cannot be used: .*images\[2\]\.id") as got:
        read_annotations(path, skip_invalid=True)
    assert "images[id=2].file_name is a.png, which is listed twice" in str(got.value)


def test_what_cannot_be_used_is_left_out_on_request_and_counted(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(annotations_of(*WRONG)))
    annotations = read_annotations(path, skip_invalid=True)
    assert [o.id for o in annotations.images[0].objects] == [8]
    (note,) = annotations.notes
    assert note.startswith("Annotations left out: 11 of 12: 7 as annotations[id=1].bbox is")


CORNERS = [10, 20, 30, 50]  # of SQUARE


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ([{}] * 3, None),
        ([{"bbox": [8, 18, 24, 34]}] * 3, None),  # drawn loosely
        ([{"bbox": CORNERS}] * 2 + [{}], r"2 of 3 boxes disagree .*; as x0, y0, x1, y1 they would"),
        ([{"bbox": [50, 5, 20, 30]}, {}], "1 of 2 boxes disagree with their masks."),
        (
            [{"segmentation": [[0, 0, 0.5, 0, 0.5, 1]]}] * 2,
            ".* 2 of 2 objects lie within 0",
        ),
        (
            [{"segmentation": [], "bbox": [0.1, 0.2, 0.5, 0.5]}],
            ".* 1 of 1 objects lie within 0",
        ),
        ([{"bbox": [50, 5, 20, 30]}] + [{}] * 99, None),  # one in a hundred
    ],
)
def test_boxes_that_disagree_with_their_masks_are_told_once(tmp_path, changes, note):
    annotations = read(tmp_path, annotations_of(*changes))
    assert len(annotations.notes) == (note is not None)
    assert note is None or re.match(note, annotations.notes[0])


OTHER_KINDS = {
    "panoptic": ({"images": [], "annotations": [{"segments_info": []}]}, "panoptic segmentation"),
    "captions": ({"images": [], "annotations": [{"id": 1, "caption": "a"}]}, "file of captions"),
    "results": ([{"image_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}], "a list of results"),
    "labelme": ({"shapes": [], "imagePath": "a.jpg", "imageData": None}, "a labelme file"),
    "VIA project": ({"_via_settings": {}, "_via_img_metadata": {}}, "a project of VIA"),
    "VIA": ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VIA's own JSON"),
    "Label Studio": ([{"id": 1, "data": {}, "annotations": []}], "Label Studio's own JSON"),
    "GeoJSON": ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
    "XML": ("<?xml version='1.0'?><annotations/>", "is XML"),
    "HTML": ("\n<!DOCTYPE html><html></html>", "is a web page"),
    "LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
    "zip": ("PK\x03\x04", "is a zip archive"),
    "nothing": ("", "is empty"),
    "CreateML": ([{"image": "a.jpg", "annotations": []}], "CreateML's own JSON"),
    "Darwin": ({"version": "2.0", "item": {}, "annotations": []}, "V7 Darwin's own JSON"),
    "Datumaro": ({"info": {}, "categories": {}, "items": []}, "Datumaro's own JSON"),
    "Supervisely": ({"tags": [], "size": {}, "objects": []}, "Supervisely's own JSON"),
    "annotations alone": ([{"id": 1, "image_id": 1, "bbox": []}], "a list of annotations alone"),
    "a list": ([[1, 2], 3], r"holds \[\[1, 2\], 3\]; expected an object with 'images'"),
    "a number": ("3", "holds 3; expected an object"),
    "something": ({"samples": [], "x": 1}, "'categories' is missing; the file has 'samples', 'x'"),
}


@pytest.mark.parametrize(("content", "complaint"), OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_files_of_other_kinds_are_recognised(tmp_path, content, complaint):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    for reader in (read_annotations, read_videos):
        with pytest.raises(InputError, match=complaint):
            reader(path)


def test_files_of_videos_and_of_images_are_told_apart(tmp_path):
    videos, _ = write_videos(tmp_path)
    with pytest.raises(OtherFormatError, match="is a YouTube-VIS file, of videos"):
        read_annotations(videos)
    read(tmp_path, document())
    with pytest.raises(OtherFormatError, match="is a COCO file, of images"):
        read_videos(tmp_path / "instances.json")


def test_files_of_videos_are_read_as_freely(tmp_path):
    path, _ = write_videos(tmp_path)
    content = json.loads(path.read_text())
    root = {"id": 0, "name": "things", "supercategory": "none"}
    below = [{**category, "supercategory": "things"} for category in content["categories"]]
    content["categories"] = [root, *below]
    first, second, *rest = content["annotations"]
    first |= {"id": 0, "iscrowd": None, "areas": [0] * 4}
    first["segmentations"] = [first["segmentations"][0][0], *first["segmentations"][1:3], []]
    first["bboxes"][3] = []
    second["segmentations"][1] = [[1, 2, 3, 4]]
    broken = copy.deepcopy(second) | {"id": 99, "bboxes": [[1]] * 4}
    content["annotations"] = [first, second, *rest, broken]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"2 of 7 .*\[id=2\]\.segmentations\[1\] .*\.bboxes\[0\]"):
        read_videos(path)
    annotations = read_videos(path, skip_invalid=True)
    assert annotations.class_names == ("bar", "square")
    (track,) = annotations.videos[0].tracks
    assert (track.id, track.is_crowd, track.shapes[3]) == (1, False, None)
    assert [shape.area for shape in track.shapes[:3]] == [26 * 26] * 3
    assert any("Annotations left out: 2 of 7" in note for note in annotations.notes)

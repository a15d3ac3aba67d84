import json

import cv2
import numpy as np
import pytest

import sipmask_core as sm
from sipmask_core.data.annotation_writer import AnnotationWriter, Recorded
from sipmask_core.data.coco import read_annotated_image, read_annotations
from sipmask_core.data.shapes import merged_rle
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import InputError

CLASSES = ("person", "dog")


def seen(*tracks, size=(40, 50), labels=None):
    """Return one 10 x 8 rectangle per track id, each further right."""
    n = len(tracks)
    crops = [sm.MaskCrop(2 + 11 * i, 5, np.ones((8, 10), bool)) for i in range(n)]
    return sm.Instances(
        boxes=np.array([[c.x, 5, c.x + 10, 13] for c in crops], np.float32).reshape(-1, 4) + 0.3,
        scores=np.linspace(0.9, 0.5, n, dtype=np.float32),
        labels=np.array(labels or [0] * n, np.int64),
        mask_crops=crops,
        image_size=size,
        track_ids=np.array(tracks, np.int64),
    )


def picture(size=(40, 50)):
    return np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)


def recorded(name, source="cam", encoded=None):
    return Recorded(source, name, 0.0, picture, encoded)


def test_coco_form_has_polygons_boxes_and_areas_of_the_masks_and_ids(tmp_path):
    with AnnotationWriter(tmp_path / "set", "coco", CLASSES, "png") as writer:
        writer.add(recorded("a-1"), picture(), seen(0, -1, labels=[1, 0]))
        writer.add(recorded("a-2"), picture((30, 60)), seen(size=(30, 60)))
        writer.add(recorded("b-1", "other"), picture(), seen(0))
    assert (writer.image_count, writer.object_count, writer.track_count) == (3, 3, 2)
    annotations = read_annotations(writer.annotations)
    assert annotations.class_names == CLASSES and annotations.category_ids == (1, 18)
    assert [i.file_name for i in annotations.images] == ["a-1.png", "a-2.png", "b-1.png"]
    first, empty, other = annotations.images
    assert [o.track_id for o in first.objects] == [1, None]
    assert [o.track_id for o in other.objects] == [2]  # another camera, another object
    assert empty.objects == () and (empty.height, empty.width) == (30, 60)
    dog, person = first.objects
    assert (dog.label, person.label) == (1, 0)
    assert dog.bbox == (2, 5, 10, 8) and dog.area == 80 and not dog.is_crowd
    assert np.array_equal(read_annotated_image(writer.images, first), picture())
    entry = json.loads(writer.annotations.read_text())["annotations"][0]
    assert entry["score"] == 0.9 and entry["attributes"] == {"track_id": 1}


def test_youtube_vis_form_has_a_video_for_each_source_and_a_track_for_each_id(tmp_path):
    with AnnotationWriter(tmp_path / "set", "youtube-vis", CLASSES) as writer:
        writer.add(recorded("a-1"), picture(), seen(3, -1, labels=[1, 0]))
        writer.add(recorded("b-1", "other"), picture(), seen(3))
        writer.add(recorded("a-2"), picture(), seen())
        writer.add(recorded("a-3"), picture(), seen(7, 3, labels=[0, 1]))
    videos = read_videos(writer.annotations)
    cam, other = videos.videos
    assert cam.file_names == ("a-1.jpg", "a-2.jpg", "a-3.jpg")
    assert other.file_names == ("b-1.jpg",)
    assert [(t.id, t.label) for t in cam.tracks] == [(1, 1), (3, 0)]
    assert [shape is not None for shape in cam.tracks[0].shapes] == [True, False, True]
    assert cam.tracks[0].shapes[2].bbox == (13, 5, 10, 8) and cam.tracks[0].shapes[0].area == 80
    rle = merged_rle(cam.tracks[0].shapes[0].segmentation, (40, 50))
    assert rle["counts"] == seen(3).to_rle()[0]["counts"]


def test_a_file_that_is_there_already_is_stored_byte_for_byte(tmp_path):
    with AnnotationWriter(tmp_path / "set", "coco", CLASSES, "png") as writer:
        for suffix in (".jpg", ".png"):
            data = cv2.imencode(suffix, picture())[1].tobytes()
            writer.add(recorded(f"a{suffix[1:]}", encoded=data), picture(), seen())
            assert (writer.images / f"a{suffix[1:]}{suffix}").read_bytes() == data


def test_a_video_has_one_size(tmp_path):
    with AnnotationWriter(tmp_path / "set", "youtube-vis", CLASSES) as writer:
        writer.check("cam", picture((30, 60)))
        writer.add(recorded("a-1"), picture(), seen())
        with pytest.raises(InputError, match=r"has 30 x 60 pixels, .* of cam before it 40 x 50"):
            writer.check("cam", picture((30, 60)))


def test_what_is_done_is_kept_when_an_error_ends_the_work(tmp_path):
    with pytest.raises(ZeroDivisionError), AnnotationWriter(tmp_path, "coco", CLASSES) as writer:
        writer.add(recorded("a-1"), picture(), seen(0))
        raise ZeroDivisionError
    assert len(read_annotations(tmp_path / "annotations.json").images) == 1


def test_nothing_is_left_of_a_data_set_without_an_image(tmp_path):
    for folder in (tmp_path / "new", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        with AnnotationWriter(folder, "coco", CLASSES):
            pass
        assert not folder.exists() or (folder.name == "empty" and not any(folder.iterdir()))


@pytest.mark.parametrize("is_file", [True, False])
def test_an_existing_folder_is_not_written_to(tmp_path, is_file):
    (tmp_path / "set").write_text("x")
    with pytest.raises(InputError, match="exists; a data set is written to a new or empty folder"):
        AnnotationWriter(tmp_path / "set" if is_file else tmp_path, "coco", CLASSES)

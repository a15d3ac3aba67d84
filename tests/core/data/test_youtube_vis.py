import copy
import json

import numpy as np
import pytest
from moving_squares import write_videos
from places import DATA
from pycocotools import mask as coco_mask

from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import InputError
from sipmask_core.training.dataset import VideoDataset


@pytest.fixture
def videos(tmp_path):
    return write_videos(tmp_path)


@pytest.fixture
def dataset(videos):
    annotations, images = videos
    return VideoDataset(read_videos(annotations), images)


def test_tracks_have_a_shape_or_none_in_each_frame(videos):
    annotations = read_videos(videos[0])
    assert annotations.class_names == ("bar", "square")
    assert annotations.category_ids == (2, 5)
    assert [video.id for video in annotations.videos] == [1, 2, 3]
    first, second = annotations.videos[0].tracks
    assert (first.id, first.label, second.id, second.label) == (1, 1, 2, 0)
    assert [shape is None for shape in first.shapes] == [False] * 4
    assert [shape is None for shape in second.shapes] == [False] * 3 + [True]


def test_boxes_and_areas_that_are_missing_come_from_the_mask(videos):
    first = read_videos(videos[0]).videos[0].tracks[0]
    assert [shape.bbox for shape in first.shapes[:2]] == [(5, 10, 26, 26), (11, 10, 26, 26)]
    assert [shape.area for shape in first.shapes[:2]] == [26 * 26] * 2


@pytest.mark.parametrize("form", ["compressed", "uncompressed"])
def test_both_rle_forms_are_read(videos, form):
    document = json.loads(videos[0].read_text())
    mask = np.zeros((80, 80), np.uint8)
    mask[10:36, 5:31] = 1
    compressed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    runs = [5 * 80 + 10] + [26, 54] * 25 + [26, 49 * 80 + 44]
    counts = compressed if form == "compressed" else runs
    document["annotations"][0]["segmentations"][0] = {"size": [80, 80], "counts": counts}
    videos[0].write_text(json.dumps(document))
    image, target = VideoDataset(read_videos(videos[0]), videos[1])[0]
    assert image.shape == (80, 80, 3)
    assert np.array_equal(target["masks"][0], mask)


def rle(box, size):
    """Return an uncompressed RLE of a rectangle x, y, width, height, as in the official files."""
    x, y, w, h = box
    height, width = size
    gaps = [height - h] * (w - 1)
    runs = [x * height + y, *(n for gap in gaps for n in (h, gap)), h]
    return {"counts": [*runs, height * width - sum(runs)], "size": [height, width]}


@pytest.mark.parametrize("year", [2019, 2021])
def test_the_official_layouts_are_read(tmp_path, year):
    # Three frames, of which the second does not show the object. The file of 2021 has more
    # categories than tracks, sizes beside each track, and a "length" of 1 there.
    box = [3, 4, 5, 6]
    of_year = {"height": 36, "width": 64, "length": 1} if year == 2021 else {}
    names = [f"0043f083b5/{number:05}.jpg" for number in (0, 5, 10)]
    video = {"id": 7, "width": 64, "height": 36, "length": 3, "file_names": names}
    video |= {"date_captured": "2019-04-11 00:55:41.903902", "license": 1, "flickr_url": ""}
    track = {
        "id": 41,
        "video_id": 7,
        "category_id": 6,
        "iscrowd": 0,
        "segmentations": [rle(box, (36, 64)), None, rle(box, (36, 64))],
        "bboxes": [[3.0, 4.0, 5.0, 6.0], None, [3.0, 4.0, 5.0, 6.0]],
        "areas": [30, None, 30],
        **of_year,
    }
    categories = [{"supercategory": "object", "id": i, "name": f"thing {i}"} for i in range(1, 41)]
    document = {"info": {}, "licenses": [{}], "videos": [video], "categories": categories}
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document | {"annotations": [track]}))
    annotations = read_videos(path)
    (read,) = annotations.videos
    assert (read.id, read.height, read.width, read.file_names) == (7, 36, 64, tuple(names))
    assert annotations.class_names[read.tracks[0].label] == "thing 6"
    first, second, third = read.tracks[0].shapes
    assert second is None
    assert first == third
    assert (first.bbox, first.area) == (tuple(box), 30)
    assert coco_mask.toBbox(first.segmentation).tolist() == box


@pytest.mark.parametrize("truth", [{}, {"annotations": None}, {"annotations": []}])
def test_a_file_whose_truth_only_the_server_has_is_one_without_tracks(videos, truth):
    document = json.loads(videos[0].read_text())
    assert read_videos(videos[0]).has_tracks
    del document["annotations"]
    videos[0].write_text(json.dumps(document | truth))
    annotations = read_videos(videos[0])
    assert not annotations.has_tracks
    assert [len(video.file_names) for video in annotations.videos] == [4, 4, 4]


def test_frames_are_photographs_whose_objects_know_their_track(videos):
    frames = read_videos(videos[0]).frames()
    assert len(frames.images) == 12
    assert [image.id for image in frames.images] == list(range(1, 13))
    assert frames.images[4].file_name == "video1/00000.png"
    ids = [o.id for image in frames.images for o in image.objects]
    assert ids == list(range(1, 1 + 7 + 7 + 2))  # unique, as evaluation needs them
    assert [o.track_id for o in frames.images[0].objects] == [1, 2]
    assert [o.track_id for o in frames.images[3].objects] == [1]
    assert frames.images[9].objects == ()  # a frame without objects is kept


def test_a_split_takes_whole_videos(videos):
    annotations = read_videos(videos[0])
    train, held_out = annotations.split(1)
    assert (len(train.videos), len(held_out.videos)) == (2, 1)
    assert {v.id for v in (*train.videos, *held_out.videos)} == {1, 2, 3}
    assert all(len(video.file_names) == 4 for video in held_out.videos)
    assert held_out.sha256 == annotations.sha256
    with pytest.raises(InputError, match="3 videos cannot be held out of 3"):
        annotations.split(3)


def test_ids_of_a_target_are_those_of_the_tracks(dataset):
    assert len(dataset) == 12
    assert dataset[0][1]["ids"].tolist() == [1, 2]
    assert dataset[3][1]["ids"].tolist() == [1]
    assert dataset[5][1]["ids"].tolist() == [3, 4]


def test_the_reference_is_any_other_frame_of_the_video_with_objects(dataset):
    rng = np.random.default_rng(0)
    assert {dataset.reference(rng, 5) for _ in range(60)} == {4, 6, 7}
    assert {dataset.reference(rng, 10) for _ in range(10)} == {8}  # none but the first has objects


def test_the_only_frame_with_objects_is_its_own_reference(dataset):
    rng = np.random.default_rng(0)
    assert {dataset.reference(rng, 8) for _ in range(10)} == {8}


BROKEN = {
    "a frame too few": (("segmentations", [None]), r"\[id=1\]\.segmentations has 1 entries"),
    "no shapes": (("segmentations", None), r"\.segmentations has None, expected a list with one"),
    "a box too many": (("bboxes", [None] * 5), r"\[id=1\]\.bboxes has 5 entries"),
    "an unknown video": (("video_id", 9), r"\[id=1\]\.video_id is 9, which 'videos' lacks"),
    "an unknown category": (("category_id", 1), r"\.category_id is 1, which 'categories' lacks"),
    "a broken polygon": (("segmentations", [None, None, [[1, 2]], None]), r"\.segmentations\[2\]"),
    "an RLE of another size": (
        ("segmentations", [{"size": [9, 9], "counts": [81]}, None, None, None]),
        r"\.segmentations\[0\]\.size is \[9, 9\], expected \[80, 80\]",
    ),
    "a box of three": (("bboxes", [[1, 2, 3], None, None, None]), r"\.bboxes\[0\] is \[1, 2, 3\]"),
    "a text for an area": (
        ("areas", ["1", None, None, None]),
        r"\.areas\[0\] is '1', expected a finite number",
    ),
    "a crowd of two": (("iscrowd", 2), r"\.iscrowd is 2, expected 0 or 1"),
}


@pytest.mark.parametrize(("change", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_malformed_annotations_are_named_by_file_entry_and_field(videos, change, complaint):
    document = json.loads(videos[0].read_text())
    document["annotations"][0][change[0]] = change[1]
    videos[0].write_text(json.dumps(document))
    with pytest.raises(InputError, match=complaint) as caught:
        read_videos(videos[0])
    assert "videos.json" in str(caught.value)


@pytest.mark.parametrize("names", [None, [], ["a.png", 3], [""]])
def test_a_video_needs_file_names(videos, names):
    document = json.loads(videos[0].read_text())
    document["videos"][1]["file_names"] = names
    videos[0].write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"videos\[id=2\]\.file_names is not a list of one or"):
        read_videos(videos[0])


def test_a_frame_belongs_to_one_video_only(videos):
    document = json.loads(videos[0].read_text())
    document["videos"][1]["file_names"] = copy.deepcopy(document["videos"][0]["file_names"])
    videos[0].write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"videos\[id=2\]\.file_names has video0/00000\.png once"):
        read_videos(videos[0])


def test_a_coco_file_is_refused_by_its_missing_videos(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "a"}]}))
    with pytest.raises(InputError, match="'videos' is missing"):
        read_videos(path)


def test_the_schoolgirls_are_seven_tracks_over_eighty_frames():
    folder = DATA / "davis_schoolgirls"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SIPMASK_DATA_DIR")
    annotations = read_videos(folder / "ytvis_schoolgirls.json")
    (video,) = annotations.videos
    assert len(video.file_names) == 80
    assert [track.id for track in video.tracks] == list(range(1, 8))
    dataset = VideoDataset(annotations, folder / "JPEGImages")
    image, target = dataset[40]
    assert image.shape == (240, 432, 3)
    assert target["ids"].tolist() == list(range(1, 8))
    assert target["masks"].any(axis=(1, 2)).all()
    assert dataset.reference(np.random.default_rng(0), 40) != 40

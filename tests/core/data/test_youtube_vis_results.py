import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sipmask_core.data import youtube_vis_results as video_results
from sipmask_core.data.youtube_vis import Video, VideoAnnotations
from sipmask_core.data.youtube_vis_results import read_results, write_results
from sipmask_core.errors import InputError

SIZE = (6, 8)
ANNOTATIONS = VideoAnnotations(
    path=Path("truth.json"),
    sha256="",
    description="",
    class_names=("cat", "dog"),
    category_ids=(3, 7),
    videos=(Video(id=5, file_names=("a.jpg", "b.jpg"), height=6, width=8, tracks=()),),
)


def entry(**changes):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[1:3, 2:6] = 1
    encoded = coco_mask.encode(mask)
    rle = {"size": list(SIZE), "counts": encoded["counts"].decode()}
    return {
        "video_id": 5,
        "category_id": 7,
        "score": 0.5,
        "segmentations": [rle, None],
        **changes,
    }


@pytest.mark.parametrize("name", ["results.zip", "results.json"])
def test_what_is_written_is_read_back(tmp_path, name):
    results = [entry(), entry(score=1.0, segmentations=[None, None])]
    write_results(tmp_path / name, results)
    assert read_results(tmp_path / name, ANNOTATIONS) == results


def test_the_zip_is_what_the_server_takes_and_the_same_every_time(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_results(tmp_path / name, [entry()])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["results.json"]
        assert json.loads(archive.read("results.json")) == [entry()]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_runs_that_are_not_compressed_are_compressed(tmp_path):
    path = tmp_path / "results.json"
    rle = {"size": list(SIZE), "counts": [13, 2, 4, 2, 4, 2, 4, 2, 15]}
    path.write_text(json.dumps([entry(segmentations=[rle, None])]))
    assert read_results(path, ANNOTATIONS) == [entry()]


def test_ids_that_are_written_otherwise_are_numbers(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([entry(video_id="5", category_id=7.0)]))
    assert read_results(path, ANNOTATIONS) == [entry()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video_id": 6}, "result 1.video_id is 6, not in the annotations"),
        ({"video_id": "left"}, "result 1.video_id is 'left'"),
        ({"category_id": 1}, "result 1.category_id is 1, not in the annotations"),
        ({"category_id": [3]}, r"result 1.category_id is \[3\]"),
        ({"score": None}, "result 1.score is None, expected a finite number"),
        ({"score": True}, "result 1.score is True"),
        ({"score": float("nan")}, "result 1.score is nan"),
        ({"score": float("inf")}, "result 1.score is inf"),
        ({"score": 10**400}, "result 1.score is 1000"),
        ({"segmentations": None}, "result 1.segmentations is not a list, expected one for each"),
        ({"segmentations": [None]}, "has 1 entries, expected one for each of the 2 frames"),
        ({"segmentations": [None, 4]}, r"result 1.segmentations\[1\] is neither an RLE"),
        ({"segmentations": [None, {}]}, r"result 1.segmentations\[1\].size is None"),
        (
            {"segmentations": [None, {"size": [6, 8], "counts": "02"}]},
            r"result 1.segmentations\[1\].counts has runs that sum to 2",
        ),
    ],
)
def test_a_bad_field_is_named_with_its_file_and_entry(tmp_path, changes, message):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([entry(), entry(**changes)]))
    with pytest.raises(InputError, match=message) as caught:
        read_results(path, ANNOTATIONS)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"[" * 100_000, "not valid JSON"),
        (b"{}", "not a list of results"),
        (b"[4]", "not a list of results"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_results(path, ANNOTATIONS)
    with pytest.raises(InputError, match="No such file"):
        read_results(tmp_path / "absent.json", ANNOTATIONS)


def test_a_zip_without_results_is_refused(tmp_path):
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "[]")
    with pytest.raises(InputError, match=r"without a file results\.json"):
        read_results(path, ANNOTATIONS)


def test_a_damaged_zip_is_refused(tmp_path):
    path = tmp_path / "results.zip"
    write_results(path, [entry(score=i / 64) for i in range(64)])
    whole = path.read_bytes()
    for place in range(30, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            results = read_results(path, ANNOTATIONS)
        except InputError:
            continue
        assert len(results) == 64  # the damage was in what nobody reads


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "results.zip"
    write_results(path, [entry()])
    monkeypatch.setattr(video_results, "MAX_UNPACKED", 100)
    with pytest.raises(InputError, match="at most 100 are read"):
        read_results(path, ANNOTATIONS)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        write_results(tmp_path, [entry()])

import json

import numpy as np
import pytest

from sipmask_core.data.coco_results import ResultsFile, coco_results
from sipmask_core.data.youtube_vis_results import youtube_vis_results
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop


def make_instances(score, mask_score):
    return Instances(
        boxes=np.array([[1.25, 2.5, 4.0, 6.0]], np.float32),
        scores=np.array([score], np.float32),
        labels=np.array([1], np.int64),
        mask_crops=[MaskCrop(1, 2, np.array([[1, 0], [1, 1]], bool))],
        image_size=(8, 9),
        mask_scores=np.array([mask_score], np.float32),
    )


def test_the_score_is_that_of_the_mask_beside_that_of_the_box(tmp_path):
    with ResultsFile(tmp_path / "r.json", ("person", "dog")) as results:
        results.add("a.png", make_instances(0.875, 0.5))
        results.finish({})
    (annotation,) = json.loads((tmp_path / "r.json").read_text())["annotations"]
    assert annotation["score"] == 0.5 and annotation["box_score"] == 0.875
    assert annotation["category_id"] == 18
    assert annotation["bbox"] == [1.25, 2.5, 2.75, 3.5] and annotation["area"] == 3


def test_numbered_files_keep_their_number_and_no_id_comes_twice(tmp_path):
    with ResultsFile(tmp_path / "r.json", ("person", "dog")) as results:
        for name in ("000000000002.jpg", "x.png", "y.png", "2.png", "1.png"):
            results.add(name, Instances.empty((8, 9)))
        results.finish({"device": "cpu"})
    content = json.loads((tmp_path / "r.json").read_text())
    ids = [image["id"] for image in content["images"]]
    assert ids[0] == 2 and len(set(ids)) == 5
    assert content["annotations"] == [] and content["provenance"] == {"device": "cpu"}


def test_an_aborted_run_leaves_no_file(tmp_path):
    with (
        pytest.raises(RuntimeError),
        ResultsFile(tmp_path / "r.json", ("person", "dog")) as results,
    ):
        results.add("a.png", make_instances(0.5, 0.5))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def tracked(scores, labels, track_ids):
    """Return a frame of 4 x 4 pixels; instance i covers the i-th row."""
    return Instances(
        boxes=np.zeros((len(scores), 4), np.float32),
        scores=np.array(scores, np.float32),
        labels=np.array(labels, np.int64),
        mask_crops=[MaskCrop(0, row, np.ones((1, 4), bool)) for row in range(len(scores))],
        image_size=(4, 4),
        track_ids=np.array(track_ids, np.int64),
    )


def test_a_tracked_instance_has_its_id_in_coco_results_and_others_have_none():
    first, second = coco_results(tracked([0.9, 0.8], [0, 1], [7, -1]), 3, (1, 2))
    assert first["track_id"] == 7
    assert "track_id" not in second


def test_a_youtube_vis_result_is_a_track_with_one_mask_or_none_per_frame():
    frames = [
        tracked([0.75, 0.5], [2, 0], [0, 1]),
        Instances.empty((4, 4)),
        tracked([0.25], [1], [0]),
    ]
    first, second = youtube_vis_results(iter(frames), 7, (10, 20, 30))
    assert first["video_id"] == 7 and first["score"] == 0.5
    assert first["category_id"] == 20  # one frame says 20, one 30: the lower on a tie
    assert [s is None for s in first["segmentations"]] == [False, True, False]
    assert first["segmentations"][0] == frames[0].to_rle()[0]
    assert second["category_id"] == 10 and second["segmentations"][1:] == [None, None]


def test_tracks_of_a_class_without_a_category_are_left_out():
    frames = [tracked([0.9, 0.8], [0, 1], [0, 1]), tracked([0.9, 0.8], [1, 1], [0, 1])]
    (result,) = youtube_vis_results(frames, 1, (None, 4))  # a tie goes to label 0
    assert result["category_id"] == 4
    assert result["segmentations"][0] == frames[0].to_rle()[1]
    (result,) = youtube_vis_results(frames, 1, (3, None))
    assert result["category_id"] == 3


def test_untracked_instances_are_no_youtube_vis_result_and_the_last_of_an_id_counts():
    frame = tracked([0.9, 0.8, 0.7], [0, 1, 2], [3, -1, 3])
    (result,) = youtube_vis_results([frame], 1, (1, 2, 3))
    assert result["category_id"] == 3 and result["score"] == pytest.approx(0.7)
    assert result["segmentations"] == [frame.to_rle()[2]]
    assert youtube_vis_results([Instances.empty((4, 4))], 1, (1,)) == []

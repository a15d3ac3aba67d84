import dataclasses
import json
import zipfile

import numpy as np
import pytest
from coco_cases import FIRST, SECOND, SIZE, entry, ground_truth, result

from sipmask_core.data.coco_results import ResultsFile, read_results, write_submission
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import score
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop


def test_the_results_of_predict_rank_boxes_and_masks_each_by_their_score(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    truth = dataclasses.replace(truth, category_ids=(1,))

    def instances(box, score, mask_score):
        x0, y0, x1, y1 = box
        return Instances(
            boxes=np.float32([box]),
            scores=np.float32([score]),
            labels=np.array([0]),
            mask_crops=[MaskCrop(x0, y0, np.ones((y1 - y0, x1 - x0), bool))],
            image_size=SIZE,
            mask_scores=np.float32([mask_score]),
        )

    path = tmp_path / "results.json"
    with ResultsFile(path, ("square",)) as results:
        results.add("1.png", instances(FIRST, 0.5, 0.4))
        results.add("2.png", instances(SECOND, 0.7, 0.1))
        results.finish({})
    scores = score(truth, read_results(path, truth))
    assert scores["segm"]["AP"] == pytest.approx(1.0)
    assert scores["bbox"]["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"image_id": 77}, "result 0.image_id is 77, not in the annotations"),
        ({"category_id": 4.5}, "result 0.category_id is 4.5"),
        ({"score": None}, "result 0.score is None, expected a finite number"),
        ({"score": float("inf")}, "result 0.score is inf"),
        ({"score": True}, "result 0.score is True, expected a finite number"),
        ({"score": 10**400}, "result 0.score is 1000"),
        ({"box_score": False}, "result 0.box_score is False"),
        ({"bbox": [1, 2, 3]}, "result 0.bbox is"),
        ({"bbox": [1, 2, 3, 10**400]}, "result 0.bbox is"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "result 0.segmentation is not an RLE"),
        ({"segmentation": {"size": [5, 5], "counts": [25]}}, "result 0.segmentation.size"),
    ],
)
def test_malformed_results_are_named_by_entry_and_field(tmp_path, change, complaint):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result(1, FIRST, 0.9) | change]))
    with pytest.raises(InputError) as caught:
        read_results(path, truth)
    assert complaint in str(caught.value)
    assert "results.json" in str(caught.value)


def test_results_without_any_shape_are_refused(tmp_path):
    truth = ground_truth(tmp_path, [])
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, "category_id": 4, "score": 0.5}]))
    with pytest.raises(InputError, match="neither 'bbox' nor 'segmentation'"):
        read_results(path, truth)
    path.write_text('"text"')
    with pytest.raises(InputError, match="neither a list of results"):
        read_results(path, truth)


def test_a_submission_is_what_the_server_takes(tmp_path):
    results = [result(1, FIRST, 0.9, box_score=0.8), result(2, SECOND, 0.5)]
    target = tmp_path / "new" / "lite.json"
    archive = write_submission(target, results)
    assert archive == tmp_path / "new" / "lite.zip"
    entries = json.loads(target.read_text())
    assert [set(e) for e in entries] == [{"image_id", "category_id", "segmentation", "score"}] * 2
    assert [e["score"] for e in entries] == [0.9, 0.5]
    with zipfile.ZipFile(archive) as content:
        assert content.namelist() == ["detections_test-dev2017_lite_results.json"]
        assert content.read(content.namelist()[0]) == target.read_bytes()
    before = archive.read_bytes()
    write_submission(target, results)
    assert archive.read_bytes() == before


def test_the_name_in_a_submission_can_be_chosen(tmp_path):
    archive = write_submission(tmp_path / "detections_val2017_lite_results.json", [])
    with zipfile.ZipFile(archive) as content:
        assert content.namelist() == ["detections_val2017_lite_results.json"]


def test_boxes_alone_are_no_submission(tmp_path):
    boxes = [{k: v for k, v in result(1, FIRST, 0.9).items() if k != "segmentation"}]
    with pytest.raises(InputError, match="no 'segmentation'"):
        write_submission(tmp_path / "boxes.json", boxes)
    assert list(tmp_path.iterdir()) == []

import json

import numpy as np
import pytest

from sipmask_core.instances import Instances, MaskCrop
from sipmask_core.results import ResultsFile


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

import dataclasses
import json
from itertools import chain

import cv2
import numpy as np
import pytest
import torch
from coco_squares import tiny_preset, write_squares
from pycocotools import mask as coco_mask

from sipmask_core.cli import main
from sipmask_core.commands import evaluate as evaluate_command
from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import METRICS, detect, read_results, score
from sipmask_core.instances import Instances, MaskCrop
from sipmask_core.results import ResultsFile

SIZE = (100, 100)


def rle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    return {"size": list(SIZE), "counts": encoded["counts"].decode()}


def entry(number, image_id, box, **more):
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 4,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": rle(*box),
        **more,
    }


def result(image_id, box, confidence, **more):
    x0, y0, x1, y1 = box
    return {
        "image_id": image_id,
        "category_id": 4,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": rle(*box),
        "score": confidence,
        **more,
    }


def ground_truth(folder, entries, images=2):
    path = folder / "truth.json"
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{i + 1}.png", "height": SIZE[0], "width": SIZE[1]}
            for i in range(images)
        ],
        "categories": [{"id": 4, "name": "square"}],
        "annotations": entries,
    }
    path.write_text(json.dumps(document))
    return read_annotations(path)


FIRST, SECOND = (10, 10, 60, 60), (20, 30, 70, 80)


def test_perfect_results_score_one(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST), entry(2, 2, SECOND)])
    scores = score(truth, [result(1, FIRST, 0.9), result(2, SECOND, 0.8)])
    for kind in ("segm", "bbox"):
        assert set(scores[kind]) == set(METRICS)
        assert scores[kind]["AP"] == pytest.approx(1.0)
        assert scores[kind]["APm"] == pytest.approx(1.0)  # 50 x 50 is of medium size
        assert scores[kind]["AR1"] == pytest.approx(1.0)
        assert scores[kind]["APs"] == -1  # nothing small to find


def test_a_found_and_a_missed_object_give_the_known_figures(tmp_path):
    # 50 of 60 columns of the first are covered: IoU 5/6 counts at .50 to .80, seven of the ten
    # thresholds. One of two objects found: precision 1 up to recall 1/2, 51 of 101 recall points.
    truth = ground_truth(tmp_path, [entry(1, 1, (0, 0, 60, 60)), entry(2, 2, SECOND)])
    scores = score(truth, [result(1, (0, 0, 50, 60), 0.9)])
    for kind in ("segm", "bbox"):
        assert scores[kind]["AP50"] == pytest.approx(51 / 101)
        assert scores[kind]["AP75"] == pytest.approx(51 / 101)
        assert scores[kind]["AP"] == pytest.approx(0.7 * 51 / 101)
        assert scores[kind]["AR100"] == pytest.approx(0.7 * 0.5)


def test_a_false_alarm_that_ranks_higher_halves_the_precision(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    found, alarm = result(1, FIRST, 0.5), result(2, SECOND, 0.9)
    assert score(truth, [found, alarm])["segm"]["AP"] == pytest.approx(0.5)
    assert score(truth, [found, {**alarm, "score": 0.1}])["segm"]["AP"] == pytest.approx(1.0)


def test_what_lies_in_a_crowd_is_not_a_false_alarm(tmp_path):
    crowd = entry(2, 2, (0, 0, 90, 90), iscrowd=1)
    alarms = [result(2, (5, 5, 40, 40), 0.9), result(2, (40, 40, 80, 80), 0.8)]
    found = [result(1, FIRST, 0.5), *alarms]
    with_crowd = score(ground_truth(tmp_path, [entry(1, 1, FIRST), crowd]), found)
    without = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), found)
    assert with_crowd["segm"]["AP"] == pytest.approx(1.0)
    assert without["segm"]["AP"] == pytest.approx(1 / 3)


def test_boxes_are_ranked_by_their_own_score(tmp_path):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    results = [result(1, FIRST, 0.9, box_score=0.5), result(2, SECOND, 0.1, box_score=0.7)]
    scores = score(truth, results)
    assert scores["segm"]["AP"] == pytest.approx(1.0)
    assert scores["bbox"]["AP"] == pytest.approx(0.5)


def test_size_classes_go_by_the_area_of_each_kind(tmp_path):
    # A cross of area 1900 in a box of 100 x 100: medium as a mask, large as a box.
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[45:55] = mask[:, 45:55] = 1
    encoded = coco_mask.encode(mask)
    cross = {"size": list(SIZE), "counts": encoded["counts"].decode()}
    wrong = result(2, (0, 0, 100, 100), 0.9) | {"segmentation": cross}
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])  # medium
    scores = score(truth, [result(1, FIRST, 0.5), wrong])
    assert scores["segm"]["APm"] == pytest.approx(0.5)
    assert scores["bbox"]["APm"] == pytest.approx(1.0)


def test_no_results_at_all_score_zero(tmp_path):
    scores = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), [])
    assert scores["segm"]["AP"] == 0
    assert scores["bbox"]["AR100"] == 0


def test_box_results_are_scored_as_boxes_alone(tmp_path):
    boxes = [{k: v for k, v in result(1, FIRST, 0.9).items() if k != "segmentation"}]
    scores = score(ground_truth(tmp_path, [entry(1, 1, FIRST)]), boxes)
    assert list(scores) == ["bbox"]
    assert scores["bbox"]["AP"] == pytest.approx(1.0)


class FakePredictor:
    """Finds the bright square of each picture, and something the data set has no name for."""

    class_names = ("unicorn", "square")
    device = torch.device("cpu")
    preset = tiny_preset()

    def __call__(self, image):
        y, x = np.nonzero(image[..., 2] > 200)
        if not len(x):
            return Instances.empty(image.shape[:2])
        box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        full = np.ones((box[3] - box[1], box[2] - box[0]), bool)
        return Instances(
            boxes=np.float32([box, box]),
            scores=np.float32([0.9, 0.8]),
            labels=np.array([1, 0]),
            mask_crops=[MaskCrop(int(box[0]), int(box[1]), full)] * 2,
            image_size=image.shape[:2],
        )


def detections(predictor, annotations, images):
    return list(chain.from_iterable(detect(predictor, annotations, images, progress=False)))


def test_a_predictor_that_sees_everything_scores_one(tmp_path):
    path, images = write_squares(tmp_path)
    annotations = read_annotations(path)
    results = detections(FakePredictor(), annotations, images)
    assert [r["image_id"] for r in results] == [1, 2, 3, 4, 5]  # the sixth image is empty
    assert {r["category_id"] for r in results} == {3}
    assert json.loads(json.dumps(results)) == results
    assert score(annotations, results)["segm"]["AP"] == pytest.approx(1.0)


def test_a_model_without_the_classes_of_the_file_is_refused(tmp_path):
    path, images = write_squares(tmp_path)
    annotations = dataclasses.replace(read_annotations(path), class_names=("circle",))
    with pytest.raises(InputError, match="none of the model's classes: it has circle"):
        detections(FakePredictor(), annotations, images)


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    path, images = write_squares(tmp_path)
    cv2.imwrite(str(images / "001.png"), np.zeros((40, 60, 3), np.uint8))
    complaint = r"001\.png has 40 x 60 pixels, the annotations say 80 x 80"
    with pytest.raises(InputError, match=complaint):
        detections(FakePredictor(), read_annotations(path), images)


def evaluate(*arguments):
    return main(["evaluate", "coco", *map(str, arguments)])


def test_the_command_scores_existing_results(tmp_path, capsys):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    results = tmp_path / "results.json"
    results.write_text(json.dumps([result(1, FIRST, 0.9)]))
    record = tmp_path / "scores.json"
    assert evaluate("--annotations", truth.path, "--results", results, "--json", record) == 0
    assert "2 images, 1 results" in capsys.readouterr().out
    scores = json.loads(record.read_text())
    assert scores["segm"]["AP"] == pytest.approx(1.0)
    assert scores["bbox"]["AP50"] == pytest.approx(1.0)
    assert set(scores["provenance"]["inputs"]) == {str(truth.path), str(results)}


@pytest.mark.parametrize("option", ["--limit", "--hold-out"])
def test_no_images_at_all_cannot_be_asked_for(tmp_path, capsys, option):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    assert evaluate("--annotations", truth.path, "--images", tmp_path, option, 0) == 2
    assert f"{option} is 0; it must be 1 or more" in capsys.readouterr().err


def test_a_limit_ignores_the_results_of_other_images(tmp_path, capsys):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST), entry(2, 2, SECOND)])
    results = tmp_path / "results.json"
    results.write_text(json.dumps([result(1, FIRST, 0.5), result(2, FIRST, 0.9)]))
    record = tmp_path / "scores.json"
    arguments = ("--annotations", truth.path, "--results", results, "--json", record)
    assert evaluate(*arguments, "--limit", 1) == 0
    assert "1 images, 1 results" in capsys.readouterr().out
    assert json.loads(record.read_text())["segm"]["AP"] == pytest.approx(1.0)


@pytest.fixture
def fake_model(monkeypatch):
    monkeypatch.setattr(evaluate_command, "load_predictor", lambda *_, **__: FakePredictor())


@pytest.mark.usefixtures("fake_model")
def test_what_was_found_before_a_damaged_image_is_kept_and_can_be_scored(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    (images / "003.png").write_bytes(b"nonsense")
    saved = tmp_path / "results.json"
    arguments = ("--annotations", path)
    assert evaluate(*arguments, "--images", images, "--save-results", saved) == 2
    errors = capsys.readouterr().err
    assert "results.json has the results of the first 3 of 6 images" in errors
    assert "003.png cannot be decoded" in errors.splitlines()[-1]
    assert [r["image_id"] for r in json.loads(saved.read_text())] == [1, 2, 3]
    record = tmp_path / "scores.json"
    assert evaluate(*arguments, "--results", saved, "--limit", 3, "--json", record) == 0
    assert json.loads(record.read_text())["segm"]["AP"] == pytest.approx(1.0)


@pytest.mark.usefixtures("fake_model")
def test_the_images_that_were_evaluated_and_no_others_are_in_the_record(tmp_path):
    path, images = write_squares(tmp_path)
    hashes = []
    for limit, changed in ((3, None), (3, "004.png"), (3, "000.png"), (6, None)):
        if changed:
            cv2.imwrite(str(images / changed), np.zeros((80, 80, 3), np.uint8))
        arguments = ("--annotations", path, "--images", images, "--limit", limit)
        assert evaluate(*arguments, "--json", tmp_path / "record.json") == 0
        record = json.loads((tmp_path / "record.json").read_text())
        hashes.append(record["provenance"]["inputs"][str(images)])
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


@pytest.mark.usefixtures("fake_model")
def test_what_was_found_before_ctrl_c_is_kept(tmp_path, capsys, monkeypatch):
    path, images = write_squares(tmp_path)
    seen = []

    def interrupted(self, image):
        seen.append(image)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return Instances.empty(image.shape[:2])

    monkeypatch.setattr(FakePredictor, "__call__", interrupted)
    saved = tmp_path / "results.json"
    assert evaluate("--annotations", path, "--images", images, "--save-results", saved) == 130
    assert "first 2 of 6 images" in capsys.readouterr().err
    assert json.loads(saved.read_text()) == []


@pytest.mark.parametrize("option", ["--json", "--save-results"])
def test_a_file_that_cannot_be_written_is_refused_before_the_model_runs(
    tmp_path, capsys, monkeypatch, option
):
    def too_early(*_, **__):
        raise AssertionError("the model is there already")

    monkeypatch.setattr(evaluate_command, "load_predictor", too_early)
    path, images = write_squares(tmp_path)
    assert evaluate("--annotations", path, "--images", images, option, path / "x.json") == 2
    assert f"Cannot make the folder {path}" in capsys.readouterr().err


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


def test_the_command_wants_images_or_results(tmp_path, capsys):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    assert evaluate("--annotations", truth.path) == 2
    assert "either --images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"image_id": 77}, "result 0.image_id is 77, not in the annotations"),
        ({"category_id": "4"}, "result 0.category_id is '4'"),
        ({"score": None}, "result 0.score is None, expected a finite number"),
        ({"score": float("inf")}, "result 0.score is inf"),
        ({"bbox": [1, 2, 3]}, "result 0.bbox is"),
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

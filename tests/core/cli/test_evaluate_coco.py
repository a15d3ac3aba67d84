import json
import zipfile

import cv2
import numpy as np
import pytest
from coco_cases import FIRST, SECOND, FakePredictor, entry, ground_truth, result
from coco_squares import write_squares
from moving_squares import write_videos

from sipmask_core.cli import evaluation_run as data_set_run
from sipmask_core.cli.main import main
from sipmask_core.runtime import distributed


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


@pytest.mark.parametrize("option", ["--limit", "--hold-out", "--workers"])
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
    monkeypatch.setattr(data_set_run, "load_predictor", lambda *_, **__: FakePredictor())


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
def test_the_report_names_the_tiles(tmp_path):
    path, images = write_squares(tmp_path)
    record = tmp_path / "record.json"
    options = ("--annotations", path, "--images", images, "--json", record)
    assert evaluate(*options, "--tiles", "2x1") == 0
    assert json.loads(record.read_text())["model"].endswith(" in 2x1 tiles")


@pytest.mark.parametrize("option", ["--json", "--save-results", "--output", "--submission"])
def test_a_file_that_cannot_be_written_is_refused_before_the_model_runs(
    tmp_path, capsys, monkeypatch, option
):
    def too_early(*_, **__):
        raise AssertionError("the model is there already")

    monkeypatch.setattr(data_set_run, "load_predictor", too_early)
    path, images = write_squares(tmp_path)
    assert evaluate("--annotations", path, "--images", images, option, path / "x.json") == 2
    assert f"Cannot make the folder {path}" in capsys.readouterr().err


def test_a_zip_that_cannot_be_written_is_refused_before_the_model_runs(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.delattr(data_set_run, "load_predictor")
    path, images = write_squares(tmp_path)
    (tmp_path / "lite.zip").mkdir()
    target = tmp_path / "lite.json"
    assert evaluate("--annotations", path, "--images", images, "--submission", target) == 2
    assert f"Cannot write {tmp_path / 'lite.zip'}: it is a folder" in capsys.readouterr().err


def test_of_several_processes_one_scores_existing_results(tmp_path, capsys, monkeypatch):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    results, record = tmp_path / "results.json", tmp_path / "scores.json"
    results.write_text(json.dumps([result(1, FIRST, 0.9)]))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert evaluate("--annotations", truth.path, "--results", results, "--json", record) == 0
    assert capsys.readouterr().out == "" and not record.exists()


@pytest.mark.usefixtures("fake_model")
def test_a_model_without_some_of_the_classes_misses_their_objects(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    document = json.loads(path.read_text())
    document["categories"].append({"id": 77, "name": "gryphon"})
    path.write_text(json.dumps(document))
    assert evaluate("--annotations", path, "--images", images) == 0
    assert "does not know 1 of the 2 classes, whose objects count as missed: gryphon." in (
        capsys.readouterr().out
    )


def test_the_command_wants_images_or_results(tmp_path, capsys):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    assert evaluate("--annotations", truth.path) == 2
    assert "Give --images" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_model")
def test_the_output_folder_has_report_results_and_pictures(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    output = tmp_path / "output"
    assert evaluate("--annotations", path, "--images", images, "--output", output) == 0
    assert {file.name for file in output.iterdir()} == {
        "report.json",
        "results.json",
        "precision_recall.png",
        "mistakes.jpg",
    }
    report = json.loads((output / "report.json").read_text())
    assert report["segm"]["AP"] == pytest.approx(1.0)
    assert report["by_class"]["bbox"]["square"]["AR100"] == pytest.approx(1.0)
    assert set(report["latency_ms"]) >= {"decode", "total"}
    assert report["images_per_second"] > 0
    assert len(json.loads((output / "results.json").read_text())) == report["results"] == 5
    printed = capsys.readouterr().out
    assert "6 images, 5 results" in printed and "images/s" in printed
    assert "square" in printed


@pytest.mark.usefixtures("fake_model")
def test_results_and_images_together_are_scored_and_drawn_without_a_model(tmp_path, monkeypatch):
    path, images = write_squares(tmp_path)
    saved = tmp_path / "results.json"
    assert evaluate("--annotations", path, "--images", images, "--save-results", saved) == 0
    monkeypatch.delattr(data_set_run, "load_predictor")
    output = tmp_path / "output"
    arguments = ("--annotations", path, "--results", saved, "--output", output)
    assert evaluate(*arguments) == 0
    assert {file.name for file in output.iterdir()} == {"report.json", "precision_recall.png"}
    assert evaluate(*arguments, "--images", images) == 0
    assert (output / "mistakes.jpg").exists()


def stop_at(monkeypatch, number, error):
    """Let the fake model fail at its n-th image; the first call is the warm-up."""
    calls = []
    see = FakePredictor.segment

    def segment(self, *arguments):
        calls.append(arguments)
        if len(calls) == number + 1:
            raise error
        return see(self, *arguments)

    monkeypatch.setattr(FakePredictor, "segment", segment)


@pytest.mark.usefixtures("fake_model")
def test_what_was_found_before_ctrl_c_is_kept_and_the_same_command_goes_on(
    tmp_path, capsys, monkeypatch
):
    path, images = write_squares(tmp_path)
    saved = tmp_path / "results.json"
    arguments = ("--annotations", path, "--images", images, "--save-results")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        assert evaluate(*arguments, saved) == 130
    assert "2 of 6 images are finished and kept in" in capsys.readouterr().err
    assert not saved.exists()
    with monkeypatch.context() as patch:
        stop_at(patch, 5, AssertionError("an image was looked at again"))
        assert evaluate(*arguments, saved) == 0
    whole = tmp_path / "whole.json"
    assert evaluate(*arguments, whole) == 0
    assert saved.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "results.json.partial").exists()


@pytest.mark.usefixtures("fake_model")
def test_a_run_goes_on_once_a_wrong_image_is_mended(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    picture = (images / "003.png").read_bytes()
    cv2.imwrite(str(images / "003.png"), np.zeros((4, 4), np.uint8))
    output = tmp_path / "output"
    arguments = ("--annotations", path, "--images", images, "--output", output)
    assert evaluate(*arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "3 of 6 images are finished and kept" in errors[-2]
    assert "003.png has 4 x 4 pixels" in errors[-1]
    (images / "003.png").write_bytes(picture)
    assert evaluate(*arguments) == 0
    assert json.loads((output / "report.json").read_text())["segm"]["AP"] == pytest.approx(1.0)


@pytest.mark.usefixtures("fake_model")
def test_an_interrupted_run_with_other_options_is_not_gone_on_with(tmp_path, capsys, monkeypatch):
    path, images = write_squares(tmp_path)
    saved = tmp_path / "results.json"
    arguments = ("--annotations", path, "--images", images, "--save-results", saved)
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        assert evaluate(*arguments) == 130
    assert evaluate(*arguments, "--limit", 5) == 2
    assert "limit was not given and is 5. Repeat" in capsys.readouterr().err
    assert evaluate(*arguments, "--score-threshold", 0.3) == 2
    error = capsys.readouterr().err
    assert (
        "score_threshold was not given and is 0.3" in error and "or restart to forget it" in error
    )
    assert evaluate(*arguments, "--score-threshold", 0.3, "--restart") == 0


@pytest.mark.usefixtures("fake_model")
def test_a_list_of_images_without_annotations_gives_a_submission_and_no_scores(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    document = json.loads(path.read_text())
    del document["annotations"]
    path.write_text(json.dumps(document))
    target = tmp_path / "lite.json"
    arguments = ("--annotations", path, "--images", images)
    assert evaluate(*arguments, "--submission", target) == 0
    assert "has no annotations: nothing is scored" in capsys.readouterr().out
    assert len(json.loads(target.read_text())) == 5
    with zipfile.ZipFile(tmp_path / "lite.zip") as archive:
        assert archive.namelist() == ["detections_test-dev2017_lite_results.json"]
    assert evaluate(*arguments) == 2
    assert "'annotations' is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--submission", "lite.zip"), "its name must end in .json"),
        (("--submission", "lite.json", "--limit", 1), "A --submission is about all images"),
        (("--results", "results.json", "--save-results", "x.json"), "with --results none runs"),
        (("--results", "results.json", "--restart"), "--restart is for a model's run"),
        (("--results", "results.json", "--tiles", "2x2"), "--tiles is for a model's run"),
        (("--results", "results.json", "--checkpoint", "x.pth"), "--checkpoint is for a model's"),
        (("--restart",), "--restart is of use with --output, --save-results or --submission only"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, capsys, options, complaint):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    assert evaluate("--annotations", truth.path, "--images", tmp_path, *options) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("fake_model")
def test_what_stops_an_evaluation_names_the_option_that_lets_it_pass(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    document = json.loads(path.read_text())
    for annotation in document["annotations"][:2]:
        annotation["bbox"] = "none"
    path.write_text(json.dumps(document))
    arguments = ("--annotations", path, "--images", images)
    assert evaluate(*arguments) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint.endswith("(ids 1, 2). --skip-invalid leaves such objects out.")
    assert evaluate(*arguments, "--skip-invalid") == 0
    assert "Annotations left out: 2 of 5: 2 as annotations[id=1].bbox" in capsys.readouterr().out


def test_results_of_more_images_are_scored_with_subset(tmp_path, capsys):
    truth = ground_truth(tmp_path, [entry(1, 1, FIRST)])
    results = tmp_path / "results.json"
    results.write_text(json.dumps([result(1, FIRST, 0.5), result(9, FIRST, 0.9)]))
    arguments = ("--annotations", truth.path, "--results", results)
    assert evaluate(*arguments) == 2
    assert capsys.readouterr().err.endswith(" --subset scores those that are.\n")
    assert evaluate(*arguments, "--subset") == 0
    assert "2 images, 1 results" in capsys.readouterr().out
    assert evaluate("--annotations", truth.path, "--images", tmp_path, "--subset") == 2
    assert "--subset belongs to --results" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_model")
def test_a_class_that_is_written_differently_is_the_same_and_told(tmp_path, capsys):
    path, images = write_squares(tmp_path)
    path.write_text(path.read_text().replace('"square"', '"Square "'))
    record = tmp_path / "scores.json"
    assert evaluate("--annotations", path, "--images", images, "--json", record) == 0
    assert "Classes that are written differently: 'Square ' is the model's 'square'." in (
        capsys.readouterr().out
    )
    assert json.loads(record.read_text())["segm"]["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("alone", [True, False])
def test_objects_without_a_mask_are_told(tmp_path, capsys, alone):
    truth = ground_truth(
        tmp_path, [entry(1, 1, FIRST, segmentation=[]), entry(2, 2, SECOND)][: 1 if alone else 2]
    )
    results = tmp_path / "results.json"
    results.write_text(json.dumps([result(1, FIRST, 0.5)]))
    assert evaluate("--annotations", truth.path, "--results", results) == 0
    told = capsys.readouterr().out
    assert ("None of the 1 objects has a mask: boxes alone are scored." in told) == alone
    assert ("Objects without a mask: 1 of 2;" in told) != alone
    assert ("\nsegm " in told) != alone


def test_a_file_of_videos_is_for_another_command(tmp_path, capsys):
    path, images = write_videos(tmp_path)
    assert evaluate("--annotations", path, "--images", images) == 2
    assert "`sipmask evaluate youtube-vis` takes it." in capsys.readouterr().err

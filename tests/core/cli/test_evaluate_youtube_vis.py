"""`sipmask evaluate youtube-vis` on videos of moving squares."""

import dataclasses
import json
import zipfile

import cv2
import numpy as np
import pytest
import torch
from coco_squares import tiny_preset
from moving_squares import SIZE, SquareSpotter, write_videos
from official import OFFICIAL

import sipmask_core as sm
from sipmask_core.cli import evaluation_run as data_set_run
from sipmask_core.cli.main import main
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.data.youtube_vis_results import read_results
from sipmask_core.runtime import distributed


@pytest.fixture
def videos(tmp_path):
    return write_videos(tmp_path)


@pytest.fixture
def spotter(monkeypatch):
    predictor = SquareSpotter()
    monkeypatch.setattr(data_set_run, "load_predictor", lambda *_, **__: predictor)
    return predictor


def evaluate(*arguments):
    return main(["evaluate", "youtube-vis", *map(str, arguments)])


def on(videos):
    return "--annotations", videos[0], "--images", videos[1]


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_model_that_sees_everything_scores_one(videos, spotter, tmp_path, capsys):
    saved, scores = tmp_path / "results.json", tmp_path / "scores.json"
    assert evaluate(*on(videos), "--save-results", saved, "--json", scores) == 0
    out = capsys.readouterr().out
    assert "3 videos, 12 frames, 6 results" in out
    *_, header, first, second, third, written = out.splitlines()
    rows = [line.split()[0] for line in (header, first, second, third)]
    assert rows == ["HOTA", "all", "bar", "square"]
    assert written == f"Written: {saved}, {scores}"
    record = json.loads(scores.read_text())
    assert (record["videos"], record["frames"], record["results"]) == (3, 12, 6)
    for figures in (record, *record["by_class"].values()):
        assert figures["segm"]["AP"] == figures["segm"]["AR1"] == pytest.approx(1)
        held = [figures["tracking"][metric] for metric in ("HOTA", "IDF1", "MOTA")]
        assert held == pytest.approx([1, 1, 1])
        assert figures["tracking"]["id_switches"] == 0
    assert list(record["by_class"]) == ["bar", "square"]
    assert record["mode"] == "online" and record["score_threshold"] == 0.05
    assert list(record["latency_ms"])[-2:] == ["track", "total"]
    assert record["latency_ms"]["total"]["p50"] <= record["latency_ms"]["total"]["p99"]
    assert record["frames_per_second"] > 0
    assert {str(videos[0]), str(videos[1])} <= set(record["provenance"]["inputs"])
    assert len(read_results(saved, read_videos(videos[0]))) == 6
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["results.json", "results.zip"])
def test_saved_results_score_the_same_without_a_model(videos, spotter, tmp_path, name):
    spotter.colours = ((2, 90), (2, 190))  # takes bars for squares
    saved, scores = tmp_path / name, tmp_path / "scores.json"
    assert evaluate(*on(videos), "--save-results", saved, "--json", scores) == 0
    first = json.loads(scores.read_text())
    spotter.images = 0
    again = ("--annotations", videos[0], "--results", saved, "--json", scores)
    assert evaluate(*again) == 0
    second = json.loads(scores.read_text())
    assert spotter.images == 0
    assert set(second["provenance"]["inputs"]) == {str(videos[0]), str(saved)}
    for key in ("videos", "frames", "results", "segm", "tracking", "by_class"):
        assert first[key] == second[key]
    assert first["by_class"]["bar"]["segm"]["AP"] == 0
    assert 0 < first["by_class"]["square"]["tracking"]["IDF1"] < 1


def test_of_several_processes_one_scores_existing_results(
    videos, spotter, tmp_path, capsys, monkeypatch
):
    saved, scores = tmp_path / "results.json", tmp_path / "scores.json"
    assert evaluate(*on(videos), "--save-results", saved) == 0
    capsys.readouterr()
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert evaluate("--annotations", videos[0], "--results", saved, "--json", scores) == 0
    assert capsys.readouterr().out == "" and not scores.exists()


def test_a_zip_is_what_the_server_takes(videos, spotter, tmp_path):
    saved = tmp_path / "submission.zip"
    assert evaluate(*on(videos), "--save-results", saved) == 0
    with zipfile.ZipFile(saved) as archive:
        results = json.loads(archive.read("results.json"))
    assert {(r["video_id"], r["category_id"]) for r in results} == {
        (video, category) for video in (1, 2, 3) for category in (2, 5)
    }
    assert all(len(result["segmentations"]) == 4 for result in results)


def test_ids_begin_anew_in_each_video(videos, spotter, tmp_path):
    # Video 3 shows its objects in the first frame alone: those of video 2 do not live on in it.
    saved = tmp_path / "results.json"
    assert evaluate(*on(videos), "--save-results", saved) == 0
    seen = [
        sum(mask is not None for mask in result["segmentations"])
        for result in json.loads(saved.read_text())
    ]
    assert sorted(seen) == [1, 1, 3, 3, 4, 4]


def test_an_interrupted_run_goes_on_where_it_was_and_gives_equal_bytes(
    videos, spotter, tmp_path, capsys
):
    for name in ("whole.json", "halves.json"):
        saved = tmp_path / name
        command = (*on(videos), "--save-results", saved)
        if name == "halves.json":
            spotter.images, spotter.interrupt_at = 0, 8  # in the second video
            assert evaluate(*command) == 130
            assert f"1 of 3 videos are finished and kept in {saved}.partial; the same command" in (
                capsys.readouterr().err
            )
            assert not saved.exists()
            spotter.images, spotter.interrupt_at = 0, None
        assert evaluate(*command) == 0
    assert spotter.images == 1 + 8  # one to warm up
    assert (tmp_path / "whole.json").read_bytes() == (tmp_path / "halves.json").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_what_was_kept_of_another_run_is_refused_or_forgotten(videos, spotter, tmp_path, capsys):
    saved = tmp_path / "results.json"
    spotter.interrupt_at = 8
    assert evaluate(*on(videos), "--save-results", saved) == 130
    spotter.interrupt_at = None
    assert evaluate(*on(videos), "--save-results", saved, "--limit", 1) == 2
    assert "limit was not given and is 1. Repeat" in capsys.readouterr().err
    slower = (*on(videos), "--save-results", saved, "--fps", 6)
    assert evaluate(*slower) == 2
    assert "fps was not given and is 6.0" in capsys.readouterr().err
    spotter.images = 0
    assert evaluate(*slower, "--restart") == 0
    assert spotter.images == 1 + 12


@pytest.mark.parametrize("truth", [None, []])
def test_without_truth_the_results_are_written_and_that_is_said(
    videos, spotter, tmp_path, capsys, truth
):
    change(videos[0], annotations=truth)
    saved, scores = tmp_path / "submission.zip", tmp_path / "scores.json"
    assert evaluate(*on(videos), "--save-results", saved, "--json", scores) == 0
    assert "has no tracks: the results are written, there is no score" in capsys.readouterr().out
    assert len(read_results(saved, read_videos(videos[0]))) == 6
    record = json.loads(scores.read_text())
    assert record["results"] == 6 and "segm" not in record and "tracking" not in record


def test_without_truth_there_must_be_something_to_write(videos, spotter, capsys):
    change(videos[0], annotations=[])
    assert evaluate(*on(videos)) == 2
    assert "has no tracks to compare with; give --save-results FILE" in capsys.readouterr().err
    assert spotter.images == 0


def test_results_cannot_be_scored_without_truth(videos, tmp_path, capsys):
    change(videos[0], annotations=[])
    assert evaluate("--annotations", videos[0], "--results", tmp_path / "results.json") == 2
    assert capsys.readouterr().err.endswith("has no tracks to compare with.\n")


def test_a_limit_counts_videos_and_ignores_the_results_of_others(videos, spotter, tmp_path):
    saved, scores = tmp_path / "results.json", tmp_path / "scores.json"
    assert evaluate(*on(videos), "--limit", 1, "--json", scores) == 0
    limited = json.loads(scores.read_text())
    assert (limited["videos"], limited["frames"], limited["results"]) == (1, 4, 2)
    assert evaluate(*on(videos), "--save-results", saved) == 0
    again = ("--annotations", videos[0], "--results", saved, "--json", scores)
    assert evaluate(*again, "--limit", 1) == 0
    assert json.loads(scores.read_text())["results"] == 2


def test_a_model_without_some_of_the_classes_misses_their_objects(videos, spotter, capsys):
    spotter.class_names = ("unicorn", "bus", "square")
    assert evaluate(*on(videos), "--limit", 1) == 0
    out = capsys.readouterr().out
    assert "does not know 1 of the 2 classes, whose objects count as missed: bar." in out
    assert "1 videos, 4 frames, 1 results" in out


def test_a_model_with_none_of_the_classes_is_refused(videos, spotter, capsys):
    spotter.class_names = ("unicorn", "bus", "cat")
    assert evaluate(*on(videos)) == 2
    error = capsys.readouterr().err
    assert "classes: it has 'bar', 'square', the model knows 'unicorn', 'bus', 'cat'." in error


def test_a_missing_frame_is_named_before_the_work(videos, spotter, capsys):
    (videos[1] / "video1" / "00002.png").unlink()
    assert evaluate(*on(videos)) == 2
    error = capsys.readouterr().err
    assert "1 of 12 images" in error and "video1/00002.png for one" in error
    assert spotter.images == 0


def test_a_frame_of_another_size_is_named_and_finished_videos_are_kept(
    videos, spotter, tmp_path, capsys
):
    frame = videos[1] / "video1" / "00002.png"
    good = frame.read_bytes()
    cv2.imwrite(str(frame), np.zeros((SIZE, SIZE + 2, 3), np.uint8))
    saved = tmp_path / "results.json"
    assert evaluate(*on(videos), "--save-results", saved) == 2
    error = capsys.readouterr().err
    assert "video1/00002.png has 80 x 82 pixels, the annotations say 80 x 80" in error
    assert "1 of 3 videos are finished" in error
    frame.write_bytes(good)
    spotter.images = 0
    assert evaluate(*on(videos), "--save-results", saved) == 0
    assert spotter.images == 1 + 8


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Give either --images, to run a model, or --results, to score a file"),
        (["--images", ".", "--results", "r.json"], "Give either --images"),
        (["--results", "r.json", "--save-results", "s.json"], "--save-results is for a model's"),
        (["--results", "r.json", "--mode", "online"], "--mode is for a model's run"),
        (["--results", "r.json", "--score-threshold", "0"], "--score-threshold is for a model's"),
        (["--images", ".", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["--images", ".", "--workers", "0"], "--workers is 0; it must be 1 or more"),
        (["--images", ".", "--restart"], "--restart is of use with --save-results only"),
        (["--images", "frames", "--fps", "0"], "fps is 0.0; it must be above 0"),
        (["--images", "frames", "--mode", "youtube-vis", "--fps", "6"], "has no use for fps"),
    ],
)
@pytest.mark.usefixtures("spotter")
def test_wrong_usage_is_one_sentence(videos, monkeypatch, capsys, options, sentence):
    monkeypatch.chdir(videos[0].parent)
    assert evaluate("--annotations", videos[0], *options) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("sipmask:") == 1


def test_a_model_file_with_a_track_branch_follows_as_its_authors_did(videos, tmp_path):
    preset = dataclasses.replace(tiny_preset(), embedding_channels=16)
    torch.manual_seed(0)
    model = sm.build_model(preset, class_names=("square", "bar"))
    checkpoint, scores = tmp_path / "tiny.safetensors", tmp_path / "scores.json"
    sm.save_checkpoint(model, checkpoint)
    command = (*on(videos), "--checkpoint", checkpoint, "--score-threshold", "0.001")
    command = (*command, "--device", "cpu", "--precision", "fp32", "--limit", 1)
    saved = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in saved:
        assert evaluate(*command, "--save-results", path, "--json", scores) == 0
    record = json.loads(scores.read_text())
    assert record["mode"] == "youtube-vis" and record["results"] > 0
    assert str(checkpoint) in record["provenance"]["inputs"]
    assert saved[0].read_bytes() == saved[1].read_bytes()
    assert evaluate(*command, "--mode", "online", "--save-results", saved[1]) == 0
    assert saved[0].read_bytes() != saved[1].read_bytes()


def official_cases():
    return sorted((OFFICIAL / "ytvis_eval").glob("case*_expected.json"))


@pytest.mark.skipif(not official_cases(), reason=f"no reference values in {OFFICIAL}/ytvis_eval")
def test_the_command_gives_the_figures_of_the_official_evaluator(tmp_path):
    for file in official_cases():
        case = file.name.removesuffix("_expected.json")
        truth, results = (file.with_name(f"{case}_{n}.json") for n in ("annotations", "results"))
        scores = tmp_path / "scores.json"
        assert evaluate("--annotations", truth, "--results", results, "--json", scores) == 0
        expected = json.loads(file.read_text())
        figures = list(json.loads(scores.read_text())["segm"].values())
        assert figures == pytest.approx(expected["stats"], abs=1e-9), case


def test_results_of_more_videos_are_scored_with_subset(videos, tmp_path, spotter, capsys):
    saved = tmp_path / "results.json"
    assert evaluate(*on(videos), "--save-results", saved) == 0
    document = json.loads(videos[0].read_text())
    kept = [a for a in document["annotations"] if a["video_id"] == 1]
    change(videos[0], videos=document["videos"][:1], annotations=kept)
    arguments = ("--annotations", videos[0], "--results", saved)
    assert evaluate(*arguments) == 2
    assert capsys.readouterr().err.endswith(" --subset scores those that are.\n")
    assert evaluate(*arguments, "--subset") == 0
    assert "1 videos, 4 frames, 2 results" in capsys.readouterr().out

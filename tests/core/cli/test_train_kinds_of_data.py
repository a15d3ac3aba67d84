"""What `sipmask train` learns from: photographs, videos, several files, boxes alone."""

import dataclasses
import json

import pytest
import torch
from coco_squares import tiny_preset, write_squares
from moving_squares import write_videos
from training_runs import refusal, steps, train_arguments

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.model.presets import PRESETS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(tiny_preset(), name="tiny"))


def test_a_track_branch_is_taught_by_photographs_and_detection_stays_as_it_was(
    tmp_path, monkeypatch
):
    image_preset = dataclasses.replace(tiny_preset(), name="tiny")
    preset = dataclasses.replace(image_preset, name="tiny_video", embedding_channels=16)
    monkeypatch.setitem(PRESETS, "tiny_video", preset)
    write_squares(tmp_path / "data")
    seeing = sm.build_model(image_preset, class_names=("square",))
    sm.save_checkpoint(seeing, tmp_path / "seeing.safetensors")
    arguments = [*train_arguments(tmp_path, epochs=1), "--preset", "tiny_video", "--hold-out", 0]
    arguments += ["--checkpoint", tmp_path / "seeing.safetensors", "--remake-heads"]
    assert main([*map(str, arguments), "--train-only", "track"]) == 0
    assert all(step["losses"]["loss_match"] > 0 for step in steps(tmp_path / "run"))
    taught = sm.load_model(tmp_path / "run" / "best.safetensors")
    for name, value in seeing.state_dict().items():
        assert torch.equal(taught.state_dict()[name], value), name


def test_a_video_preset_trains_on_videos_and_validates_on_frames_of_others(
    tmp_path, monkeypatch, capsys
):
    preset = dataclasses.replace(tiny_preset(), name="tiny_video", embedding_channels=16)
    monkeypatch.setitem(PRESETS, "tiny_video", preset)
    annotations, frames = write_videos(tmp_path, count=2, frames=3)
    arguments = [*train_arguments(tmp_path, epochs=1), "--preset", "tiny_video"]
    arguments += ["--annotations", annotations, "--images", frames, "--hold-out", 1]
    assert main([*map(str, arguments)]) == 0
    assert "3 held-out images:" in capsys.readouterr().out
    (step,) = steps(tmp_path / "run")
    assert step["losses"]["loss_match"] > 0
    assert "2 videos cannot be held out of 2" in refusal(
        [*arguments, "--hold-out", 2, "--output", tmp_path / "other"]
    )
    annotations.write_text(json.dumps(json.loads(annotations.read_text()) | {"annotations": []}))
    assert "has no annotated tracks to learn from" in refusal(
        [*arguments, "--output", tmp_path / "other"]
    )


@pytest.mark.usefixtures("tiny")
def test_several_files_train_one_model_and_another_one_validates_it(tmp_path, capsys):
    squares, images = write_squares(tmp_path / "data")
    discs, disc_images = write_squares(tmp_path / "discs")
    document = json.loads(discs.read_text().replace('"square"', '"disc"'))
    for annotation in document["annotations"][:2]:
        annotation["segmentation"] = []
    discs.write_text(json.dumps(document))
    held, held_images = write_squares(tmp_path / "held")
    arguments = train_arguments(tmp_path, epochs=1)
    place = arguments.index("--hold-out")
    del arguments[place : place + 2]
    arguments += ["--annotations", squares, discs, "--images", images, disc_images]
    validation = ["--validation", held, "--validation-images", held_images]
    assert main([*map(str, [*arguments, *validation])]) == 0
    printed = capsys.readouterr().out
    assert "8 objects have masks to learn from, 2 a box alone." in printed
    assert "6 held-out images:" in printed
    model = sm.load_model(tmp_path / "run" / "best.safetensors")
    assert model.class_names == ("square", "disc")
    other = [*arguments, "--output", tmp_path / "other"]
    assert "each say what to validate on" in refusal([*other, *validation, "--hold-out", 0.2])
    assert "names 2 folders for 3 annotation files" in refusal(
        [*other, "--annotations", squares, discs, held]
    )
    assert "belongs to --validation" in refusal([*other, *validation[2:]])


@pytest.mark.usefixtures("tiny")
def test_boxes_alone_train_a_detector_and_say_so(tmp_path, capsys):
    annotations, _ = write_squares(tmp_path / "data")
    document = json.loads(annotations.read_text())
    for annotation in document["annotations"]:
        del annotation["segmentation"]
    annotations.write_text(json.dumps(document))
    record = tmp_path / "record.json"
    assert main([*map(str, [*train_arguments(tmp_path, epochs=1), "--json", record])]) == 0
    assert "trains a detector of boxes" in capsys.readouterr().out
    assert all(step["losses"]["loss_mask"] == 0 for step in steps(tmp_path / "run"))
    assert set(json.loads(record.read_text())["validation"]) == {"bbox"}
    assert (tmp_path / "run" / "best.safetensors").exists()

"""`sipmask dataset`, from a video; tests/ros/bags/test_dataset.py has bags."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from bright_spot import BrightSpotPredictor, spot_image, write_hiding_spot
from coco_squares import tiny_model, write_squares

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.data.coco import read_annotations
from sipmask_core.data.youtube_vis import read_videos


@pytest.fixture
def predictor(monkeypatch):
    instance = BrightSpotPredictor()
    monkeypatch.setattr(sm.Predictor, "from_pretrained", lambda **options: instance)
    return instance


@pytest.fixture
def clip(tmp_path):
    return write_hiding_spot(tmp_path / "clip.mp4")


@pytest.mark.usefixtures("predictor")
def test_a_video_gives_a_coco_data_set(clip, tmp_path, capsys):
    out = tmp_path / "set"
    assert main(["dataset", "from-video", str(clip), "--output", str(out), "--every", "3"]) == 0
    assert "5 images, 4 objects, 1 tracks" in capsys.readouterr().out
    annotations = read_annotations(out / "annotations.json")
    assert [i.file_name for i in annotations.images] == [
        f"clip-{number:06}.jpg" for number in (0, 3, 6, 9, 12)
    ]
    assert [len(i.objects) for i in annotations.images] == [1, 1, 0, 1, 1]
    assert {o.track_id for i in annotations.images for o in i.objects} == {1}
    info = json.loads((out / "annotations.json").read_text())["info"]
    assert "annotated by bright_spot (scores from 0.3 on)" in info["description"]
    assert len(info["provenance"]["inputs"][str(clip)]) == 64


@pytest.mark.usefixtures("predictor")
def test_a_video_gives_a_youtube_vis_data_set(clip, tmp_path):
    out = tmp_path / "set"
    command = ["dataset", "from-video", str(clip), "--output", str(out), "--format", "youtube-vis"]
    assert main(command) == 0
    (video,) = read_videos(out / "annotations.json").videos
    (track,) = video.tracks
    assert len(video.file_names) == 14
    assert [i for i, shape in enumerate(track.shapes) if shape is None] == [6, 7, 8]


@pytest.mark.usefixtures("predictor")
def test_images_alone_have_the_classes_of_the_model(clip, tmp_path):
    out = tmp_path / "set"
    command = ["dataset", "from-video", str(clip), "--output", str(out), "--no-annotations"]
    assert main([*command, "--limit", "3", "--image-format", "png"]) == 0
    annotations = read_annotations(out / "annotations.json")
    assert annotations.class_names == ("person",)
    assert [i.objects for i in annotations.images] == [(), (), ()]
    assert len(list((out / "images").glob("*.png"))) == 3


def test_what_a_model_annotates_it_finds_again_and_can_be_trained_on(tmp_path):
    """Go the whole way: video, data set, evaluation with the same model, training."""
    checkpoint = tmp_path / "tiny.safetensors"
    torch.manual_seed(0)
    sm.save_checkpoint(tiny_model(), checkpoint)
    frames = tmp_path / "frames"
    frames.mkdir()
    rng = np.random.default_rng(5)
    for index in range(4):
        image = rng.integers(0, 80, (80, 80, 3), np.uint8)
        image[20:50, 10 + 8 * index : 40 + 8 * index] = (40, 220, 240)
        cv2.imwrite(str(frames / f"{index}.png"), image)
    model_options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--precision", "fp32"]
    out = tmp_path / "set"
    command = ["dataset", "from-video", str(frames), "--output", str(out), "--image-format", "png"]
    assert main([*command, "--score-threshold", "0", *model_options]) == 0
    data = ["--annotations", str(out / "annotations.json"), "--images", str(out / "images")]
    scores = tmp_path / "scores.json"
    command = ["evaluate", "coco", *data, "--score-threshold", "0", "--json", str(scores)]
    assert main([*command, *model_options]) == 0
    # Untrained, the model also finds empty masks, which are not annotated.
    assert json.loads(scores.read_text())["segm"]["AR100"] == pytest.approx(1)

    command = ["train", *data, "--output", str(tmp_path / "run"), "--checkpoint", str(checkpoint)]
    command += ["--epochs", "1", "--batch", "2", "--size", "96", "--hold-out", "1"]
    assert main([*command, "--workers", "0", "--device", "cpu"]) == 0
    assert (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.usefixtures("predictor")
def test_damaged_frames_are_named_and_the_rest_is_kept(tmp_path, capsys):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(3):
        cv2.imwrite(str(frames / f"{index}.png"), spot_image())
    (frames / "1.png").write_bytes(b"no picture")
    out = tmp_path / "set"
    assert main(["dataset", "from-video", str(frames), "--output", str(out)]) == 1
    assert "1.png cannot be decoded as an image" in capsys.readouterr().err
    assert len(read_annotations(out / "annotations.json").images) == 2


@pytest.mark.usefixtures("predictor")
def test_a_folder_that_holds_something_is_not_written_to(clip, tmp_path, capsys):
    assert main(["dataset", "from-video", str(clip), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "exists; a data set is written to a new or empty folder" in error
    assert error.count("sipmask:") == 1


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [
        ("--every", "0", "1 or more"),
        ("--every", "1.5", "1 or more"),
        ("--limit", "-3", "1 or more"),
        ("--rate", "-1", "above 0 and at most 1000"),
        ("--rate", "nan", "above 0 and at most 1000"),
        ("--skip-similar", "256", "from 0 to 255"),
    ],
)
def test_an_option_out_of_range_is_named_with_what_is_accepted(
    tmp_path, capsys, option, value, accepted
):
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="2"):
        main(["dataset", "from-video", "clip.mp4", "--output", str(out), option, value])
    assert f"argument {option}: it is {value!r}; it must be {accepted}" in capsys.readouterr().err
    assert not out.exists()


def test_without_ros_one_sentence_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "sipmask_ros.bags.evaluation", None)
    command = ["dataset", "from-bag", "drive.mcap", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "Bags need ROS 2" in capsys.readouterr().err


def test_what_another_model_finds_is_added_to_annotations(tmp_path, capsys):
    annotations, _ = write_squares(tmp_path)
    first = json.loads(annotations.read_text())["images"][0]
    found = tmp_path / "found.json"
    found.write_text(
        json.dumps(
            {
                "categories": [{"id": 9, "name": "disc"}],
                "boxes": {Path(first["file_name"]).stem: [[9, 1, 2, 30, 40, 0.9]]},
            }
        )
    )
    output = tmp_path / "all.json"
    command = ["dataset", "pseudo", "--annotations", str(annotations), "--found", str(found)]
    assert main([*command, "--output", str(output)]) == 0
    assert "1 boxes used, 0 uncertain" in capsys.readouterr().out
    added = read_annotations(output)
    assert added.class_names == ("square", "disc")
    (disc,) = (o for o in added.images[0].objects if o.label == 1)
    assert not disc.has_mask and disc.bbox == (1, 2, 30, 40)
    info = json.loads(output.read_text())["info"]
    assert info["description"] == "squares"
    assert len(info["pseudo_labels"]["inputs"]) == 2
    assert main([*command, "--output", str(output), "--use", "0.2"]) == 2
    assert "must not be higher" in capsys.readouterr().err

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time

import cv2
import pytest
import torch
from coco_squares import tiny_preset, tiny_recipe, write_squares
from places import ROOT
from training_runs import refusal, steps, train_arguments

import sipmask_core as sm
from sipmask_core.cli.main import main, make_parser
from sipmask_core.cli.training_outcome import farewell
from sipmask_core.data.coco import read_annotations
from sipmask_core.evaluation.coco import METRICS
from sipmask_core.model.presets import PRESETS
from sipmask_core.training.dataset import CocoDataset
from sipmask_core.training.loop import Trainer
from sipmask_core.training.recipe_options import chosen_values

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(tiny_preset(), name="tiny"))


SCRIPT = """
import dataclasses, sys
sys.path.insert(0, "tests/helpers")
from coco_squares import tiny_preset
from sipmask_core.model.presets import PRESETS
PRESETS["tiny"] = dataclasses.replace(tiny_preset(), name="tiny")
from sipmask_core.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def sipmask(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(tmp_path):
    write_squares(tmp_path / "data")
    arguments = train_arguments(tmp_path, epochs=5000)
    process = sipmask(*arguments)
    try:
        log = tmp_path / "run" / "log.jsonl"
        while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    last_line = errors.splitlines()[-1]
    assert last_line.startswith("Stopped at step ")
    assert last_line.endswith(" --resume")
    assert "Traceback" not in errors
    saved = torch.load(tmp_path / "run" / "last.pth", weights_only=True)
    assert saved["step"] == len(steps(tmp_path / "run")) >= 3


@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_written_or_resumed_is_refused_before_images_are_read(tmp_path, monkeypatch):
    def too_early(self):
        raise AssertionError("images are read already")

    write_squares(tmp_path / "data")
    monkeypatch.setattr(CocoDataset, "fill_cache", too_early)
    arguments = train_arguments(tmp_path, epochs=2)
    assert "no run to resume" in refusal([*arguments, "--resume"])
    (tmp_path / "file").write_text("something")
    assert f"Cannot write {tmp_path}" in refusal([*arguments, "--json", tmp_path])
    complaint = refusal([*arguments, "--output", tmp_path / "file"])
    assert f"Cannot make the folder {tmp_path / 'file'}" in complaint
    assert (tmp_path / "file").read_text() == "something"


def train(*arguments):
    """Run the command in this process. Return its exit status."""
    return main([*map(str, arguments)])


def without(option, arguments):
    """Return the arguments without an option and its value."""
    place = arguments.index(option)
    return arguments[:place] + arguments[place + 2 :]


@pytest.mark.usefixtures("tiny")
def test_fine_tuning_for_other_classes_remakes_the_classifier_when_asked(tmp_path, capsys):
    write_squares(tmp_path / "data")
    preset = dataclasses.replace(tiny_preset(), name="mine")
    source = sm.build_model(preset, class_names=("a", "b"))
    checkpoint = tmp_path / "mine.safetensors"
    sm.save_checkpoint(source, checkpoint)
    arguments = without("--preset", train_arguments(tmp_path, epochs=1))
    arguments += ["--checkpoint", checkpoint]
    complaint = refusal(arguments)
    assert "fcos_cls.weight (2, 64, 3, 3) instead of (1, 64, 3, 3)" in complaint
    assert "--remake-heads" in complaint
    assert train(*arguments, "--remake-heads", "--lr", 1e-9) == 0
    printed = capsys.readouterr().out
    assert "bbox_head.fcos_cls.weight, bbox_head.fcos_cls.bias." in printed
    tuned = sm.load_model(tmp_path / "run" / "best.safetensors")
    assert tuned.class_names == ("square",)
    assert tuned.preset.name == "mine"
    kept = source.state_dict()
    for name, value in tuned.state_dict().items():
        if "fcos_cls" not in name:
            assert torch.allclose(value, kept[name], atol=1e-6), name
    saved = torch.load(tmp_path / "run" / "last.pth", weights_only=True)
    assert "bbox_head.fcos_reg.weight" in saved["pretrained"]
    assert "bbox_head.fcos_cls.weight" not in saved["pretrained"]


@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_a_start_is_refused(tmp_path):
    write_squares(tmp_path / "data")
    arguments = train_arguments(tmp_path, epochs=1)
    assert "--preset, or give a --checkpoint" in refusal(without("--preset", arguments))
    assert "give one" in refusal([*arguments, "--init", "a", "--checkpoint", "b"])
    assert "belongs to --checkpoint" in refusal([*arguments, "--remake-heads"])


@pytest.mark.usefixtures("tiny")
def test_a_missing_tensorboard_is_told_and_no_obstacle(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sipmask_core.training.journal.has_tensorboard", lambda: False)
    monkeypatch.setattr(Trainer, "run", lambda _: None)
    write_squares(tmp_path / "data")
    assert train(*train_arguments(tmp_path, epochs=1)) == 0
    assert capsys.readouterr().out.count("TensorBoard is not installed") == 1


def test_options_change_the_recipe_and_the_batch_the_learning_rate():
    def changed(*options):
        required = ["train", "--preset", "x", "--annotations", "a", "--images", "i"]
        args = make_parser().parse_args([*required, "--output", "o", *options])
        return tiny_recipe().changed(chosen_values(vars(args), turns=False))

    assert changed() == tiny_recipe()
    assert changed("--batch", "12").lr == pytest.approx(4 * tiny_recipe().lr)
    assert changed("--batch", "12", "--lr", "0.3").lr == 0.3
    options = ("--accumulate", "3", "--precision", "fp16", "--clip-norm", "0", "--ema", "0.5")
    assert changed(*options, "--normalise", "local") == dataclasses.replace(
        tiny_recipe(),
        accumulate=3,
        precision="fp16",
        clip_norm=0.0,
        ema_decay=0.5,
        normalise="local",
    )


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("checkpoint_written", [False, True])
def test_a_second_ctrl_c_offers_to_resume_only_what_was_saved(
    tmp_path, monkeypatch, capsys, checkpoint_written
):
    def stopped(trainer):
        if checkpoint_written:
            trainer.save()
        trainer.step += 3
        raise KeyboardInterrupt

    write_squares(tmp_path / "data")
    monkeypatch.setattr(Trainer, "run", stopped)
    assert main([*map(str, train_arguments(tmp_path, epochs=2))]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("Stopped at step 3")
    assert ("To go on from step 0: " in said) == checkpoint_written
    again = shlex.join(["sipmask", *map(str, train_arguments(tmp_path, epochs=2)), "--resume"])
    assert said.endswith(again) == checkpoint_written


def test_under_torchrun_the_way_to_go_on_is_torchrun(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    sentence = farewell(["sipmask", "train", "--output", "my run", "--resume"], 7, 5)
    assert sentence == (
        "Stopped at step 7. To go on from step 5: torchrun --nproc-per-node 2 -m sipmask_core"
        " train --output 'my run' --resume"
    )


@pytest.mark.usefixtures("tiny")
def test_missing_validation_images_are_named_before_training_begins(tmp_path):
    annotations, images = write_squares(tmp_path / "data")
    held_out = read_annotations(annotations).split(2)[1].images[0].file_name
    (images / held_out).unlink()
    assert f"{held_out} for one" in refusal(train_arguments(tmp_path, epochs=2))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny")
def test_the_command_trains_and_reports_the_held_out_images(tmp_path):
    write_squares(tmp_path / "data")
    record = tmp_path / "record.json"
    process = sipmask(*train_arguments(tmp_path, epochs=2), "--json", record)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "2 held-out images:" in output
    assert set(json.loads(record.read_text())["validation"]["segm"]) == set(METRICS)
    assert "segm" in output
    inputs = json.loads(record.read_text())["provenance"]["inputs"]
    assert set(inputs) == {str(tmp_path / "data" / name) for name in ("squares.json", "images")}
    assert None not in inputs.values()
    assert sm.load_model(tmp_path / "run" / "best.safetensors").preset.name == "tiny"
    assert cv2.imread(str(tmp_path / "run" / "predictions.png")) is not None
    assert "holds a run already; add --resume" in refusal(train_arguments(tmp_path, epochs=2))

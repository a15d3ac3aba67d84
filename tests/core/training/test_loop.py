import contextlib
import dataclasses
import io
import json
import math
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from coco_squares import tiny_model, tiny_preset, tiny_recipe, write_squares
from full_disk import SAYS, full_disk
from moving_squares import write_videos
from places import ROOT

import sipmask_core as sm
from sipmask_core.cli.main import main, make_parser
from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import METRICS
from sipmask_core.model.presets import PRESETS
from sipmask_core.training.dataset import CocoDataset
from sipmask_core.training.journal import Journal
from sipmask_core.training.loop import DivergenceError, Trainer
from sipmask_core.training.objective import named_losses
from sipmask_core.training.optimizer import make_optimizer
from sipmask_core.training.recipe import recipe_for
from sipmask_core.training.recipe_options import chosen_values
from sipmask_core.training.samples import AugmentedSamples

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


DRAW_CURVES = Journal.draw


@pytest.fixture(autouse=True)
def without_curves(monkeypatch):
    """Leave out the drawing of curves, which takes longer than an epoch of a model this small."""
    monkeypatch.setattr(Journal, "draw", lambda journal: None)


@pytest.fixture
def dataset(tmp_path):
    annotations, images = write_squares(tmp_path / "data")
    return CocoDataset(read_annotations(annotations), images, max_side=80)


def make_trainer(dataset, output, recipe=None, **options):
    recipe = recipe or tiny_recipe()
    torch.manual_seed(recipe.seed)
    samples = AugmentedSamples(dataset, recipe, tiny_preset())
    return Trainer(tiny_model(), samples, recipe, output, **options)


def steps(output):
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines if "losses" in line]


def fake_validation(values):
    remaining = iter(values)

    def validate(model):
        assert not model.training
        ap = next(remaining)
        return {"segm": {"AP": ap, "AP50": ap}, "bbox": {"AP": ap, "AP50": ap}}

    return validate


def interrupt_after(trainer, step):
    """Let Ctrl-C come while that step runs."""
    losses = trainer.objective.losses

    def interrupted(*batch):
        if trainer.step == step:
            signal.raise_signal(signal.SIGINT)
        return losses(*batch)

    trainer.objective.losses = interrupted


def test_a_run_leaves_log_curves_checkpoint_and_weights(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Journal, "draw", DRAW_CURVES)
    make_trainer(dataset, tmp_path / "run", validate=fake_validation([0.1, 0.3, 0.2])).run()
    run = tmp_path / "run"
    assert sorted(p.name for p in run.iterdir()) == [
        "best.safetensors",
        "curves.png",
        "last.pth",
        "log.jsonl",
        "tensorboard",
    ]
    assert [line["step"] for line in steps(run)] == list(range(6))
    assert all(math.isfinite(line["total"]) for line in steps(run))
    assert steps(run)[0]["losses"].keys() == steps(run)[-1]["losses"].keys()
    assert sm.load_model(run / "best.safetensors").class_names == ("square",)


def test_the_weights_of_the_best_validation_are_published(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path, validate=fake_validation([0.1, 0.3, 0.2]))
    assert trainer.run()["segm"]["AP"] == 0.2
    metadata = sm.load_checkpoint(tiny_model(), tmp_path / "best.safetensors")
    assert metadata["step"] == "4"
    assert metadata["segm AP"] == "0.3000"


def test_training_lowers_the_loss(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=12, lr=5e-3)
    make_trainer(dataset, tmp_path, recipe).run()
    totals = [line["total"] for line in steps(tmp_path)]
    assert sum(totals[-6:]) < 0.8 * sum(totals[:6])


@pytest.mark.parametrize(
    ("precision", "stop_in_step"), [("fp32", 1), ("bf16", 1), ("bf16", 2), ("bf16", 4)]
)
def test_a_resumed_run_equals_an_uninterrupted_one(dataset, tmp_path, stop_in_step, precision):
    recipe = dataclasses.replace(tiny_recipe(), precision=precision)
    whole = make_trainer(dataset, tmp_path / "whole", recipe)
    whole.run()

    stopped = make_trainer(dataset, tmp_path / "parts", recipe)
    interrupt_after(stopped, stop_in_step)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert stopped.step == stop_in_step + 1  # the step under way was finished

    resumed = make_trainer(dataset, tmp_path / "parts", recipe)
    torch.manual_seed(99)  # whatever happened in between
    resumed.resume()
    assert resumed.step == stop_in_step + 1
    resumed.run()
    assert steps(tmp_path / "parts") == steps(tmp_path / "whole")
    for ours, theirs in (
        (resumed.model, whole.model),
        (resumed.average.model, whole.average.model),
    ):
        expected = theirs.state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in ours.state_dict().items())


def applied_gradients(trainer):
    """Return a list that fills with each step's gradients, by parameter, as applied."""
    applied = []
    step = trainer.optimizer.step

    def watched(*arguments):
        named = trainer.model.named_parameters()
        applied.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        return step(*arguments)

    trainer.optimizer.step = watched
    return applied


def test_the_parts_of_a_batch_give_the_mean_of_their_gradients(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, clip_norm=0.0)
    trainer = make_trainer(dataset, tmp_path, dataclasses.replace(recipe, accumulate=3))
    batches = []
    losses = trainer.objective.losses

    def watched(images, targets, normalise):
        batches.append((images, targets))
        return losses(images, targets, normalise)

    trainer.objective.losses = watched
    applied = applied_gradients(trainer)
    trainer.run()
    assert [len(images) for images, _ in batches] == [1] * 6

    torch.manual_seed(recipe.seed)
    model = tiny_model()
    for images, targets in batches[:3]:
        (torch.stack(list(named_losses(model, images, targets).values())).sum() / 3).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(applied[0][name], parameter.grad, rtol=1e-3, atol=1e-5), name
    assert steps(tmp_path)[0]["losses"] == pytest.approx(
        {
            name: sum(named_losses(model, *batch)[name].item() for batch in batches[:3]) / 3
            for name in steps(tmp_path)[0]["losses"]
        },
        rel=1e-4,
    )


def test_a_batch_is_worked_off_in_equal_parts_only(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), accumulate=2)
    with pytest.raises(InputError, match=r"3 images .* cannot be worked off in 2 equal parts"):
        make_trainer(dataset, tmp_path, recipe)


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_gradients_are_scaled_down_to_the_norm_that_was_asked_for(dataset, tmp_path, clip_norm):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, clip_norm=clip_norm)
    trainer = make_trainer(dataset, tmp_path, recipe)
    applied = applied_gradients(trainer)
    trainer.run()
    for line, gradients in zip(steps(tmp_path), applied, strict=True):
        norm = torch.stack([g.norm() for g in gradients.values()]).norm().item()
        assert norm == pytest.approx(clip_norm or line["grad_norm"], rel=1e-3)
        assert line["grad_norm"] > 0.5


def test_a_step_whose_half_precision_gradients_overflow_is_left_out(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, precision="fp16")
    trainer = make_trainer(dataset, tmp_path, recipe)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.run()
    assert [line["grad_norm"] for line in steps(tmp_path)] == [None, None]
    resumed = make_trainer(dataset, tmp_path, recipe)
    resumed.resume()
    assert resumed.scaler.get_scale() == trainer.scaler.get_scale() == 2.0**38
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())


def test_half_precision_gradients_that_always_overflow_end_the_run(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path, dataclasses.replace(tiny_recipe(), precision="fp16"))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    weight = trainer.model.bbox_head.fcos_cls.weight
    weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergenceError, match=r"step 0: gradient norm.* is inf"):
        trainer.run()


class ReferenceSamples(AugmentedSamples):
    """Each image is its own reference."""

    def __getitem__(self, key):
        image, target = super().__getitem__(key)
        return image, {**target, "reference_image": image}


def test_reference_images_are_normalised_like_images(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1)
    trainer = Trainer(
        tiny_model(), ReferenceSamples(dataset, recipe, tiny_preset()), recipe, tmp_path
    )
    losses = trainer.objective.losses

    def watched(images, targets, normalise):
        references = torch.stack([target["reference_image"] for target in targets])
        assert images.shape == (3, 3, 96, 96)
        assert torch.equal(references, images)
        return losses(images, targets, normalise)

    trainer.objective.losses = watched
    trainer.run()
    assert len(steps(tmp_path)) == 2


def test_pictures_are_drawn_at_each_validation(dataset, tmp_path):
    drawn = []

    def draw(model):
        assert not model.training
        drawn.append(model)
        return np.full((20, 30, 3), len(drawn), np.uint8)

    validate = fake_validation([0.1, 0.3, 0.2])
    make_trainer(dataset, tmp_path, validate=validate, draw=draw).run()
    assert len(drawn) == 3
    assert (cv2.imread(str(tmp_path / "predictions.png")) == 3).all()


def test_workers_change_nothing(dataset, tmp_path):
    # OpenCV's own threads must not be inherited by the workers: they would wait for them for ever.
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1500, 1500))
    make_trainer(dataset, tmp_path / "none").run()
    make_trainer(dataset, tmp_path / "two", workers=2).run()
    assert steps(tmp_path / "none") == steps(tmp_path / "two")


def test_a_validation_does_not_disturb_the_training(dataset, tmp_path):
    def careless(model):
        torch.rand(3)
        return {kind: {"AP": 0.5, "AP50": 0.5} for kind in ("segm", "bbox")}

    make_trainer(dataset, tmp_path / "without").run()
    make_trainer(dataset, tmp_path / "with", validate=careless).run()
    assert steps(tmp_path / "without") == steps(tmp_path / "with")


def test_a_validation_cut_short_is_made_up_on_resume(dataset, tmp_path):
    def interrupted(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(dataset, tmp_path, validate=interrupted).run()
    resumed = make_trainer(dataset, tmp_path, validate=fake_validation([0.1, 0.2, 0.3]))
    resumed.resume()
    assert resumed.step == 2
    assert resumed.run()["segm"]["AP"] == 0.3


def test_a_stop_in_the_last_step_still_validates_and_publishes_on_resume(dataset, tmp_path):
    for validate in (None, fake_validation([0.1, 0.2, 0.3])):
        output = tmp_path / ("run" if validate is None else "validated")
        stopped = make_trainer(dataset, output, validate=validate)
        interrupt_after(stopped, 5)
        with pytest.raises(KeyboardInterrupt):
            stopped.run()
        resumed = make_trainer(dataset, output, validate=validate)
        resumed.resume()
        metrics = resumed.run()
        assert (metrics is None) == (validate is None)
        published = sm.load_checkpoint(tiny_model(), output / "best.safetensors")
        assert published["step"] == "6"


def test_a_finished_run_resumes_to_its_own_end(dataset, tmp_path):
    make_trainer(dataset, tmp_path, validate=fake_validation([0.1, 0.2, 0.3])).run()
    before = steps(tmp_path)
    finished = make_trainer(dataset, tmp_path, validate=fake_validation([]))
    finished.resume()
    assert finished.run()["segm"]["AP"] == 0.3
    assert steps(tmp_path) == before


def test_lines_logged_after_the_checkpoint_are_not_logged_twice(dataset, tmp_path):
    stopped = make_trainer(dataset, tmp_path)
    interrupt_after(stopped, 2)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    with (tmp_path / "log.jsonl").open("a") as log:  # a power cut, two steps later
        log.write(json.dumps({**steps(tmp_path)[-1], "step": 3}) + "\n" + '{"step": 4, "lo')
    resumed = make_trainer(dataset, tmp_path)
    resumed.resume()
    resumed.run()
    assert [line["step"] for line in steps(tmp_path)] == list(range(6))


def test_a_second_interrupt_ends_at_once(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)

    def interrupted_twice(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the step went on")

    trainer.objective.losses = interrupted_twice
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.step == 0


@pytest.mark.parametrize("moment", ["save", "publish"])
def test_an_interrupt_is_heard_while_files_are_written(moment, dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    write = getattr(trainer, moment)

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return write(*arguments)

    setattr(trainer, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.step == trainer.saved_step == trainer.steps_per_epoch


def test_the_previous_interrupt_handler_comes_back(dataset, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    make_trainer(dataset, tmp_path).run()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_finite_names_step_and_term_and_keeps_the_checkpoint(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    losses = trainer.objective.losses

    def diverging(*batch):
        values = losses(*batch)
        if trainer.step == 3:
            values["loss_mask"] = values["loss_mask"] * math.nan
        return values

    trainer.objective.losses = diverging
    with pytest.raises(DivergenceError, match=r"step 3: loss_mask is nan; .*last\.pth is kept"):
        trainer.run()
    kept = torch.load(tmp_path / "last.pth", weights_only=True)
    assert kept["step"] == 2
    assert all(v.isfinite().all() for v in kept["model"].values())


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    trainer.save()
    before = (tmp_path / "last.pth").read_bytes()

    with full_disk(1000), pytest.raises(InputError, match=rf"last\.pth: {SAYS}"):
        trainer.save()
    assert (tmp_path / "last.pth").read_bytes() == before
    assert [p.name for p in tmp_path.glob("*last*")] + [p.name for p in tmp_path.glob(".*")] == [
        "last.pth"
    ]


def test_a_run_resumes_with_its_own_recipe_and_data_only(dataset, tmp_path):
    make_trainer(dataset, tmp_path).save()
    other = make_trainer(dataset, tmp_path, dataclasses.replace(tiny_recipe(), lr=0.5))
    with pytest.raises(InputError, match=r"another recipe .*: lr was 0\.001, is 0\.5"):
        other.resume()
    other = make_trainer(dataset, tmp_path)
    dataset.annotations = dataclasses.replace(dataset.annotations, sha256="0")
    with pytest.raises(InputError, match="another annotation file"):
        other.resume()
    other.model.preset = dataclasses.replace(tiny_preset(), sub_regions=3)
    with pytest.raises(InputError, match="another preset"):
        other.resume()


def test_a_run_resumes_with_its_own_training_images_only(dataset, tmp_path):
    whole = dataset.annotations
    dataset.annotations = whole.split(2)[0]
    make_trainer(dataset, tmp_path).save()
    dataset.annotations = whole.split(1)[0]
    with pytest.raises(InputError, match=r"other images of .* hold out the same ones as it does"):
        make_trainer(dataset, tmp_path).resume()


def test_a_resumed_run_knows_itself_what_was_pretrained(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), pretrained_lr_factor=0.1)
    names = [name for name, _ in tiny_model().backbone.named_parameters(prefix="backbone")]
    started = make_trainer(dataset, tmp_path, recipe, pretrained=names)
    started.save()
    resumed = make_trainer(dataset, tmp_path, recipe)
    resumed.resume()
    factors = [
        [(group["lr_factor"], len(group["params"])) for group in trainer.optimizer.param_groups]
        for trainer in (started, resumed)
    ]
    assert factors[0] == factors[1] and 0.1 in dict(factors[0])
    resumed.run()
    assert torch.load(tmp_path / "last.pth", weights_only=True)["pretrained"] == sorted(names)


def test_resume_needs_a_checkpoint_of_a_run(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    with pytest.raises(InputError, match=r"no run to resume: .*last\.pth is missing"):
        trainer.resume()
    torch.save({"state_dict": {}}, tmp_path / "last.pth")
    with pytest.raises(InputError, match=r"last\.pth is not a checkpoint of a run"):
        trainer.resume()
    (tmp_path / "last.pth").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"last\.pth is not a checkpoint of a run"):
        trainer.resume()


def test_frozen_parameters_are_left_to_the_model(dataset):
    model = tiny_model()
    model.backbone.requires_grad_(False)
    optimizer = make_optimizer(model, tiny_recipe())
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    assert trained.isdisjoint(id(p) for p in model.backbone.parameters())


def test_only_the_named_part_is_trained_and_all_else_stays_bit_for_bit(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), train_only="fcos_cls")
    trainer = make_trainer(dataset, tmp_path / "run", recipe)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    published = sm.load_model(tmp_path / "run" / "best.safetensors").state_dict()
    for weights in (trainer.model.state_dict(), published):
        changed = {name for name, value in weights.items() if not torch.equal(value, before[name])}
        assert changed == {"bbox_head.fcos_cls.weight", "bbox_head.fcos_cls.bias"}


@pytest.mark.parametrize("part", ["trak", "backbone.layer1"])
def test_a_part_without_anything_to_train_is_refused(dataset, tmp_path, part):
    recipe = dataclasses.replace(tiny_recipe(), train_only=part)
    with pytest.raises(InputError, match=f"no trainable parameter with '{part}' in its name"):
        make_trainer(dataset, tmp_path / "run", recipe)


def test_of_equally_good_validations_the_latest_is_published(dataset, tmp_path):
    make_trainer(dataset, tmp_path, validate=fake_validation([0.5, 0.5, 0.4])).run()
    metadata = sm.load_checkpoint(tiny_model(), tmp_path / "best.safetensors")
    assert metadata["step"] == "4"


def test_pretrained_weights_have_their_own_learning_rate():
    model = tiny_model()
    names = {name for name, p in model.backbone.named_parameters(prefix="backbone") if p.ndim > 1}
    recipe = dataclasses.replace(tiny_recipe(), pretrained_lr_factor=0.1)
    optimizer = make_optimizer(model, recipe, names)
    (group,) = (g for g in optimizer.param_groups if g["lr_factor"] == 0.1)
    by_name = dict(model.named_parameters())
    assert {id(p) for p in group["params"]} == {
        id(by_name[name]) for name in names if by_name[name].requires_grad
    }


def test_biases_and_norms_have_no_weight_decay():
    recipe = dataclasses.replace(tiny_recipe(), optimizer="sgd", bias_lr_factor=2.0)
    optimizer = make_optimizer(tiny_model(), recipe)
    for group in optimizer.param_groups:
        assert (group["weight_decay"] > 0) == all(p.ndim > 1 for p in group["params"])
    assert [group["lr_factor"] for group in optimizer.param_groups] == [1.0, 1.0, 2.0]


def settings_by_name(preset_name):
    """Return (weight decay, learning rate factor) by parameter under the preset's own recipe."""
    preset = dataclasses.replace(sm.get_preset(preset_name), channels=32, basis_channels=32)
    model = sm.build_model(preset)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, recipe_for(preset))
    return {
        names[id(p)]: (group["weight_decay"], group["lr_factor"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_the_authors_accurate_presets_decay_all_but_biases_that_learn_twice_as_fast():
    settings = settings_by_name("sipmask_r50_caffe_fpn_gn_1x")
    biases = {name for name, values in settings.items() if values == (0.0, 2.0)}
    assert {"bbox_head.fcos_cls.bias", "bbox_head.feat_align.norm.bias"} <= biases
    assert all(name.endswith(".bias") and ".gn." not in name for name in biases)
    assert {settings[name] for name in settings.keys() - biases} == {(1e-4, 1.0)}
    assert "bbox_head.cls_convs.0.gn.bias" in settings.keys() - biases


def test_the_authors_real_time_presets_treat_all_parameters_alike():
    settings = settings_by_name("sipmask_r50_caffe_fpn_ssd_gn_10x")
    assert set(settings.values()) == {(1e-4, 1.0)}


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


def train_arguments(tmp_path, epochs):
    return [
        *("train", "--preset", "tiny", "--annotations", tmp_path / "data" / "squares.json"),
        *("--images", tmp_path / "data" / "images", "--output", tmp_path / "run"),
        *("--size", 96, "--epochs", epochs, "--batch", 2, "--hold-out", 2, "--threads", 1),
        *("--validate-every", 1000, "--precision", "fp32"),
    ]


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


def refusal(arguments):
    """Return the one sentence with which the command refuses, in this process."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert main([*map(str, arguments)]) == 2
    (sentence,) = errors.getvalue().splitlines()
    return sentence


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(tiny_preset(), name="tiny"))


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
    farewell = capsys.readouterr().err.splitlines()[-1]
    assert farewell.startswith("Stopped at step 3")
    assert ("To go on from step 0: " in farewell) == checkpoint_written
    assert ("--resume" in farewell) == checkpoint_written


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

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from coco_squares import tiny_model, tiny_recipe
from training_runs import fake_validation, make_trainer, squares_dataset, steps

import sipmask_core as sm
from sipmask_core.errors import InputError
from sipmask_core.training.journal import Journal
from sipmask_core.training.loop import DivergenceError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]

DRAW_CURVES = Journal.draw


@pytest.fixture
def dataset(tmp_path):
    return squares_dataset(tmp_path / "data")


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


def test_of_equally_good_validations_the_latest_is_published(dataset, tmp_path):
    make_trainer(dataset, tmp_path, validate=fake_validation([0.5, 0.5, 0.4])).run()
    metadata = sm.load_checkpoint(tiny_model(), tmp_path / "best.safetensors")
    assert metadata["step"] == "4"


def test_training_lowers_the_loss(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=12, lr=5e-3)
    make_trainer(dataset, tmp_path, recipe).run()
    totals = [line["total"] for line in steps(tmp_path)]
    assert sum(totals[-6:]) < 0.8 * sum(totals[:6])


def test_a_batch_is_worked_off_in_equal_parts_only(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), accumulate=2)
    with pytest.raises(InputError, match=r"3 images .* cannot be worked off in 2 equal parts"):
        make_trainer(dataset, tmp_path, recipe)


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


def test_a_loss_that_is_not_finite_names_step_and_term_and_keeps_the_checkpoint(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    losses = trainer.learner.objective.losses

    def diverging(*batch):
        values = losses(*batch)
        if trainer.step == 3:
            values["loss_mask"] = values["loss_mask"] * math.nan
        return values

    trainer.learner.objective.losses = diverging
    with pytest.raises(DivergenceError, match=r"step 3: loss_mask is nan; .*last\.pth is kept"):
        trainer.run()
    kept = torch.load(tmp_path / "last.pth", weights_only=True)
    assert kept["step"] == 2
    assert all(v.isfinite().all() for v in kept["model"].values())

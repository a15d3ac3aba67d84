"""Runs that Ctrl-C or a power cut has ended, and how they go on."""

import dataclasses
import json
import signal

import pytest
import torch
from coco_squares import tiny_model, tiny_recipe
from training_runs import fake_validation, interrupt_after, make_trainer, squares_dataset, steps

import sipmask_core as sm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]


@pytest.fixture
def dataset(tmp_path):
    return squares_dataset(tmp_path / "data")


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
        (resumed.learner.model, whole.learner.model),
        (resumed.learner.average.model, whole.learner.average.model),
    ):
        expected = theirs.state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in ours.state_dict().items())


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

    trainer.learner.objective.losses = interrupted_twice
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

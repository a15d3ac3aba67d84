import json

import numpy as np
import pytest

from sipmask_core.training import journal as journal_module
from sipmask_core.training.journal import Journal, TensorBoard


def step_line(step, grad_norm=1.0):
    losses = {"loss_cls": step + 0.5}
    figures = {"lr": 0.1, "losses": losses, "total": step + 0.5, "grad_norm": grad_norm}
    return {"step": step, "epoch": 0, **figures, "seconds": 0.1}


def events(folder):
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = module.EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def scalars(folder, name):
    return [(event.step, event.value) for event in events(folder).Scalars(name)]


def test_steps_validations_and_pictures_are_logged(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path, 0)
    board.write(step_line(0))
    board.write(step_line(1, grad_norm=None))
    board.write({"step": 1, "epoch": 0, "validation": {"segm": {"AP": 0.25}}})
    board.picture(np.zeros((20, 30, 3), np.uint8), 1)
    board.close()
    assert scalars(tmp_path, "loss/loss_cls") == [(0, 0.5), (1, 1.5)]
    assert scalars(tmp_path, "gradient norm") == [(0, 1.0)]
    assert scalars(tmp_path, "validation/segm AP") == [(1, 0.25)]
    (picture,) = events(tmp_path).Images("predictions")
    assert (picture.step, picture.height, picture.width) == (1, 20, 30)


def test_what_came_after_the_checkpoint_is_hidden_on_resume(tmp_path):
    pytest.importorskip("tensorboard")
    for start, stop in ((0, 5), (2, 4)):
        journal = Journal(tmp_path, start)
        for step in range(start, stop):
            journal.write(step_line(step))
        journal.close()
    logged = scalars(tmp_path / "tensorboard", "loss/total")
    assert [step for step, _ in logged] == [0, 1, 2, 3]


def test_without_the_package_the_journal_is_kept_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "has_tensorboard", lambda: False)
    journal = Journal(tmp_path, 0)
    journal.write(step_line(0))
    journal.picture(np.zeros((20, 30, 3), np.uint8), 0)
    journal.draw()
    journal.close()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == step_line(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.png",
        "log.jsonl",
        "predictions.png",
    ]

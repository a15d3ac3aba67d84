import dataclasses

import pytest
from coco_squares import tiny_recipe

from sipmask_core.training.optimizer import lr_factor

COSINE = dataclasses.replace(tiny_recipe(), epochs=10, warmup_steps=20, warmup_factor=0.1)
STEP = dataclasses.replace(COSINE, schedule="step", milestones=(4, 8))


def test_warm_up_rises_linearly_to_the_full_rate():
    factors = [lr_factor(step, 100, STEP) for step in range(22)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == pytest.approx(0.55)
    assert factors[20:] == [1.0, 1.0]
    assert factors == sorted(factors)


def test_the_cosine_falls_to_zero_at_the_end():
    factors = [lr_factor(step, 100, COSINE) for step in range(20, 1001)]
    assert factors == sorted(factors, reverse=True)
    assert lr_factor(500, 100, COSINE) == pytest.approx(0.5)
    assert 0 < lr_factor(999, 100, COSINE) < 1e-4
    assert lr_factor(1000, 100, COSINE) == pytest.approx(0, abs=1e-12)


def test_steps_divide_by_ten_when_a_milestone_epoch_begins():
    assert [lr_factor(s, 100, STEP) for s in (399, 400, 799, 800, 999)] == pytest.approx(
        [1, 0.1, 0.1, 0.01, 0.01]
    )


def test_no_warm_up_begins_at_the_full_rate():
    assert lr_factor(0, 100, dataclasses.replace(STEP, warmup_steps=0)) == 1.0


def test_a_constant_warm_up_stays_at_its_factor():
    recipe = dataclasses.replace(STEP, warmup="constant")
    assert [lr_factor(step, 100, recipe) for step in (0, 10, 19, 20)] == [0.1, 0.1, 0.1, 1.0]


@pytest.mark.parametrize("warmup", ["linear", "constant"])
def test_of_a_short_run_the_warm_up_takes_a_quarter_and_the_rest_has_the_full_rate(warmup):
    recipe = dataclasses.replace(STEP, milestones=(), warmup=warmup, warmup_steps=300)
    factors = [lr_factor(step, 4, recipe) for step in range(40)]
    assert factors[0] == pytest.approx(0.1) and max(factors[:10]) < 1
    assert factors[10:] == [1.0] * 30


def test_a_run_of_one_step_has_the_full_rate():
    assert lr_factor(0, 1, dataclasses.replace(STEP, epochs=1)) == 1.0

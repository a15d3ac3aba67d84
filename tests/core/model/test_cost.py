"""The cost of a preset, against the figures of the original configurations."""

import pytest

import sipmask_core as sm
from sipmask_core.model.cost import cost_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "size", "gflops", "millions"),
    [
        ("sipmask_r50_caffe_fpn_ssd_6x", (544, 544), 95.1, 30.77),
        ("sipmask_r50_caffe_fpn_gn_1x", (800, 1344), 450.9, 33.13),
    ],
)
def test_parameters_and_arithmetic_are_those_of_the_original(name, size, gflops, millions):
    cost = cost_of(sm.get_preset(name))
    assert cost.input_size == size
    assert cost.flops / 1e9 == pytest.approx(gflops, abs=0.05)
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.005)


def test_counting_does_not_touch_the_random_state():
    import torch

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cost_of(sm.get_preset("sipmask_r18_lite"))
    assert torch.equal(torch.rand(1), expected)

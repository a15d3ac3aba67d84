import pytest
import torch

from sipmask_core.training import normaliser as module
from sipmask_core.training.normaliser import Normaliser


def test_a_sum_becomes_a_mean():
    assert Normaliser()(torch.tensor(6.0), 3) == 2
    assert Normaliser()(torch.tensor(6.0), torch.tensor(3.5), smoothing=0.5) == 1.5
    assert Normaliser()(torch.tensor(6.0), 0, at_least=1) == 6


def test_nothing_divided_by_nothing_is_zero_with_a_gradient():
    total = torch.zeros(2, requires_grad=True)
    loss = Normaliser(joined=True)(total.sum(), 0)
    loss.backward()
    assert loss == 0 and total.grad.isfinite().all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_mean_over_processes_is_that_of_all_images_together(monkeypatch, count):
    mine, theirs = (torch.tensor(5.0), count), (torch.tensor(2.0), 4)
    monkeypatch.setattr(module, "world_size", lambda: 2)
    monkeypatch.setattr(module, "summed", lambda _: torch.tensor(count + 4.0))
    mean = sum(Normaliser(joined=True)(*part) for part in (mine, theirs)) / 2
    assert mean == pytest.approx(7 / (count + 4))

import numpy as np
import pytest

from sipmask_core.errors import InputError
from sipmask_core.training.batches import BatchPlan, EpochBatches


def test_each_epoch_takes_every_image_once_in_a_new_order():
    batches = list(EpochBatches(BatchPlan(6, 2, seed=0), 0, 6))
    epochs = [np.ravel([[i for _, i in b] for b in batches[k : k + 3]]) for k in (0, 3)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert [{e for e, _ in b} for b in batches] == [{0}] * 3 + [{1}] * 3


@pytest.mark.parametrize("start", range(7))
def test_a_step_has_the_same_batch_wherever_the_run_began(start):
    whole = list(EpochBatches(BatchPlan(7, 3, seed=5), 0, 7))
    assert list(EpochBatches(BatchPlan(7, 3, seed=5), start, 7)) == whole[start:]


def test_fewer_images_than_a_batch_make_one_batch():
    batches = EpochBatches(BatchPlan(3, 8, seed=0), 0, 2)
    assert batches.plan.per_epoch == 1
    assert [len(batch) for batch in batches] == [3, 3]


def test_wide_and_tall_images_meet_in_one_batch_of_an_epoch_only():
    tall = np.array([True, False, False] * 8)  # 8 of 24
    batches = list(EpochBatches(BatchPlan(24, 6, seed=0, tall=tall), 0, 8))
    for epoch in (batches[:4], batches[4:]):
        assert sorted(i for batch in epoch for _, i in batch) == list(range(24))
        kinds = [len({bool(tall[i]) for _, i in batch}) for batch in epoch]
        assert sorted(kinds) == [1, 1, 1, 2]
    assert [[i for _, i in b] for b in batches[:4]] != [[i for _, i in b] for b in batches[4:]]
    assert list(EpochBatches(BatchPlan(24, 6, seed=0, tall=tall), 5, 8)) == batches[5:]


def test_the_parts_of_a_batch_are_the_batch_in_order():
    whole = list(EpochBatches(BatchPlan(13, 6, seed=3), 0, 4))
    parts = [list(EpochBatches(BatchPlan(13, 6, 3, None, part, 3), 0, 4)) for part in range(3)]
    assert [first + second + third for first, second, third in zip(*parts, strict=True)] == whole
    with pytest.raises(InputError, match="A batch of 6 images cannot be shared equally by 4"):
        BatchPlan(13, 6, seed=3, parts=4)

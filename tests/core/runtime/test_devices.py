"""Values go to a device and come back as they were, and the host waits as often as promised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sipmask_core.runtime.devices import download, upload


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_what_goes_up_comes_down(device: str) -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.float32)]
    uploaded = [upload(array, torch.device(device)) for array in arrays]
    assert all(x.device.type == device for x in uploaded)
    for array, back in zip(arrays, download(*uploaded), strict=True):
        assert back.shape == array.shape
        assert np.array_equal(back, array)

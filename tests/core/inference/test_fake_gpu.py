"""The recorded work of every preset on tensors that only say that they are on a GPU.

An operator whose operands are on different devices, or whose result depends on values of tensors,
for which the host would have to wait, is an error there.
"""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import sipmask_core as sm
from sipmask_core.inference.detections import for_download, with_candidates
from sipmask_core.inference.predictor import _for_inference
from sipmask_core.model import resnet
from sipmask_core.model.inputs import Normalise
from sipmask_core.model.outputs import locations

pytestmark = pytest.mark.slow

GPU = torch.device("cuda", 0)


def _distinct() -> list[str]:
    """Return the presets, but one of those that differ in their names alone."""
    kinds = {astuple(replace(sm.get_preset(name), name="")): name for name in sm.preset_names()}
    return list(kinds.values())


@pytest.fixture(autouse=True)
def _without_a_driver() -> None:
    """Skip unless this PyTorch makes such tensors without a GPU's driver; 2.7 does not."""
    try:
        with FakeTensorMode():
            torch.zeros(1, device=GPU)[0]
    except RuntimeError:
        pytest.skip("this PyTorch needs a driver")


@pytest.mark.parametrize("name", _distinct())
def test_what_a_graph_records_stays_on_the_gpu_and_needs_no_values(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two blocks of a stage are all kinds that there are.
    for backbone in resnet.LAYERS:
        monkeypatch.setitem(resnet.LAYERS, backbone, (2, 2, 2, 2))
    preset = sm.get_preset(name)
    with torch.device("meta"):
        model = _for_inference(sm.build_model(preset), torch.device("meta"), torch.float16)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        model.to_empty(device=GPU)
        normalise = Normalise(preset).to(GPU)
        pixels = torch.zeros(2, 256, 320, 3, dtype=torch.uint8, device=GPU)
        size = torch.zeros(2, dtype=torch.int64, device=GPU)
        outputs = model(normalise(pixels, size, torch.float16))
        outputs = for_download(with_candidates(outputs, size, preset, locations), preset)
    tensors = [outputs.basis, *(x for levels in outputs[:4] for x in levels)]
    for candidates in outputs.candidates or ():
        tensors += [x for x in candidates if x is not None]
    assert all(x.device == GPU for x in tensors)
    assert (outputs.candidates is None) == (preset.nms == "pairs")

"""The predictor: images of any form, and head outputs of any value."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from coco_squares import tiny_preset
from fuzzing import fuzz, may_refuse
from hypothesis import strategies as st
from synthetic_outputs import synthetic_outputs

import sipmask_core as sm
from sipmask_core.model.presets import KeepRatio


def seeing(**changes):
    """Return a small predictor with random weights that reports objects everywhere."""
    torch.manual_seed(0)
    preset = replace(tiny_preset(), score_threshold=0.0, max_detections=5, **changes)
    model = sm.build_model(preset, num_classes=3)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    return sm.Predictor(model, "cpu", "fp32")


@pytest.fixture(scope="module")
def predictors():
    return [seeing(), seeing(resize=KeepRatio(long=96, short=64), nms="fast")]


def whole(instances, size):
    """Check that these are instances of an image of that (H, W), as the class promises."""
    count = len(instances)
    assert instances.image_size == size
    assert np.isfinite(instances.boxes).all() and np.isfinite(instances.scores).all()
    assert (np.diff(instances.scores) <= 0).all()
    assert instances.masks.shape == (count, *size)


sides = st.one_of(st.integers(0, 40), st.sampled_from([1, 2, 640, 5000]))


@st.composite
def images(draw):
    height, width = draw(sides), draw(sides)
    if height * width > 100_000:
        height = 1
    channels = draw(st.sampled_from([3, 3, 3, 3, 1, 4]))
    dtype = draw(st.sampled_from([np.uint8] * 4 + [np.int8, np.uint16, np.float32, bool]))
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(dtype)
    for change in draw(st.lists(st.sampled_from(["flip", "mirror", "rgb", "thin", "read"]))):
        if change == "flip":
            image = image[::-1]
        elif change == "mirror":
            image = image[:, ::-1]
        elif change == "rgb":
            image = image[..., ::-1]
        elif change == "thin":
            image = image.repeat(2, 1)[:, ::2]
        else:
            image.flags.writeable = False
    return draw(st.sampled_from([image, image, image, image[0] if height else image, image.T]))


@fuzz(image=images(), which=st.sampled_from([0, 1]))
def test_an_image_of_any_form_gives_instances_or_a_refusal(predictors, image, which):
    before = image.copy()
    with may_refuse() as refusals:
        instances = predictors[which](image)
    right = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size
    assert bool(refusals) != bool(right)
    if not refusals:
        whole(instances, image.shape[:2])
    assert np.array_equal(image, before)


LEVEL_PARTS = ("class_logits", "distances", "centerness", "coefficients")
values = st.sampled_from([float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0, 1e4])


@fuzz(
    changes=st.lists(
        st.tuples(
            st.sampled_from([*LEVEL_PARTS, "basis"]), st.integers(0, 4), values, st.floats(0, 1)
        ),
        max_size=4,
    ),
    which=st.sampled_from([0, 1]),
    threshold=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_head_outputs_of_any_value_give_instances_or_an_arithmetic_error(
    predictors, changes, which, threshold, seed
):
    predictor = predictors[which]
    size = (30, 45)
    outputs, prepared = synthetic_outputs(predictor.preset, size)
    rng = np.random.default_rng(seed)
    for part, level, value, share in changes:
        tensor = getattr(outputs, part)
        tensor = tensor if part == "basis" else tensor[level]
        tensor[torch.from_numpy(rng.random(tensor.shape) <= share)] = value
    predictor.score_threshold = threshold
    try:
        with np.errstate(all="ignore"):
            instances = predictor.postprocess(outputs, prepared, size)
    except FloatingPointError:
        assert changes
    else:
        assert len(instances.masks) == len(instances)
        assert instances.image_size == size
    finally:
        predictor.score_threshold = None

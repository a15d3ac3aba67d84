"""Made-up images with objects, for tests of what augmentation does to them."""

import numpy as np
from hypothesis import strategies as st

from sipmask_core.training.augmentation.target import Target


def make_target(boxes, masks, labels=None, ignore=None) -> Target:
    """Return a target of boxes (n, 4) and masks (n, H, W); ids are 100, 101, ..."""
    masks = np.asarray(masks, np.uint8)
    count = len(masks)
    return Target(
        boxes=np.asarray(boxes, np.float32).reshape(count, 4),
        labels=np.asarray(range(count) if labels is None else labels, np.int64),
        ids=np.arange(100, 100 + count),
        masks=masks,
        has_mask=np.ones(count, bool),
        uncertain=np.zeros(count, bool),
        ignore=np.zeros(masks.shape[1:], np.uint8) if ignore is None else ignore,
    )


@st.composite
def scenes(draw, largest=120):
    """Draw an image of one colour with up to three rectangles, boxes exact, and perhaps a crowd."""
    h, w = draw(st.integers(20, largest)), draw(st.integers(20, largest))
    count = draw(st.integers(0, 3))
    boxes = np.zeros((count, 4), np.float32)
    masks = np.zeros((count + 1, h, w), np.uint8)
    for i, mask in enumerate(masks[: count + draw(st.integers(0, 1))]):
        x0, y0 = draw(st.integers(0, w - 6)), draw(st.integers(0, h - 6))
        x1, y1 = draw(st.integers(x0 + 5, w)), draw(st.integers(y0 + 5, h))
        mask[y0:y1, x0:x1] = 1
        if i < count:
            boxes[i] = x0, y0, x1, y1
    image = np.full((h, w, 3), 200, np.uint8)
    return image, make_target(boxes, masks[:-1], ignore=masks[-1])


def assert_whole(image, target, size):
    """Check that everything has the same size and count, and that nothing lies outside."""
    h, w = size
    n = len(target["labels"])
    assert image.shape == (h, w, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert target["boxes"].shape == (n, 4) and target["boxes"].dtype == np.float32
    assert target["masks"].shape == (n, h, w) and target["masks"].dtype == np.uint8
    assert target["ignore"].shape == (h, w) and target["ignore"].dtype == np.uint8
    assert target["ids"].shape == target["has_mask"].shape == target["uncertain"].shape == (n,)
    assert np.array_equal(target["ids"] - 100, target["labels"])  # as `scenes` has them
    assert set(np.unique(target["masks"])) | set(np.unique(target["ignore"])) <= {0, 1}
    assert (target["boxes"] >= 0).all() and (target["boxes"] <= [w, h, w, h]).all()
    assert (target["boxes"][:, 2:] >= target["boxes"][:, :2]).all()

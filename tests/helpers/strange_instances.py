"""Instances as no model would give them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import sipmask_core as sm


@st.composite
def some_instances(draw, classes=3, embeddings=0, largest=24):
    """Draw up to four instances in a small image, with masks and boxes of any form."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    count = draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    crops = []
    for _ in range(count):
        x0, x1 = sorted(rng.integers(0, width + 1, 2).tolist())
        y0, y1 = sorted(rng.integers(0, height + 1, 2).tolist())
        share = draw(st.sampled_from([0.0, 0.5, 1.0]))
        bitmap = rng.random((y1 - y0, x1 - x0)) < share
        if not bitmap.size:
            x0, y0, bitmap = 0, 0, np.zeros((0, 0), bool)
        crops.append(sm.MaskCrop(x0, y0, bitmap))
    boxes = rng.uniform(0, max(height, width), (count, 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    return sm.Instances(
        boxes=boxes,
        scores=-np.sort(-rng.random(count, np.float32)),
        labels=rng.integers(0, classes, count),
        mask_crops=crops,
        image_size=(height, width),
        track_ids=rng.integers(-1, 2**62, count),
        track_states=rng.integers(0, 4, count).astype(np.uint8),
        track_ages=rng.integers(0, 2**32, count),
        embeddings=rng.normal(size=(count, embeddings)).astype(np.float32),
    )

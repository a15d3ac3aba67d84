"""Whatever comes as compressed depth: a depth image, or a refusal of one sentence."""

from array import array

import numpy as np
import pytest
from fuzzing import damaged, fuzz, may_refuse
from hypothesis import strategies as st

pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from depth_packing import packed
from sensor_msgs.msg import CompressedImage

from sipmask_ros.conversions.compressed_depth import read_compressed_depth

RNG = np.random.default_rng(0)
DEPTH = RNG.integers(0, 9000, (9, 14)).astype(np.uint16) * (RNG.random((9, 14)) > 0.4)
WHOLE = [
    bytes(packed(depth, encoding, algorithm).data)
    for depth, encoding in ((DEPTH, "16UC1"), (DEPTH / np.float32(1000), "32FC1"))
    for algorithm in ("png", "rvl")
]
FORMATS = [
    f"{encoding}{algorithm}"
    for encoding in ("16UC1", "mono16", "32FC1", "8UC1")
    for algorithm in ("; compressedDepth png", "; compressedDepth rvl", "; compressedDepth", "")
]


@fuzz(
    share=3,
    data=damaged(WHOLE) | st.binary(max_size=64),
    name=st.sampled_from(FORMATS) | st.text(max_size=30),
)
def test_compressed_depth_gives_its_pixels_or_a_refusal(data, name):
    with may_refuse() as refusals:
        depth, unit = read_compressed_depth(CompressedImage(format=name, data=array("B", data)))
    if not refusals:
        assert depth.ndim == 2 and depth.size
        assert (depth.dtype, unit) in ((np.uint16, 1e-3), (np.float32, 1.0))

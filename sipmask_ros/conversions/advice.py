"""What to do about data that are published in place of images."""

from __future__ import annotations

import re

_DEPTH = (
    re.compile(r"\s*(32|64)FC|compressedDepth", re.IGNORECASE),
    " Depth belongs to depth_topics; thermal images are read as mono8 or mono16.",
)
_VIDEO = (
    re.compile(r"[hx]\.?26[45]|hevc|av1\b|vp[89]", re.IGNORECASE),
    " That is a video: let the driver publish images, or a node turn it into these, such as"
    " image_transport's republish with ffmpeg_image_transport.",
)
_COMPRESSED = (
    re.compile(r"jpe?g|png|tiff|compressed", re.IGNORECASE),
    " Let the driver publish that as sensor_msgs/CompressedImage, which the node reads with"
    " transport: compressed.",
)


def advice(encoding: str, compressed: bool = False) -> str:
    """Return what to do about an encoding that is none of pixels: a sentence after a blank, or "".

    encoding: of a sensor_msgs/Image or, if `compressed`, the format of a CompressedImage.
    """
    kinds = (_DEPTH, _VIDEO) if compressed else (_DEPTH, _VIDEO, _COMPRESSED)
    return next((sentence for kind, sentence in kinds if kind.search(encoding)), "")

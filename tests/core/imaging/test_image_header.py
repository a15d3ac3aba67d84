"""The sizes that pictures declare, which decoders confirm."""

from __future__ import annotations

import struct
from array import array

import cv2
import numpy as np
import pytest

from sipmask_core.imaging.image_header import declared_size, is_cut_off

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


def encoded(suffix: str, options: tuple[int, ...] = ()) -> bytes:
    return cv2.imencode(suffix, PIXELS, options)[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", ()), (".jpg", ()), (".jpg", PROGRESSIVE), (".jpg", RESTARTS)],
)
def test_it_is_the_size_of_the_pixels(suffix: str, options: tuple[int, ...]) -> None:
    assert declared_size(array("B", encoded(suffix, options))) == (53, 37)


def test_what_else_a_jpeg_holds_is_passed_over() -> None:
    jpeg = encoded(".jpg")
    thumbnail = b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01"  # a frame header within a segment
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    padded = jpeg[:2] + segment + b"garbage\xff\x00\xff\xff\xff" + segment[1:] + jpeg[2:]
    assert declared_size(padded) == (53, 37)
    assert cv2.imdecode(np.frombuffer(padded, np.uint8), cv2.IMREAD_COLOR).shape == PIXELS.shape


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp"])
def test_of_other_formats_nothing_is_said(suffix: str) -> None:
    assert declared_size(encoded(suffix)) is None


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_where_the_header_is_cut_off_nothing_is_said(suffix: str) -> None:
    whole = encoded(suffix)
    sizes = [declared_size(whole[:end]) for end in range(len(whole))]
    known = sizes.index((53, 37))
    assert known >= 24
    assert set(sizes[:known]) == {None} and set(sizes[known:]) == {(53, 37)}


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", ()), (".jpg", ()), (".jpg", PROGRESSIVE), (".jpg", RESTARTS)],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_without_its_end_a_picture_is_cut_off(
    suffix: str, options: tuple[int, ...], share: float
) -> None:
    whole = encoded(suffix, options)
    assert not is_cut_off(whole)
    assert not is_cut_off(whole + b"what a camera writes behind it")
    assert is_cut_off(whole[: int(len(whole) * share)])
    assert is_cut_off(whole[:-1])


def test_the_end_of_a_thumbnail_is_not_that_of_the_picture() -> None:
    jpeg, thumbnail = encoded(".jpg"), encoded(".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert not is_cut_off(jpeg[:2] + segment + jpeg[2:] + b"\0")
    assert is_cut_off(jpeg[:2] + segment + jpeg[2:-40])
    assert not is_cut_off(encoded(".webp")[:-40])  # of other formats nothing is said

"""The sizes that pictures declare, which decoders confirm."""

from __future__ import annotations

import struct
from array import array

import cv2
import numpy as np
import pytest

from sipmask_core.imaging.image_header import JPEG_END, declared_size, is_cut_off

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


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["H", "I"])
def test_the_size_of_a_tiff_is_that_of_its_first_image(order: str, kind: str) -> None:
    number = "HHI" + kind
    entries = [
        struct.pack(order + number, tag, {"H": 3, "I": 4}[kind], 1, value).ljust(12, b"\0")
        for tag, value in ((254, 0), (256, 53), (257, 37))
    ]
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 10) + b"\0\0"
    tiff = start + struct.pack(f"{order}H", len(entries)) + b"".join(entries)
    assert declared_size(tiff) == declared_size(encoded(".tiff")) == (53, 37)
    assert {declared_size(tiff[:end]) for end in range(len(tiff) - 4)} == {None}


@pytest.mark.parametrize("suffix", [".bmp", ".webp"])
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


@pytest.mark.parametrize("options", [(), PROGRESSIVE, RESTARTS])
def test_a_jpeg_is_cut_off_at_whatever_byte_and_whatever_stands_behind(
    options: tuple[int, ...],
) -> None:
    whole = encoded(".jpg", options)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(whole)) + whole  # a thumbnail
    photograph = whole[:2] + segment + whole[2:]
    assert not is_cut_off(photograph)
    assert all(is_cut_off(photograph[:end]) for end in range(2, len(photograph)))
    scan = photograph.rindex(b"\xff\xda") + 14
    video = b"\0\0\0\x18ftypmp42" + b"\xff\x10" + JPEG_END
    for rest in (bytes(99), whole, video):
        assert not is_cut_off(photograph + rest)
        assert all(is_cut_off(photograph[:end] + rest) for end in range(scan, len(photograph) - 2))


def test_what_a_scan_cannot_hold_is_damage_and_what_decoders_skip_is_not() -> None:
    jpeg = encoded(".jpg")
    comment = b"\xff\xfe\x00\x05any"
    for middle in (comment, b"\xff" * 9, b"extraneous"):
        assert not is_cut_off(jpeg[:-2] + middle + JPEG_END)
    for code in (0x02, 0x9A, 0xC0, 0xD8, 0xF3):
        assert is_cut_off(jpeg[:-40] + bytes([0xFF, code]) + jpeg[-38:])


def test_the_end_of_a_thumbnail_is_not_that_of_the_picture() -> None:
    jpeg, thumbnail = encoded(".jpg"), encoded(".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert not is_cut_off(jpeg[:2] + segment + jpeg[2:] + b"\0")
    assert is_cut_off(jpeg[:2] + segment + jpeg[2:-40])
    assert not is_cut_off(encoded(".webp")[:-40])  # of other formats nothing is said

"""Image files of every kind: read whole, or refused in a sentence with their name."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from sipmask_core.errors import InputError
from sipmask_core.imaging.first_look import look_at
from sipmask_core.imaging.image_files import IMAGE_SUFFIXES, images_in, read_image

PIXELS = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8), (0, 0), 2
)


def png_header(width, height):
    """Return a small PNG that says to be as large as that."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def defects(paths):
    return [look.defect for look in look_at(paths) if look.defect]


def encoded(suffix):
    return cv2.imencode(suffix, PIXELS)[1].tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".gif", ".avif"])
def test_a_file_is_read_whole_or_refused_by_name(tmp_path, suffix):
    if suffix not in IMAGE_SUFFIXES:
        pytest.skip(f"this OpenCV reads no {suffix}")
    path = tmp_path / f"x{suffix}"
    content = encoded(suffix)
    path.write_bytes(content)
    assert read_image(path).shape == PIXELS.shape
    assert defects([path]) == []
    for share in (0.0, 0.3, 0.98):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=rf"Image .*x{suffix} (is|cannot)"):
            read_image(path)


def test_more_pixels_than_opencv_reads_are_a_sentence(tmp_path):
    path = tmp_path / "big.png"
    path.write_bytes(png_header(40_000, 30_000))
    with pytest.raises(InputError, match=r"big\.png has 40000 x 30000 pixels, more than OpenCV"):
        read_image(path)
    (sentence,) = defects([path])
    assert "40000 x 30000" in sentence


def test_what_stands_behind_the_end_does_no_harm(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg") + bytes(500))
    assert defects([tmp_path / "a.jpg"]) == []
    assert read_image(tmp_path / "a.jpg").shape == PIXELS.shape


def test_a_folder_has_every_image_and_counts_the_rest(tmp_path):
    images = ["1.jpg", "2.JPEG", "3.jfif", "10.Webp", "11.png"]
    for name in [*images, "._1.jpg", ".DS_Store", "a.HEIC", "b.heic", "c.mp4", "README"]:
        (tmp_path / name).touch()
    (tmp_path / "more.jpg").mkdir()
    folder = images_in(tmp_path)
    assert [file.name for file in folder.images] == images
    assert folder.left_out() == "2 .heic, 1 .mp4, 1 folders, 1 without suffix"
    for file in folder.images:
        file.unlink()
    with pytest.raises(InputError, match=r"holds no image; .*\.webp\. It holds 2 \.heic, 1 \.mp4"):
        images_in(tmp_path)

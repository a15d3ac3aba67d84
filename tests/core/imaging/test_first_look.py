"""What image files tell before they are decoded, and whether decoding agrees."""

import warnings

import numpy as np
import pytest
from PIL import Image

from sipmask_core.imaging.first_look import look_at
from sipmask_core.imaging.image_files import read_image

PIXELS = np.zeros((60, 80, 3), np.uint8)
PIXELS[:20] = 255  # at the top


def write(path, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif, **options)
    return path


def test_all_that_are_damaged_are_named(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.png", "d.png", "e.webp"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    for name in ("b.jpg", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    (tmp_path / "e.webp").write_text("<html>not found</html>")
    a, b, c, d, e, f = look_at([*sorted(tmp_path.iterdir()), tmp_path / "f.jpg"])
    assert a.defect == d.defect == ""
    assert "b.jpg is cut off" in b.defect and "c.png is cut off" in c.defect
    assert "e.webp is a web page" in e.defect and "f.jpg does not exist" in f.defect


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_the_decoder_turns_an_image_as_was_told(tmp_path, name, orientation):
    path = write(tmp_path / name, orientation)
    (look,) = look_at([path])
    if name == "a.jpg":
        assert look.orientation == (orientation if orientation in range(1, 9) else 1)
        assert look.size == (60, 80)
    assert look.defect == ""
    assert look.is_on_its_side == (read_image(path).shape == (80, 60, 3))


def test_a_photograph_that_carries_others_is_turned_as_was_told(tmp_path):
    path = tmp_path / "a.jpg"  # several images in one file, as telephones write them
    more = [Image.fromarray(PIXELS[::-1])]
    write(path, 6, format="MPO", save_all=True, append_images=more)
    with Image.open(path) as image:
        assert image.format == "MPO"
    (look,) = look_at([path])
    assert look.is_on_its_side and read_image(path).shape == (80, 60, 3)


def test_formats_of_which_no_orientation_is_applied_are_upright(tmp_path):
    path = tmp_path / "a.tif"
    write(path, 6)
    (look,) = look_at([path])
    assert not look.is_on_its_side and look.defect == ""


def test_what_is_odd_about_a_file_is_no_warning_to_the_user(tmp_path):
    path = write(tmp_path / "a.jpg", 6)
    path.write_bytes(path.read_bytes().replace(b"Exif\0\0MM", b"Exif\0\0XX"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (look,) = look_at([path])
    assert (look.orientation, look.defect) == (1, "")

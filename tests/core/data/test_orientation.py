"""EXIF orientations of annotated images."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_documents import document, read
from moving_squares import write_videos
from PIL import Image

from sipmask_core.data.coco import read_annotated_image
from sipmask_core.data.orientation import as_annotated
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import InputError

STORED = np.zeros((60, 80, 3), np.uint8)
STORED[:20] = 255  # at the top


def write(path, orientation):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(STORED).save(path, exif=exif)
    if orientation and path.suffix == ".webp" and cv2.imread(str(path)).shape == STORED.shape:
        pytest.skip("this OpenCV does not turn WebP")


def annotated(folder, height, width, name="a.png"):
    content = document()
    content["images"][0] |= {"file_name": name, "height": height, "width": width}
    return read(folder, content)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_images_are_turned_as_exif_says_and_that_is_told_with_their_number(tmp_path, name):
    write(tmp_path / name, 6)
    annotations = as_annotated(annotated(tmp_path, 80, 60, name), tmp_path)
    assert annotations.notes[-1] == "Images that are turned as their EXIF orientation says: 1 of 1."
    image = read_annotated_image(tmp_path, annotations.images[0])
    assert image.shape == (80, 60, 3)
    assert image[:, 45:].min() > 200 and image[:, :35].max() < 50  # the top is right


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_annotations_of_stored_pixels_are_told_by_exif_and_read_on_request(tmp_path, name):
    write(tmp_path / name, 6)
    annotations = annotated(tmp_path, 60, 80, name)
    with pytest.raises(InputError, match=r"1 of the 1 images .* EXIF .*ignore_exif=True"):
        as_annotated(annotations, tmp_path)
    annotations = as_annotated(annotations, tmp_path, ignore_exif=True)
    image = read_annotated_image(tmp_path, annotations.images[0])
    assert image.shape == (60, 80, 3)
    assert image[:15].min() > 200 and image[25:].max() < 50


@pytest.mark.parametrize("orientation", [None, 1, 0, 77])
def test_upright_images_are_not_mentioned(tmp_path, orientation):
    write(tmp_path / "a.png", orientation)
    annotations = annotated(tmp_path, 60, 80)
    assert as_annotated(annotations, tmp_path) is annotations


@pytest.mark.parametrize("ignore_exif", [False, True])
def test_missing_and_damaged_images_are_refused_at_the_same_look(tmp_path, ignore_exif):
    annotations = annotated(tmp_path, 60, 80)
    with pytest.raises(InputError, match=r"1 of 1 images .* are not in .*, a\.png for one"):
        as_annotated(annotations, tmp_path, ignore_exif)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(InputError, match=r"1 of 1 images .* cannot be read\. .*a\.png is cut off"):
        as_annotated(annotations, tmp_path, ignore_exif)


def test_every_file_is_opened_once(tmp_path, monkeypatch):
    write(tmp_path / "a.png", 6)
    annotations = annotated(tmp_path, 80, 60)
    opened = []
    open_file = Path.open
    monkeypatch.setattr(Path, "open", lambda p, *mode: opened.append(p) or open_file(p, *mode))
    assert as_annotated(annotations, tmp_path).notes
    assert opened == [tmp_path / "a.png"]


def test_frames_of_videos_are_turned_and_left_alike(tmp_path):
    path, images = write_videos(tmp_path)
    annotations = read_videos(path)
    frame = images / annotations.videos[0].file_names[0]
    pixels = cv2.imread(str(frame))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels[..., ::-1]).save(frame, exif=exif)
    assert "EXIF orientation says: 1 of 12." in as_annotated(annotations, images).notes[-1]
    for ignore, expected in ((False, pixels[::-1, ::-1]), (True, pixels)):
        videos = as_annotated(dataclasses.replace(annotations), images, ignore)
        assert np.array_equal(read_annotated_image(images, videos.frames().images[0]), expected)

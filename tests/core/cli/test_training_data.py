"""What a training's options about data give, in front of its first step."""

import argparse
import json

import cv2
import numpy as np
import pytest
from coco_squares import tiny_preset, tiny_recipe, write_squares
from moving_squares import write_videos
from PIL import Image

from sipmask_core.cli.main import main
from sipmask_core.cli.training_data import add_data_arguments, training_data
from sipmask_core.errors import AvoidableError, InputError


def data_of(*arguments):
    parser = argparse.ArgumentParser()
    add_data_arguments(parser)
    return training_data(parser.parse_args([*map(str, arguments)]), tiny_preset(), tiny_recipe())


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (6, 1), (26, 3)])
def test_a_tenth_of_the_images_is_held_out_unless_another_number_is_given(
    tmp_path, capsys, count, held
):
    annotations, images = write_squares(tmp_path, count, size=16)
    data = data_of("--annotations", annotations, "--images", images)
    assert (len(data.dataset), len(data.validation.images)) == (count - held, held)
    assert f"Held out for validation: {held} of {count}, as by --hold-out {held}." in (
        capsys.readouterr().out
    )


def test_at_most_five_hundred_images_are_held_out_by_default(tmp_path):
    annotations, images = write_squares(tmp_path, 1, size=8)
    document = json.loads(annotations.read_text())
    (image,) = document["images"]
    names = [f"{i}.png" for i in range(6000)]
    document["images"] = [{**image, "id": i, "file_name": n} for i, n in enumerate(names)]
    annotations.write_text(json.dumps(document))
    for name in names:
        (images / name).hardlink_to(images / "000.png")
    data = data_of("--annotations", annotations, "--images", images)
    assert (len(data.dataset), len(data.validation.images)) == (5500, 500)


def test_a_hold_out_that_leaves_nothing_names_the_option(tmp_path):
    annotations, images = write_squares(tmp_path, 3, size=16)
    with pytest.raises(InputError, match="--hold-out: 3 images cannot be held out of 3"):
        data_of("--annotations", annotations, "--images", images, "--hold-out", 3)


def test_several_files_are_read_as_freely_as_one(tmp_path, capsys):
    squares, images = write_squares(tmp_path / "squares", size=16)
    turned, turned_images = write_squares(tmp_path / "turned", size=16)
    document = json.loads(turned.read_text())
    document["annotations"][0]["bbox"] = [1, 2, 3]
    turned.write_text(json.dumps(document))
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = cv2.imread(str(turned_images / "001.png"))
    Image.fromarray(pixels).save(turned_images / "001.png", exif=exif)
    arguments = ("--annotations", squares, turned, "--images", images, turned_images)
    with pytest.raises(AvoidableError, match=r"annotations\[id=1\]\.bbox is \[1, 2, 3\]"):
        data_of(*arguments)
    data = data_of(*arguments, "--skip-invalid", "--hold-out", 0)
    assert sum(len(image.objects) for image in data.dataset.annotations.images) == 9
    told = capsys.readouterr().out
    assert "turned as their EXIF orientation says: 1 of 6." in told
    assert "Annotations left out: 1 of 5: annotations[id=1].bbox is [1, 2, 3]" in told
    as_stored = data_of(*arguments, "--skip-invalid", "--hold-out", 0, "--ignore-exif")
    names = [image.file_name for image in as_stored.dataset.annotations.images]
    place = names.index(str(turned_images / "001.png"))
    assert np.array_equal(as_stored.dataset[place][0], pixels[..., ::-1])
    assert np.array_equal(data.dataset[place][0], pixels[::-1, ::-1, ::-1])


@pytest.mark.parametrize("with_validation", [False, True])
def test_a_missing_image_is_named_before_the_work(tmp_path, with_validation):
    squares, images = write_squares(tmp_path / "squares", size=16)
    more, more_images = write_squares(tmp_path / "more", size=16)
    (more_images / "002.png").unlink()
    arguments = ["--annotations", squares, "--images", images]
    if with_validation:
        arguments += ["--validation", more, "--validation-images", more_images]
    else:
        arguments[1:] = [squares, more, "--images", images, more_images]
    with pytest.raises(InputError, match=r"1 of 6 images that .*more.* 002\.png for one"):
        data_of(*arguments)


def test_an_image_preset_says_what_a_file_of_videos_is_for(tmp_path):
    annotations, images = write_videos(tmp_path)
    with pytest.raises(InputError, match=r"is a YouTube-VIS file.* Only a preset for videos"):
        data_of("--annotations", annotations, "--images", images)


def test_a_training_from_crowds_alone_ends_before_it_begins(tmp_path, capsys):
    annotations, images = write_squares(tmp_path)
    document = json.loads(annotations.read_text())
    for annotation in document["annotations"]:
        annotation["iscrowd"] = 1
    annotations.write_text(json.dumps(document))
    arguments = ["train", "--preset", "sipmask_r18_lite", "--annotations", annotations]
    arguments += ["--images", images, "--output", tmp_path / "run", "--device", "cpu"]
    assert main([*map(str, arguments)]) == 2
    assert "there is nothing to learn from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

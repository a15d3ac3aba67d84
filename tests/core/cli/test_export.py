import signal
from functools import partial

import pytest
from bright_spot import BrightSpotPredictor, spot_image

from sipmask_core.cli.dataset_run import export
from sipmask_core.cli.dataset_selection import Selection
from sipmask_core.data.annotation_writer import AnnotationWriter, Recorded
from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError


def refuse():
    raise InputError("It is torn.")


def on_offer(count, source="cam", hz=20.0, step=4, torn=()):
    for i in range(count):
        decode = refuse if i in torn else partial(spot_image, x=5 + step * i)
        yield Recorded(source, f"{source}-{i:03}", 100 + i / hz, decode)


def names(folder):
    return [int(i.file_name[-7:-4]) for i in read_annotations(folder / "annotations.json").images]


def run(tmp_path, images, predictor=None, sources=("cam",), **selection):
    writer = AnnotationWriter(tmp_path / "set", "coco", ("person",))
    with writer:
        outcome = export(images, sources, writer, predictor, Selection(**selection))
    return outcome


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        ({}, [*range(12)]),
        ({"every": 5}, [0, 5, 10]),
        ({"rate": 5}, [0, 4, 8]),
        ({"rate": 40}, [*range(12)]),
        ({"limit": 3}, [0, 1, 2]),
        ({"every": 2, "limit": 2}, [0, 2]),
    ],
)
def test_images_are_thinned_out(tmp_path, selection, taken):
    assert run(tmp_path, on_offer(12), **selection) == (False, [])
    assert names(tmp_path / "set") == taken


def test_images_like_the_one_before_are_left_out(tmp_path):
    still = [*on_offer(5, step=0)]
    still[3] = Recorded("cam", "cam-003", 100.15, partial(spot_image, x=70))
    run(tmp_path, still, min_change=8)
    assert names(tmp_path / "set") == [0, 3, 4]


def test_each_source_is_thinned_out_and_tracked_by_itself(tmp_path):
    pairs = zip(on_offer(9, "left"), on_offer(9, "right"), strict=True)
    images = (image for pair in pairs for image in pair)
    run(tmp_path, images, BrightSpotPredictor(), ("left", "right"), every=2, limit=4)
    annotations = read_annotations(tmp_path / "set" / "annotations.json")
    assert sorted(i.file_name for i in annotations.images) == [
        f"{side}-{number:03}.jpg" for side in ("left", "right") for number in (0, 2, 4, 6)
    ]
    ids = {i.file_name[:4]: {o.track_id for o in i.objects} for i in annotations.images}
    assert ids == {"left": {1}, "righ": {2}}


def test_work_ends_when_the_limit_is_reached(tmp_path):
    images = on_offer(100)
    run(tmp_path, images, limit=3)
    assert next(images).name == "cam-004"


def test_damaged_images_are_named_and_left_out(tmp_path):
    interrupted, failures = run(tmp_path, on_offer(16, torn=range(1, 13)))
    assert not interrupted and len(failures) == 11
    assert failures[0] == "Image cam-001 was left out. It is torn."
    assert failures[-1] == "2 more images were left out."
    assert names(tmp_path / "set") == [0, 13, 14, 15]


def test_an_image_that_was_recorded_twice_is_taken_once(tmp_path):
    run(tmp_path, [*on_offer(3), *on_offer(3)])
    assert names(tmp_path / "set") == [0, 1, 2]


def test_ctrl_c_keeps_what_is_done(tmp_path):
    class Interrupted(BrightSpotPredictor):
        def __call__(self, image):
            signal.raise_signal(signal.SIGINT)
            return super().__call__(image)

    assert run(tmp_path, on_offer(9), Interrupted()) == (True, [])
    assert names(tmp_path / "set") == [0]


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        ({"every": 0}, "every is 0; it must be 1 or more"),
        ({"limit": 0}, "limit is 0"),
        ({"rate": 0.0}, "rate is 0.0; it must be above 0 and at most 1000"),
        ({"min_change": 300}, "min_change is 300; it must be from 0 to 255"),
    ],
)
def test_selections_out_of_range_are_refused(selection, sentence):
    with pytest.raises(InputError, match=sentence):
        Selection(**selection)

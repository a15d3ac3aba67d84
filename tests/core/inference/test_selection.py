"""Which instances are reported: thresholds of classes, zones that are ignored."""

import math

import numpy as np
import pytest

import sipmask_core as sm
from sipmask_core.inference.selection import (
    IgnoredZones,
    drawn,
    lowest_scores,
    read_class_thresholds,
    read_zone,
)

TOP = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (0.0, 0.3))


def test_thresholds_are_read_by_class():
    texts = ["person:0.5", " traffic light : 1", "a:b:0"]
    assert read_class_thresholds(texts) == {"person": 0.5, "traffic light": 1.0, "a:b": 0.0}
    assert read_class_thresholds([]) == {}


@pytest.mark.parametrize(
    "text", ["", "person", "person:", ":0.5", "person:1.1", "person:-0.1", "person:nan", "dog:x"]
)
def test_a_threshold_of_another_form_is_refused_in_a_sentence(text):
    with pytest.raises(sm.InputError, match=f"has '{text}'; .*such as 'person:0.5'"):
        read_class_thresholds([text])


def test_a_class_has_one_threshold():
    with pytest.raises(sm.InputError, match="names 'person' twice"):
        read_class_thresholds(["person:0.5", "person: 0.6"])


def test_a_class_without_a_threshold_of_its_own_has_the_common_one_and_others_none_will_do():
    names = ("person", "dog", "cat")
    assert lowest_scores(names, (), 0.25, {"dog": 0.75}).tolist() == [0.25, 0.75, 0.25]
    assert lowest_scores(names, ("dog", "cat"), 0.5, {}).tolist() == [math.inf, 0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "camera"),
    [
        ("front: 0,0 1,0 1,0.3 0,0.3", "front"),
        ("/rear/image_raw:0,0  1,0 1 , .3\t0,3e-1 ", "/rear/image_raw"),
        ("0,0 1,0 1,0.3 0,0.3", ""),
    ],
)
def test_a_zone_is_read_with_or_without_a_camera(text, camera):
    assert read_zone(text) == (camera, TOP)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "front",
        "front:",
        ": 0,0 1,0 1,1",
        "front: 0,0 1,0",
        "front: 0,0 1,0 1,1.5",
        "front: 0,0 1,0 1,-0.1",
        "front: 0,0 1,0 1,nan",
        "front: 0,0 1,0 1",
        "front: 0,0 1,0 1,1,1",
        "front: 0 0 1 0 1 1",
        "front: a,b c,d e,f",
    ],
)
def test_a_zone_of_another_form_is_refused_in_a_sentence(text):
    with pytest.raises(sm.InputError, match=r"^ignore_zones has .*0,0\.3', or the"):
        read_zone(text)


def test_a_zone_has_the_pixels_whose_centres_lie_in_it():
    assert np.array_equal(np.flatnonzero(drawn([TOP], (10, 4)).all(axis=1)), [0, 1, 2])
    left = ((0.5, 0.0), (0.0, 0.0), (0.0, 1.0), (0.5, 1.0))  # in the other direction
    assert np.array_equal(np.flatnonzero(drawn([left], (3, 8)).all(axis=0)), [0, 1, 2, 3])
    triangle = drawn([((0, 0), (1, 0), (0, 1))], (40, 40))
    rows, columns = np.indices((40, 40)) + 0.5
    assert np.array_equal(triangle, rows + columns < 40)
    assert drawn([((0, 0), (1, 0), (1, 1), (0, 1))], (5, 7)).all()
    assert not drawn([((0, 0), (1, 1), (0.5, 0.5))], (5, 7)).any()


def test_an_instance_with_more_than_half_of_its_mask_in_the_zones_is_left_out():
    masks = np.zeros((4, 10, 8), bool)
    masks[0, 0:6, 2] = True  # half of it
    masks[1, 0:5, 3] = True  # three of five pixels
    masks[2, 7:9, 4] = True
    found = sm.Instances.from_masks(masks, [0.9, 0.8, 0.7, 0.6], [0, 1, 2, 3])
    zones = IgnoredZones([TOP])
    assert zones.without(found).labels.tolist() == [0, 2, 3]  # the last has no mask
    elsewhere = sm.Instances.from_masks(np.ones((1, 4, 4)), [0.5], [0])
    assert len(zones.without(elsewhere)) == 1
    assert zones.without(found).labels.tolist() == [0, 2, 3]


def test_of_two_zones_what_lies_in_either_counts():
    halves = [((0, 0), (0.5, 0), (0.5, 1), (0, 1)), ((0.5, 0), (1, 0), (1, 1), (0.5, 1))]
    found = sm.Instances.from_masks(np.ones((1, 4, 4)), [0.5], [0])
    assert len(IgnoredZones(halves[:1]).without(found)) == 1
    assert len(IgnoredZones(halves).without(found)) == 0
    assert len(IgnoredZones(halves).without(sm.Instances.empty((4, 4)))) == 0

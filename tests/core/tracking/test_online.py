"""The online tracker, rule by rule, on objects that move as the test says."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import tracks_of

import sipmask_core as sm
from sipmask_core.instances import TrackState
from sipmask_core.tracking.online import FRAME_SECONDS, OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings

SIZE = (240, 320)


class Thing(NamedTuple):
    """A rectangle with its left edge at x; all its pixels are its mask."""

    x: float
    y: float = 50
    label: int = 0
    score: float = 0.9
    w: int = 40
    h: int = 80
    looks: tuple[float, ...] = ()


def seen(*things: Thing, size: tuple[int, int] = SIZE) -> sm.Instances:
    if not things:
        return sm.Instances.empty(size)
    boxes = np.array([(t.x, t.y, t.x + t.w, t.y + t.h) for t in things], np.float32)
    limit = np.array([size[1], size[0], size[1], size[0]])
    crops = []
    for x0, y0, x1, y1 in np.clip(np.rint(boxes), 0, limit).astype(int):
        crops.append(sm.MaskCrop(int(x0), int(y0), np.ones((y1 - y0, x1 - x0), bool)))
    return sm.Instances(
        boxes=boxes,
        scores=np.array([t.score for t in things], np.float32),
        labels=np.array([t.label for t in things], np.int64),
        mask_crops=crops,
        image_size=size,
        embeddings=np.array([t.looks for t in things], np.float32).reshape(len(things), -1),
    )


def tracker(**options: float) -> OnlineTracker:
    return OnlineTracker(TrackerSettings(**options))  # type: ignore[arg-type]


def ids(tracked: sm.Instances) -> list[int]:
    return tracked.track_ids.tolist()


def follow(online: OnlineTracker, *frames: sm.Instances) -> list[list[int]]:
    return [ids(online.update(frame)) for frame in frames]


def test_a_moving_object_keeps_its_id_whatever_the_order_of_the_detections() -> None:
    online = tracker()
    for step in range(20):
        a, b = Thing(10 + 5 * step), Thing(250 - 5 * step, y=140)
        found = online.update(seen(a, b) if step % 2 else seen(b, a))
        assert ids(found) == ([1, 0] if step % 2 else [0, 1])


def test_a_track_is_new_then_confirmed_and_ages_by_frames() -> None:
    online = tracker(confirm_after=3)
    frames = [online.update(seen(Thing(10))) for _ in range(5)]
    states = [TrackState(int(frame.track_states[0])).name for frame in frames]
    assert states == ["NEW", "NEW", "CONFIRMED", "CONFIRMED", "CONFIRMED"]
    assert [int(frame.track_ages[0]) for frame in frames] == [0, 1, 2, 3, 4]


def test_the_living_are_those_that_may_be_seen_again() -> None:
    online = tracker(confirm_after=1, max_lost_seconds=1.0)
    online.update(seen(Thing(10), Thing(200)), 0.0)
    assert online.living == {0, 1}
    online.update(seen(Thing(200)), 0.5)
    assert online.living == {0, 1}, "a hidden one lives on"
    online.update(seen(Thing(200)), 1.1)
    assert online.living == {1}
    online.reset()
    assert online.living == set()


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_box_that_is_infinite_has_no_track_to_go_on() -> None:
    online = tracker()
    found = seen(Thing(10), Thing(200))
    found.boxes[1] = (200, 50, np.inf, np.inf)
    assert follow(online, found, found) == [[0, 1], [0, 2]]


def test_with_confirm_after_1_a_track_is_confirmed_at_once() -> None:
    found = tracker(confirm_after=1).update(seen(Thing(10)))
    assert found.track_states.tolist() == [TrackState.CONFIRMED]


def test_empty_frames_age_a_track() -> None:
    online = tracker()
    follow(online, *[seen(Thing(10))] * 3, *[seen()] * 4)
    assert online.update(seen(Thing(10))).track_ages.tolist() == [7]


def test_two_objects_that_cross_keep_their_ids() -> None:
    online = tracker()
    for step in range(40):
        # For a while each hides a part of the other.
        found = online.update(seen(Thing(20 + 5 * step), Thing(220 - 5 * step, y=56)))
        assert ids(found) == [0, 1]


def test_objects_that_cross_while_one_hides_the_other_keep_their_ids() -> None:
    online = tracker()
    for step in range(40):
        left, right = Thing(20 + 5 * step), Thing(220 - 5 * step, y=56)
        hidden = abs(left.x - right.x) < 30
        found = online.update(seen(left) if hidden else seen(left, right))
        assert ids(found) == ([0] if hidden else [0, 1])


def test_an_object_is_known_again_where_its_motion_has_brought_it() -> None:
    online = tracker()
    follow(online, *[seen(Thing(10 + 4 * step)) for step in range(15)])
    follow(online, *[seen()] * 12)
    found = online.update(seen(Thing(10 + 4 * 27)))
    assert ids(found) == [0]
    assert found.track_states.tolist() == [TrackState.CONFIRMED]


def test_a_track_that_is_out_of_sight_for_too_long_is_gone() -> None:
    for missing, expected in ((29, [0]), (31, [1])):
        online = tracker(max_lost_seconds=1.0)
        follow(online, *[seen(Thing(10))] * 3, *[seen()] * (missing - 1))
        assert ids(online.update(seen(Thing(10)))) == expected, missing


def test_time_passes_by_the_stamps_and_not_by_the_number_of_frames() -> None:
    slow, fast = tracker(max_lost_seconds=1.0), tracker(max_lost_seconds=1.0)
    for online, period in ((slow, 0.5), (fast, 0.01)):
        for step in range(3):
            online.update(seen(Thing(10)), 1e9 + step * period)
    for step in range(3, 6):
        slow.update(seen(), 1e9 + step * 0.5)
        fast.update(seen(), 1e9 + step * 0.01)
    assert ids(slow.update(seen(Thing(10)), 1e9 + 3.0)) == [1]
    assert ids(fast.update(seen(Thing(10)), 1e9 + 0.06)) == [0]


def test_frames_that_were_dropped_are_bridged_by_the_stamps() -> None:
    online = tracker()
    for step in (0, 1, 2, 3, 8, 9, 17, 25):
        found = online.update(seen(Thing(10 + 6 * step)), 100 + step * FRAME_SECONDS)
        assert ids(found) == [0], step


@pytest.mark.parametrize("stamp", [5.0, 99.0, 100.0, None])
def test_a_stamp_that_jumps_back_stands_still_or_is_missing_costs_no_id(
    stamp: float | None,
) -> None:
    online = tracker(max_lost_seconds=1.0)
    for step in range(3):
        online.update(seen(Thing(10)), 100 + step * FRAME_SECONDS)
    for _ in range(3):
        assert ids(online.update(seen(Thing(10)), stamp)) == [0]
    if stamp is not None:
        assert ids(online.update(seen(Thing(10)), stamp + 0.1)) == [0]


def test_stamps_that_nearly_coincide_make_no_speed_of_a_tremble() -> None:
    online = tracker()
    for step in range(12):
        # Two images arrive within a microsecond, then none for a tenth of a second.
        for late in (0, 1e-6):
            thing = Thing(100 + 2 * (late > 0))
            assert ids(online.update(seen(thing), 50 + 0.1 * step + late)) == [0]


def test_tracks_are_forgotten_even_when_the_stamps_stand_still() -> None:
    online = tracker(max_lost_seconds=1.0)
    for _ in range(3):
        online.update(seen(Thing(10)), 7.0)
    for _ in range(40):
        online.update(seen(), 7.0)
    assert ids(online.update(seen(Thing(10)), 7.0)) == [1]


@pytest.mark.parametrize("stamp", [float("nan"), float("inf")])
def test_a_stamp_that_is_no_time_is_refused_and_changes_nothing(stamp: float) -> None:
    online = tracker()
    online.update(seen(Thing(10)), 1.0)
    with pytest.raises(sm.InputError, match="finite number of seconds"):
        online.update(seen(Thing(10)), stamp)
    found = online.update(seen(Thing(10)), 1.1)
    assert (ids(found), found.track_ages.tolist()) == ([0], [1])


def test_a_new_track_survives_as_many_misses_as_it_was_seen_and_no_more() -> None:
    thing, nothing = seen(Thing(10)), seen()
    assert follow(tracker(), thing, nothing, thing)[-1] == [0]
    assert follow(tracker(), thing, nothing, nothing, thing)[-1] == [1]
    assert follow(tracker(), thing, thing, nothing, nothing, thing)[-1] == [0]
    assert follow(tracker(), thing, thing, nothing, nothing, nothing, thing)[-1] == [1]


def test_an_object_that_flickers_is_confirmed_all_the_same() -> None:
    online = tracker(confirm_after=3)
    found = None
    for step in range(5):
        found = online.update(seen() if step % 2 else seen(Thing(10)))
    assert found is not None
    assert (ids(found), found.track_states.tolist()) == ([0], [TrackState.CONFIRMED])


def test_an_established_track_is_preferred_to_one_on_trial() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 5)
    assert ids(online.update(seen(Thing(100), Thing(128)))) == [0, 1]
    # A little nearer to the one on trial.
    assert ids(online.update(seen(Thing(116)))) == [0]


def test_a_track_on_trial_keeps_its_object_when_an_established_one_hides_beside_it() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 5, seen(Thing(100), Thing(124)))
    assert ids(online.update(seen(Thing(124)))) == [1]


def test_a_track_on_trial_needs_twice_the_overlap() -> None:
    def second_id(frames: int) -> int:
        online = tracker(min_affinity=0.3)
        follow(online, *[seen(Thing(100))] * frames)
        return ids(online.update(seen(Thing(100, y=85))))[0]

    assert second_id(1) == 1
    assert second_id(10) == 0


def test_objects_side_by_side_keep_their_ids_although_their_boxes_tremble() -> None:
    rng = np.random.default_rng(3)
    online = tracker()
    for _ in range(100):
        shakes = np.rint(rng.normal(0, (4, 8), (3, 2)))
        found = online.update(
            seen(*(Thing(50 + 30 * n + x, 50 + y) for n, (x, y) in enumerate(shakes)))
        )
        assert ids(found) == [0, 1, 2]


def test_a_sliver_of_a_hidden_object_continues_its_track() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 10)
    assert follow(online, seen(Thing(136, w=4)), seen(), seen(Thing(136, w=4))) == [[0], [], [0]]


def test_a_sliver_of_another_class_is_another_object() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 10)
    assert follow(online, seen(Thing(136, w=4, label=1))) == [[1]]


def test_a_sliver_is_another_object_while_the_whole_is_seen() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 10)
    assert follow(online, seen(Thing(100), Thing(136, w=4))) == [[0, 1]]


def test_an_object_that_was_covered_is_known_again_where_it_comes_out_first() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100))] * 10)
    for width in (30, 20):
        assert ids(online.update(seen(Thing(140 - width, w=width)))) == [0]
    follow(online, *[seen()] * 5)
    for width in (20, 30, 40):
        assert ids(online.update(seen(Thing(100, w=width)))) == [0]


def test_one_detection_continues_one_track_only() -> None:
    online = tracker()
    follow(online, *[seen(Thing(100), Thing(120))] * 3)
    assert ids(online.update(seen(Thing(105), Thing(105, y=150)))) == [0, 2]


def test_a_second_detection_of_an_object_gets_no_id() -> None:
    online = tracker()
    for _ in range(4):
        found = online.update(seen(Thing(100), Thing(102, score=0.8)))
        assert ids(found) == [0, -1]
        assert found.track_states.tolist()[1] == TrackState.NONE
        assert found.track_ages.tolist()[1] == 0


def test_an_object_in_front_of_another_is_no_double_of_it() -> None:
    assert ids(tracker().update(seen(Thing(100), Thing(110, y=60, w=20, h=30)))) == [0, 1]


def test_a_weak_detection_continues_a_track_but_starts_none() -> None:
    online = tracker(new_score=0.5)
    assert follow(online, seen(Thing(10, score=0.4))) == [[-1]]
    assert follow(online, *[seen(Thing(10))] * 3, seen(Thing(10, score=0.1)))[-1] == [0]


def test_a_label_that_flickers_keeps_the_id() -> None:
    online = tracker()
    for step in range(20):
        assert ids(online.update(seen(Thing(10 + 2 * step, label=int(step % 4 == 3))))) == [0]


def test_a_class_that_changes_for_good_keeps_the_id_and_becomes_the_tracks_own() -> None:
    online = tracker()
    assert follow(online, *[seen(Thing(100))] * 10)[-1] == [0]
    assert follow(online, *[seen(Thing(100, label=1))] * 20) == [[0]] * 20
    # By now one of the new class continues the track, and one of the old class is another object.
    assert ids(online.update(seen(Thing(104), Thing(96, label=1)))) == [1, 0]


def test_of_two_objects_at_one_place_each_keeps_its_class() -> None:
    online = tracker()
    # Two boxes that overlap much, such as a rider and a horse; they change places in the list.
    rider, horse = Thing(100, label=0, h=60), Thing(104, label=1, h=80)
    for step in range(8):
        found = online.update(seen(rider, horse) if step % 2 else seen(horse, rider))
        assert ids(found) == ([1, 0] if step % 2 else [0, 1])


def test_embeddings_tell_apart_what_boxes_cannot() -> None:
    red, blue = (1.0, 0.0), (0.0, 1.0)
    online = tracker()
    follow(online, *[seen(Thing(100, looks=red), Thing(120, looks=blue))] * 3)
    # Both have moved so that each stands nearer to the other's old place.
    assert ids(online.update(seen(Thing(112, looks=red), Thing(108, looks=blue)))) == [0, 1]


def test_what_is_far_away_is_never_the_same_object_even_with_equal_embeddings() -> None:
    online = tracker()
    follow(online, *[seen(Thing(10, looks=(1.0, 0.0)))] * 3)
    assert ids(online.update(seen(Thing(250, looks=(1.0, 0.0))))) == [1]


def test_masks_tell_apart_what_boxes_cannot() -> None:
    """Follow two diagonal bars in one box."""
    bar = np.abs(np.arange(80)[:, None] - np.arange(80)) < 14
    crops = [sm.MaskCrop(50, 50, bar), sm.MaskCrop(50, 50, bar[::-1])]
    both = replace(seen(Thing(50, w=80), Thing(50, w=80)), mask_crops=crops)
    online = tracker()
    assert follow(online, both, both, both, both[[1, 0]]) == [[0, 1], [0, 1], [0, 1], [1, 0]]


def test_small_objects_without_enough_mask_are_tracked_by_their_boxes() -> None:
    online = tracker()
    for step in range(6):
        assert ids(online.update(seen(Thing(10 + step, w=8, h=8)))) == [0]


def test_the_number_of_tracks_is_bounded_and_those_longest_unseen_go_first() -> None:
    online = tracker(max_tracks=3, confirm_after=1, max_lost_seconds=100)
    for x in (0, 60, 120, 180):
        online.update(seen(Thing(x)))
    assert len(tracks_of(online)) == 3
    assert follow(online, seen(Thing(60)), seen(Thing(0))) == [[1], [4]]


def test_when_all_places_are_taken_by_present_objects_newcomers_get_no_id() -> None:
    online = tracker(max_tracks=2)
    assert ids(online.update(seen(Thing(0), Thing(60), Thing(120)))) == [0, 1, -1]
    assert ids(online.update(seen(Thing(120), Thing(60), Thing(0)))) == [-1, 1, 0]


def test_reset_forgets_the_tracks_but_not_which_ids_were_used() -> None:
    online = tracker()
    assert follow(online, *[seen(Thing(10), Thing(100))] * 3)[-1] == [0, 1]
    online.reset()
    found = online.update(seen(Thing(10)))
    assert (ids(found), found.track_ages.tolist()) == ([2], [0])


def test_ids_count_from_where_another_tracker_ended() -> None:
    online = tracker()
    follow(online, seen(Thing(10), Thing(100)))
    other = OnlineTracker(TrackerSettings(), first_id=online.next_id)
    assert follow(other, seen(Thing(10))) == [[2]]


def test_another_image_size_starts_afresh() -> None:
    online = tracker()
    follow(online, *[seen(Thing(10))] * 3)
    assert follow(online, seen(Thing(10), size=(480, 640))) == [[1]]
    assert follow(online, seen(Thing(10), size=(480, 640))) == [[1]]


def test_the_given_instances_stay_as_they_are_and_can_be_changed_afterwards() -> None:
    online = tracker()
    first = seen(Thing(10, looks=(1.0, 0.0)))
    tracked = online.update(first)
    assert ids(first) == [-1] and tracked.boxes is first.boxes
    first.boxes[:] = first.embeddings[:] = 0
    assert ids(online.update(seen(Thing(12, looks=(1.0, 0.0))))) == [0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_score", 1.5),
        ("min_affinity", -0.1),
        ("duplicate_iou", float("nan")),
        ("confirm_after", 0),
        ("max_tracks", 0),
        ("max_lost_seconds", float("inf")),
        ("mask_weight", -1.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(sm.InputError, match=f"{field} is {value}; it must be"):
        tracker(**{field: value})


def test_masks_and_boxes_cannot_both_be_left_out() -> None:
    with pytest.raises(sm.InputError, match="both 0"):
        tracker(mask_weight=0, box_weight=0)


def test_embeddings_of_another_length_are_refused() -> None:
    online = tracker()
    follow(online, *[seen(Thing(10, looks=(1.0, 0.0)))] * 2, seen())
    with pytest.raises(sm.InputError, match="have 3 numbers, but those of earlier frames had 2"):
        online.update(seen(Thing(10, looks=(1.0, 0.0, 0.0))))
    assert ids(online.update(seen(Thing(10, looks=(1.0, 0.0))))) == [0]


def test_a_long_run_of_chance_stays_within_its_bounds_and_never_uses_an_id_again() -> None:
    rng = np.random.default_rng(0)
    online = tracker(max_tracks=12, max_lost_seconds=1.0)
    known: set[int] = set()
    gone: set[int] = set()
    stamp, size, newest = 0.0, SIZE, -1
    for number in range(2000):
        stamp += rng.choice([0.03, 0.03, 0.03, 0.2, 3.0, -1.0, 0.0])
        if number % 500 == 499:
            online.reset()
        if number % 700 == 699:
            size = size[::-1]
        shown = [
            Thing(*rng.integers(0, 8, 2) * 30.0, int(rng.integers(3)), rng.uniform(0.1, 1))
            for _ in range(rng.integers(0, 8))
        ]
        if number % 500 == 499 or number % 700 == 699:
            gone |= known
        found = online.update(seen(*shown, size=size), stamp if number % 7 else None)
        now = [i for i in ids(found) if i >= 0]
        assert len(set(now)) == len(now) and not gone & set(now)
        assert all(i > newest for i in now if i not in known), "new ids only count up"
        newest = max([newest, *now])
        known.update(now)
        assert online.next_id == newest + 1
        assert len(tracks_of(online)) <= 12
        assert all(len(track.votes) <= 3 for track in tracks_of(online))
        gone = known - {track.id for track in tracks_of(online)}
    assert newest > 300


things = st.builds(
    lambda x, y, label, score: Thing(x, y, label, score),
    x=st.integers(0, 12).map(lambda x: 20.0 * x),
    y=st.integers(0, 3).map(lambda y: 40.0 * y),
    label=st.integers(0, 1),
    score=st.sampled_from([0.2, 0.5, 0.9]),
)
videos = st.lists(
    st.tuples(st.lists(things, max_size=6), st.sampled_from([None, -3.0, 0.0, 0.03, 0.4, 5.0])),
    max_size=25,
)


def run(video: list[tuple[list[Thing], float | None]], reset_at: int) -> list[sm.Instances]:
    online, stamp, frames = tracker(max_tracks=8, max_lost_seconds=0.5), 1e9, []
    for number, (shown, step) in enumerate(video):
        if number == reset_at:
            online.reset()
        stamp += step or 0
        frames.append(online.update(seen(*shown), None if step is None else stamp))
        assert len(tracks_of(online)) <= 8
    return frames


@settings(max_examples=60, deadline=None)
@given(videos, st.integers(0, 25))
def test_whatever_comes_ids_are_unique_in_a_frame_and_ids_of_gone_tracks_never_return(
    video: list[tuple[list[Thing], float | None]], reset_at: int
) -> None:
    frames = run(video, reset_at)
    births: dict[int, int] = {}
    newest = -1
    for number, found in enumerate(frames):
        given_ids = [i for i in ids(found) if i != -1]
        assert len(set(given_ids)) == len(given_ids)
        for index, track_id in enumerate(ids(found)):
            state, age = int(found.track_states[index]), int(found.track_ages[index])
            assert (track_id == -1) == (state == TrackState.NONE)
            if track_id == -1:
                assert age == 0
                continue
            # An id that was never seen is higher than all before it, and one that was is of the
            # same track: its age says when that was born.
            assert track_id in births or track_id > newest
            newest = max(newest, track_id)
            assert births.setdefault(track_id, number) == number - age
            assert not births[track_id] < reset_at <= number
    again = run(video, reset_at)
    assert [ids(found) for found in again] == [ids(found) for found in frames]

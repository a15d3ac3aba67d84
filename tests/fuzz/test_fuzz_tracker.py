"""The online tracker: whatever comes, ids are unique, never used again, and memory is bounded."""

import math

import numpy as np
from fuzzing import fuzz, may_refuse
from hypothesis import strategies as st
from inside import tracks_of
from strange_instances import some_instances

import sipmask_core as sm
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings

MOST_TRACKS = 5


stamps = st.one_of(
    st.none(),
    st.floats(),  # also NaN and infinities
    st.sampled_from([0.0, 1.0, 1.0, 1.03, -1e9, 1e308, 1.7e9]),
    st.floats(0, 3),
)
numbers = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1))


@fuzz(
    share=2,
    frames=st.lists(st.tuples(some_instances(embeddings=2, largest=12), stamps), max_size=8),
    same_size=st.booleans(),
)
def test_ids_are_unique_and_never_used_again_whatever_the_stamps(frames, same_size):
    tracker = OnlineTracker(TrackerSettings(max_tracks=MOST_TRACKS, confirm_after=2))
    seen, previous = set(), set()
    for instances, stamp in frames:
        if same_size:
            crops = [sm.MaskCrop(0, 0, np.ones((2, 2), bool))] * len(instances)
            instances = sm.Instances(
                boxes=instances.boxes,
                scores=instances.scores,
                labels=instances.labels,
                mask_crops=crops,
                image_size=(12, 12),
                embeddings=instances.embeddings,
            )
        with may_refuse() as refusals:
            tracked = tracker.update(instances, stamp)
        if refusals:
            assert not math.isfinite(stamp)
            continue
        ids = [i for i in tracked.track_ids.tolist() if i >= 0]
        assert len(set(ids)) == len(ids)
        known = {track.id for track in tracks_of(tracker)}
        assert set(ids) <= known and len(known) <= MOST_TRACKS
        fresh = known - previous
        assert not fresh & seen  # none comes back from the dead
        assert max(known, default=-1) < tracker.next_id
        seen |= known
        previous = known
        assert np.array_equal(tracked.boxes, instances.boxes)


@fuzz(
    boxes=st.lists(st.tuples(*[st.floats(width=32)] * 4), min_size=1, max_size=4),
    scores=st.lists(st.floats(width=32), min_size=4, max_size=4),
    frames=st.integers(1, 4),
)
def test_boxes_and_scores_that_are_no_numbers_break_nothing(boxes, scores, frames):
    count = len(boxes)
    instances = sm.Instances(
        boxes=np.array(boxes, np.float32),
        scores=np.array(scores[:count], np.float32),
        labels=np.zeros(count, np.int64),
        mask_crops=[sm.MaskCrop(0, 0, np.ones((3, 3), bool))] * count,
        image_size=(9, 9),
    )
    tracker = OnlineTracker(TrackerSettings(max_tracks=MOST_TRACKS))
    with np.errstate(all="ignore"):
        for _ in range(frames):
            with may_refuse():
                ids = tracker.update(instances).track_ids
                assert len(set(ids[ids >= 0])) == (ids >= 0).sum()


@fuzz(
    settings=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            (
                "new_score",
                "confirm_after",
                "min_affinity",
                "max_lost_seconds",
                "max_tracks",
                "duplicate_iou",
                "mask_weight",
                "box_weight",
            ),
            numbers,
        ),
    ),
    instances=some_instances(),
)
def test_settings_work_or_are_refused(settings, instances):
    with may_refuse() as refusals:
        tracker = OnlineTracker(TrackerSettings(**settings))
    if not refusals:
        for _ in range(3):
            tracker.update(instances)

"""Track ids: equal to the authors' code over whole videos, and the rules one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from official import golden_files
from parity import Frame, track_clips
from pycocotools import mask as coco_mask

import sipmask_core as sm
from sipmask_core.data.youtube_vis_results import youtube_vis_results
from sipmask_core.tracking import youtube_vis as youtube_vis_tracker
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=golden_files("golden", "vis"))
def golden(request: pytest.FixtureRequest) -> tuple[Path, list[Frame]]:
    """Return a golden file and its videos as our predictor tracks them."""
    return request.param, list(track_clips(request.param))


def test_every_detection_has_the_authors_track_id(golden: tuple[Path, list[Frame]]) -> None:
    _, frames = golden
    for frame in frames:
        assert frame.instances.track_ids.tolist() == frame.expected_ids
    assert any(-1 in frame.expected_ids for frame in frames)


def test_every_object_is_the_authors(golden: tuple[Path, list[Frame]]) -> None:
    """Compare raw outputs, and boxes, scores and masks by track id, through `Predictor.track`."""
    _, frames = golden
    for frame in frames:
        assert frame.differences.raw <= 1e-4
        assert frame.differences.unmatched == 0
        assert frame.differences.box < 0.1
        assert frame.differences.score < 1e-4
        assert frame.differences.mask_iou >= 0.99


def test_the_results_file_is_the_authors(golden: tuple[Path, list[Frame]]) -> None:
    file, frames = golden
    expected = json.loads(file.with_suffix(".results.json").read_text())
    clips = list(dict.fromkeys(frame.clip for frame in frames))
    actual = [
        result
        for video_id, clip in enumerate(clips, start=1)
        for result in youtube_vis_results(
            [frame.instances for frame in frames if frame.clip == clip], video_id, range(1, 41)
        )
    ]
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours["video_id"] == theirs["video_id"]
        assert ours["category_id"] == theirs["category_id"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
        for a, b in zip(ours["segmentations"], theirs["segmentations"], strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a["size"] == b["size"]
                assert a == b or coco_mask.iou([a], [b], [0])[0, 0] >= 0.99


def seen(
    embeddings: Sequence[Sequence[float]],
    labels: Sequence[int],
    lefts: Sequence[float],
    scores: Sequence[float] | None = None,
) -> sm.Instances:
    """Return a frame with boxes of 10 x 10 pixels at these left edges."""
    n = len(labels)
    return sm.Instances(
        boxes=np.array([[x, 0, x + 9, 9] for x in lefts], np.float32).reshape(n, 4),
        scores=np.array([0.5] * n if scores is None else scores, np.float32),
        labels=np.array(labels, np.int64),
        mask_crops=[sm.MaskCrop(0, 0, np.zeros((0, 0), bool))] * n,
        image_size=(20, 1000),
        embeddings=np.array(embeddings, np.float32).reshape(n, -1),
    )


RED, BLUE = [10.0, -10.0], [-10.0, 10.0]


def ids(tracker: sm.Tracker, instances: sm.Instances) -> list[int]:
    return tracker.update(instances).track_ids.tolist()


def test_an_object_is_known_again_by_its_embedding_wherever_it_is() -> None:
    tracker = sm.Tracker("youtube-vis")
    assert ids(tracker, seen([RED, BLUE], [0, 0], [0, 100])) == [0, 1]
    assert ids(tracker, seen([BLUE, RED], [0, 0], [500, 900])) == [1, 0]


def test_objects_of_equal_looks_are_known_again_by_their_boxes() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED, RED], [0, 0], [0, 100]))
    assert ids(tracker, seen([RED, RED], [0, 0], [103, 3])) == [1, 0]


def test_an_object_that_resembles_nothing_known_is_new() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    assert ids(tracker, seen([BLUE], [0], [500])) == [1]


def test_nothing_is_forgotten_while_it_is_out_of_sight() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED, BLUE], [0, 0], [0, 100]))
    for _ in range(50):
        assert ids(tracker, seen([BLUE], [0], [100])) == [1]
    assert ids(tracker, seen([RED], [0], [0])) == [0]


def test_the_label_of_an_object_stays_the_first_one() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    assert ids(tracker, seen([RED], [1], [0])) == [0]
    # Looks decide nothing here; at the place of the known object, only its label can.
    assert ids(tracker, seen([[0, 0]], [1], [0])) == [1]
    assert ids(tracker, seen([[0, 0]], [0], [0])) == [0]


def test_a_later_and_better_claim_to_an_object_shares_its_id_and_is_remembered() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    claims = seen([RED, RED], [0, 0], [6, 1], scores=[0.52, 0.5])
    assert ids(tracker, claims) == [0, 0]
    # Its looks speak a little against this one; only with the second claim does it share so much
    # of its box that it is the known object all the same.
    assert ids(tracker, seen([[-0.05, 0]], [0], [-2])) == [0]


def test_a_later_and_worse_claim_to_an_object_stays_untracked() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    assert ids(tracker, seen([RED, RED], [0, 0], [0, 5])) == [0, -1]


def test_a_frame_without_objects_changes_nothing() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    empty = sm.Instances.empty((20, 1000))
    assert tracker.update(empty) is empty
    assert ids(tracker, seen([RED], [0], [0])) == [0]


def test_reset_forgets_all_objects() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED, BLUE], [0, 0], [0, 100]))
    tracker.reset()
    assert ids(tracker, seen([BLUE], [0], [100])) == [0]


def test_the_given_instances_are_kept_and_can_be_changed_afterwards() -> None:
    tracker = sm.Tracker("youtube-vis")
    first = seen([RED], [0], [0])
    tracked = tracker.update(first)
    assert first.track_ids.tolist() == [-1]
    assert tracked.boxes is first.boxes
    first.embeddings[:] = first.boxes[:] = 0
    assert ids(tracker, seen([RED], [0], [0])) == [0]


def test_newcomers_stay_untracked_when_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(youtube_vis_tracker, "MAX_OBJECTS", 1)
    tracker = sm.Tracker("youtube-vis")
    assert ids(tracker, seen([RED, BLUE], [0, 0], [0, 100])) == [0, -1]
    assert ids(tracker, seen([BLUE, RED], [0, 0], [100, 0])) == [-1, 0]


def test_instances_without_embeddings_are_refused() -> None:
    with pytest.raises(sm.InputError, match="have no embeddings"):
        sm.Tracker("youtube-vis").update(seen([[]], [0], [0]))


def test_embeddings_of_another_model_are_refused() -> None:
    tracker = sm.Tracker("youtube-vis")
    ids(tracker, seen([RED], [0], [0]))
    with pytest.raises(sm.InputError, match=r"have 3 numbers, but those of earlier frames had 2"):
        tracker.update(seen([[1, 2, 3]], [0], [0]))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(sm.InputError, match="mode is 'sort'; it must be online or youtube-vis"):
        sm.Tracker("sort")  # type: ignore[arg-type]


def test_the_authors_association_has_no_settings() -> None:
    with pytest.raises(sm.InputError, match="youtube-vis has no settings"):
        sm.Tracker("youtube-vis", TrackerSettings())


def test_the_online_mode_needs_no_embeddings_and_is_the_default() -> None:
    tracker = sm.Tracker()
    assert ids(tracker, seen([[], []], [0, 0], [0, 100])) == [0, 1]
    assert ids(tracker, seen([[], []], [0, 0], [101, 1])) == [1, 0]
    tracker.reset()
    assert ids(tracker, seen([[]], [0], [0])) == [2]

import numpy as np
import pytest

import sipmask_core as sm
from sipmask_core.drawing import colour
from sipmask_core.tracking.history import MOST_ROWS, TRAIL_SECONDS, TrackHistory


def frame(*tracks):
    """Return a frame of 10 x 10 boxes, one for each (id, x, label)."""
    n = len(tracks)
    return sm.Instances(
        boxes=np.array([(x, 20, x + 10, 30) for _, x, _ in tracks], np.float32).reshape(n, 4),
        scores=np.full(n, 0.9, np.float32),
        labels=np.array([label for _, _, label in tracks], np.int64),
        mask_crops=[sm.MaskCrop(x, 20, np.ones((10, 10), bool)) for _, x, _ in tracks],
        image_size=(40, 200),
        track_ids=np.array([track_id for track_id, _, _ in tracks], np.int64),
    )


def test_stretches_classes_and_counts_of_tracks_are_told_by_id():
    history = TrackHistory(30)
    frames = [
        frame((5, 0, 1), (2, 50, 0)),
        frame((5, 0, 0), (-1, 90, 0)),
        frame(),
        frame((5, 0, 1)),
    ]
    for instances in frames:
        history.add(instances)
    assert (history.frame_count, history.instance_count, len(history)) == (4, 5, 2)
    assert history.tracks(("person", "dog")) == [
        {"id": 2, "class": "person", "frames": 1, "seen": [[0, 0]]},
        {"id": 5, "class": "dog", "frames": 3, "seen": [[0, 1], [3, 3]]},
    ]


def test_the_trail_follows_the_lower_edge_of_a_present_object_in_its_colour():
    history = TrackHistory(10)
    canvas = np.zeros((40, 200, 3), np.uint8)
    for step in range(6):
        history.add(frame((4, 20 * step, 0)))
    history.draw_trails(canvas)
    drawn = np.flatnonzero(canvas.any(axis=2).any(axis=0))
    assert drawn[0] in range(3, 7) and drawn[-1] in range(103, 108)
    assert canvas[30, 100].tolist() == list(colour(4))
    history.add(frame())
    canvas[:] = 0
    history.draw_trails(canvas)
    assert not canvas.any()


def test_a_trail_reaches_back_only_so_far():
    history = TrackHistory(10)
    for step in range(100):
        history.add(frame((4, step, 0)))
    canvas = np.zeros((40, 200, 3), np.uint8)
    history.draw_trails(canvas)
    drawn = np.flatnonzero(canvas.any(axis=2).any(axis=0))
    assert drawn[0] >= 99 + 5 - 10 * TRAIL_SECONDS - 2


@pytest.mark.parametrize("count", [0, 1, MOST_ROWS + 5])
def test_a_timeline_is_drawn_for_any_number_of_tracks(tmp_path, count):
    history = TrackHistory(30)
    for track_id in range(count):
        history.add(frame((track_id, 0, 0)))
    history.draw_timeline(tmp_path / "t.png", ("person",))
    assert [path.name for path in tmp_path.iterdir()] == ["t.png"]


def test_results_hold_every_frame():
    history = TrackHistory(30, keep_masks=True)
    for instances in (frame((1, 0, 0)), frame(), frame((1, 4, 0))):
        history.add(instances)
    (result,) = history.youtube_vis_results(("person",))
    assert [rle is not None for rle in result["segmentations"]] == [True, False, True]

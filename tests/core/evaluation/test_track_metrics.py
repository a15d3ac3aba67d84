import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sipmask_core.errors import InputError
from sipmask_core.evaluation.track_metrics import METRICS, TrackedFrame, count_tracks

A, B, C = 0, 20, 40  # where objects of 10 x 10 pixels stand, apart from each other


def rle(x, columns=10, size=(20, 60)):
    mask = np.zeros(size, np.uint8, order="F")
    mask[5:15, x : x + columns] = 1
    encoded = coco_mask.encode(mask)
    return {"size": list(size), "counts": encoded["counts"].decode()}


def frame(**objects):
    """Return a frame of id: place or (place, columns); having 6 of 10 columns is an IoU of 0.6."""
    masks = [rle(*p) if isinstance(p, tuple) else rle(p) for p in objects.values()]
    return TrackedFrame([int(name[1:]) for name in objects], masks)


def metrics(truth, results):
    return count_tracks(truth, results).metrics()


def test_perfect_tracks_score_one_whatever_their_ids():
    truth = [frame(_1=A, _2=B)] * 3 + [frame(_2=B)]
    results = [frame(_70=B, _30=A)] * 3 + [frame(_70=B)]
    figures = metrics(truth, results)
    assert list(figures) == list(METRICS)
    assert [figures.pop(name) for name in ("id_switches", "fragmentations")] == [0, 0]
    assert figures == pytest.approx(dict.fromkeys(figures, 1.0))


def test_a_track_that_changes_its_id_halfway():
    # Each of the two pairs of tracks has 2 hits of 4 + 2 - 2 masks.
    figures = metrics([frame(_1=A)] * 4, [frame(_1=A)] * 2 + [frame(_2=A)] * 2)
    assert figures == pytest.approx(
        {
            "HOTA": math.sqrt(0.5),
            "DetA": 1,
            "AssA": 0.5,
            "LocA": 1,
            "IDF1": 0.5,
            "IDP": 0.5,
            "IDR": 0.5,
            "MOTA": 0.75,
            "id_switches": 1,
            "fragmentations": 0,
        }
    )


def test_two_tracks_that_swap_their_ids():
    # Per true track: 2 hits with 2 / (3 + 3 - 2) and one with 1 / (3 + 3 - 1).
    figures = metrics([frame(_1=A, _2=B)] * 3, [frame(_1=A, _2=B)] * 2 + [frame(_1=B, _2=A)])
    assert figures["AssA"] == pytest.approx((2 * 0.5 + 0.2) / 3)
    assert figures["HOTA"] == pytest.approx(math.sqrt(0.4))
    assert figures["IDF1"] == pytest.approx(4 / 6)
    assert figures["MOTA"] == pytest.approx(4 / 6)
    assert figures["id_switches"] == 2


def test_a_miss_a_false_alarm_and_a_bad_mask():
    # 3 hits up to IoU .60 (12 thresholds) and 2 above it (7), of 4 true masks and 4 results; the
    # pair of tracks has 4 and 3 masks.
    truth = [frame(_1=A)] * 4
    results = [frame(_1=A), frame(_9=C), frame(_1=(A, 6)), frame(_1=A)]
    assert metrics(truth, results) == pytest.approx(
        {
            "HOTA": (12 * math.sqrt(3 / 5 * 3 / 4) + 7 * math.sqrt(2 / 6 * 2 / 5)) / 19,
            "DetA": (12 * 3 / 5 + 7 * 2 / 6) / 19,
            "AssA": (12 * 3 / 4 + 7 * 2 / 5) / 19,
            "LocA": (12 * 2.6 / 3 + 7) / 19,
            "IDF1": 0.75,
            "IDP": 0.75,
            "IDR": 0.75,
            "MOTA": (3 - 1) / 4,
            "id_switches": 0,
            "fragmentations": 1,
        }
    )


def test_a_frame_without_any_result_is_no_fragmentation():
    results = [frame(_1=A), frame(), frame(_1=A), frame(_9=C), frame(_1=A)]
    figures = metrics([frame(_1=A)] * 5, results)
    assert figures["fragmentations"] == 1
    assert figures["MOTA"] == pytest.approx((3 - 1) / 5)


def test_an_object_found_again_under_another_id_after_a_gap_is_a_switch():
    truth = [frame(_1=A, _2=B)] * 3
    figures = metrics(truth, [frame(_1=A, _2=B), frame(_2=B), frame(_5=A, _2=B)])
    assert (figures["id_switches"], figures["fragmentations"]) == (1, 1)
    assert figures["MOTA"] == pytest.approx((5 - 1) / 6)


def test_mota_keeps_a_pair_although_another_result_fits_better():
    results = [frame(_1=A), frame(_1=(A, 6), _2=A), frame(_1=A)]
    figures = metrics([frame(_1=A)] * 3, results)
    assert figures["id_switches"] == 0
    assert figures["MOTA"] == pytest.approx((3 - 1) / 3)


def test_hota_prefers_the_result_that_goes_along_over_the_one_that_fits_better_once():
    # Up to IoU .60 all three masks of the long track are hits, of 3 + 4 masks; above it none.
    results = [frame(_1=(A, 6), _2=A), frame(_1=(A, 6)), frame(_1=(A, 6))]
    figures = metrics([frame(_1=A)] * 3, results)
    assert figures["AssA"] == pytest.approx(12 / 19)
    assert figures["DetA"] == pytest.approx(12 / 19 * 3 / 4)
    assert figures["HOTA"] == pytest.approx(12 / 19 * math.sqrt(3 / 4))
    assert figures["LocA"] == pytest.approx((12 * 0.6 + 7) / 19)


def test_results_that_share_an_object_share_its_frame_too():
    # In the last frame, IoUs of 0.4 and 1 count 0.4 / 1.4 and 1 / 1.4 of a frame in common. So the
    # tracks go together by 16/7 / (3 + 3 - 16/7) = 0.62 and 5/7 / (3 + 1 - 5/7) = 0.22: times the
    # IoU, the first is worth more. Of its IoUs 0.2, 0.2, 0.4 four thresholds are reached by three
    # and four by one.
    results = [frame(_1=(A, 2)), frame(_1=(A, 2)), frame(_1=(A, 4), _2=A)]
    figures = metrics([frame(_1=A)] * 3, results)
    assert figures["AssA"] == pytest.approx((4 * 3 / 3 + 4 * 1 / 5) / 19)
    assert figures["DetA"] == pytest.approx((4 * 3 / 4 + 4 * 1 / 6) / 19)


def test_half_an_object_is_enough_for_an_id_and_less_is_not():
    half = metrics([frame(_1=A)], [frame(_1=(A, 5))])
    assert (half["IDF1"], half["MOTA"]) == (1, 1)
    less = metrics([frame(_1=A)], [frame(_1=(A, 4))])
    assert (less["IDF1"], less["MOTA"]) == (0, -1)
    assert less["HOTA"] == pytest.approx(8 / 19)  # .05 to .40, the last one just reached


def test_an_id_is_worth_what_the_best_assignment_of_whole_tracks_gives():
    # Result 1 is true track 1 in three frames and 2 in two; result 2 is 1 in two frames.
    truth = [frame(_1=A)] * 3 + [frame(_1=A, _2=B)] * 2
    results = [frame(_1=A)] * 3 + [frame(_1=B, _2=A)] * 2
    figures = metrics(truth, results)  # 1 with 2 and 2 with 1 give 4 hits, 1 with 1 gives 3
    assert (figures["IDP"], figures["IDR"]) == pytest.approx((4 / 7, 4 / 7))


@pytest.mark.parametrize(
    ("truth", "results", "mota"),
    [
        ([frame(_1=A)] * 2, [frame()] * 2, 0),
        ([frame()] * 2, [frame(_1=A)] * 2, -2),
        ([frame()] * 2, [frame()] * 2, 0),
        ([], [], 0),
    ],
)
def test_where_one_side_is_empty_nothing_is_found(truth, results, mota):
    figures = metrics(truth, results)
    expected = dict.fromkeys(METRICS, 0.0) | {"LocA": 1, "MOTA": mota}
    assert figures == expected


def test_counts_of_videos_are_added():
    first = count_tracks([frame(_1=A)] * 4, [frame(_1=A)] * 2 + [frame(_2=A)] * 2)
    second = count_tracks([frame(_1=B)] * 2, [frame(_1=B), frame(_7=C)])  # not the same object
    figures = (first + second).metrics()
    assert figures["DetA"] == pytest.approx(5 / 7)
    assert figures["AssA"] == pytest.approx((4 * 0.5 + 1 * 0.5) / 5)
    assert figures["IDF1"] == pytest.approx((2 + 1) / 6)
    assert figures["MOTA"] == pytest.approx((3 + 0) / 6)
    assert figures["id_switches"] == 1


def test_the_order_of_objects_in_a_frame_does_not_matter():
    rng = np.random.default_rng(0)

    def shuffled(tracked):
        order = rng.permutation(len(tracked.ids))
        return TrackedFrame([tracked.ids[i] for i in order], [tracked.masks[i] for i in order])

    truth = [frame(_1=A, _2=B, _3=C)] * 4
    results = [frame(_1=A, _2=(B, 7)), frame(_1=B, _4=C), frame(_9=(A, 6)), frame(_4=C, _2=B)]
    expected = metrics(truth, results)
    for _ in range(5):
        mixed = metrics([shuffled(f) for f in truth], [shuffled(f) for f in results])
        assert mixed == pytest.approx(expected)


def test_a_wrong_class_counts_only_where_classes_are_scored_apart():
    truth = [TrackedFrame([1, 2], [rle(A), rle(B)], [0, 1])] * 2
    results = [TrackedFrame([1, 2], [rle(A), rle(B)], [0, 0])] * 2
    assert metrics(truth, results)["HOTA"] == pytest.approx(1)
    of_first = count_tracks(truth, results, label=0).metrics()
    assert of_first["DetA"] == pytest.approx(1 / 2)
    assert of_first["MOTA"] == 0
    assert count_tracks(truth, results, label=1).metrics()["HOTA"] == 0


def test_frames_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError, match="The video has 1 frames, its results have 2"):
        metrics([frame(_1=A)], [frame(_1=A)] * 2)
    twice = TrackedFrame([4, 4], [rle(A), rle(B)])
    with pytest.raises(InputError, match=r"Frame 1 of the results has ids \[4, 4\]"):
        metrics([frame(_1=A)] * 2, [frame(_1=A), twice])
    untracked = TrackedFrame([-1], [rle(A)])
    with pytest.raises(InputError, match=r"Frame 0 of the ground truth has ids \[-1\]"):
        metrics([untracked], [frame(_1=A)])
    with pytest.raises(InputError, match="Frame 0 has masks of different sizes"):
        metrics([frame(_1=A)], [TrackedFrame([1], [rle(A, size=(20, 70))])])
    with pytest.raises(InputError, match="without labels"):
        count_tracks([frame(_1=A)], [frame(_1=A)], label=0)
    with pytest.raises(ValueError, match="2 ids, 1 masks"):
        TrackedFrame([1, 2], [rle(A)])

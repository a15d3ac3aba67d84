import numpy as np
import pytest
from comparisons import ALL, comparison

from sipmask_core.evaluation.average_precision import (
    METRICS,
    THRESHOLDS,
    curves,
    match,
    summarise,
)


def taken(pair, threshold=0, area_range=ALL):
    return match(pair, [area_range])[0, threshold].tolist()


def test_a_result_takes_what_it_overlaps_most_and_the_next_one_what_is_left():
    pair = comparison([[0.6, 0.8], [0.7, 0.9], [0.6, 0.9]])
    assert taken(pair) == [1, 0, -1]
    assert taken(pair, threshold=6) == [1, -1, -1]  # .80


def test_of_equal_overlaps_the_last_object_is_taken():
    assert taken(comparison([[0.7, 0.7, 0.6]])) == [1]


def test_an_overlap_just_at_the_threshold_counts():
    pair = comparison([[THRESHOLDS[3]]])
    assert [taken(pair, t) for t in (3, 4)] == [[0], [-1]]


def test_an_object_that_counts_goes_before_one_that_is_ignored():
    pair = comparison([[0.6, 0.9]], truth_areas=[50, 500])
    assert taken(pair) == [1]
    assert taken(pair, area_range=(0, 100)) == [0]


def test_a_crowd_is_taken_many_times():
    assert taken(comparison([[0.9]] * 3, crowd=[True])) == [0, 0, 0]


def test_the_ends_of_an_area_range_belong_to_it():
    pair = comparison([[1.0]], areas=[100], truth_areas=[100])
    for area_range, expected in (((100, 200), 1), ((0, 100), 1), ((101, 200), -1)):
        assert curves([pair], [area_range]).recall[0, 0, -1] == expected


def test_only_the_first_results_of_each_comparison_count_below_the_limit():
    pair = comparison([[0.0]] * 5 + [[0.9]])
    assert curves([pair], [ALL]).recall[0, 0].tolist() == [0, 1, 1]


def test_precision_is_the_best_at_this_recall_or_a_higher_one():
    hits = comparison([[0, 0], [0.9, 0], [0, 0.9]])  # an alarm, then two hits
    precision = curves([hits], [ALL]).precision[0, :, 0]
    assert precision == pytest.approx(2 / 3)


def test_what_has_no_ground_truth_is_left_out_of_the_means():
    found = comparison([[0.9]])
    nothing = comparison(np.zeros((2, 0)))
    ranges = [ALL] * 4
    scores = summarise({"a": curves([found], ranges), "b": curves([nothing], ranges)})
    assert set(scores.by_class["b"].values()) == {-1}
    assert scores.overall == scores.by_class["a"]
    assert list(scores.overall) == list(METRICS)


def test_nothing_at_all_gives_no_figures():
    assert set(summarise({"a": curves([], [ALL] * 4)}).overall.values()) == {-1}

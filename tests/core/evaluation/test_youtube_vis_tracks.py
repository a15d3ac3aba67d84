import dataclasses

import pytest
from moving_squares import SIZE, SquareSpotter, write_videos

from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.evaluation.run_videos import detect_tracks
from sipmask_core.evaluation.youtube_vis_tracks import count_by_class, format_tracking, together


@pytest.fixture
def scene(tmp_path):
    """Return annotations (squares in 4 + 4 + 1 frames, bars in 3 + 3 + 1), and perfect results."""
    path, images = write_videos(tmp_path)
    annotations = read_videos(path)
    videos = detect_tracks(SquareSpotter(), annotations, images, "online")
    return annotations, [result for video in videos for result in video.results]


def test_perfect_results_have_every_object_of_every_class(scene):
    counts = count_by_class(*scene)
    assert list(counts) == ["bar", "square"]
    assert [c.true_objects for c in counts.values()] == [7, 9]
    assert [c.id_hits for c in counts.values()] == [7, 9]
    assert together(counts.values()).metrics()["HOTA"] == pytest.approx(1)


def test_a_result_of_another_class_is_a_false_alarm_there_and_a_miss_here(scene):
    annotations, results = scene
    wrong = [{**r, "category_id": 5} if r["video_id"] == 1 else r for r in results]
    counts = count_by_class(annotations, wrong)
    assert (counts["bar"].true_objects, counts["bar"].results, counts["bar"].id_hits) == (7, 4, 4)
    assert (counts["square"].results, counts["square"].id_hits) == (12, 9)
    assert counts["square"].metrics()["IDP"] == 9 / 12


def test_a_track_that_breaks_is_an_id_switch(scene):
    annotations, results = scene
    whole = next(r for r in results if r["video_id"] == 1 and r["category_id"] == 5)
    masks = whole["segmentations"]
    halves = [
        {**whole, "segmentations": [*masks[:2], None, None]},
        {**whole, "segmentations": [None, None, *masks[2:]]},
    ]
    counts = count_by_class(annotations, [*(r for r in results if r is not whole), *halves])
    assert (counts["square"].id_switches, counts["bar"].id_switches) == (1, 0)


def test_masks_without_a_pixel_are_neither_found_nor_missed(scene):
    annotations, results = scene
    empty = {"size": [SIZE, SIZE], "counts": "PX6"}  # one run of 6400 pixels
    alarm = {"video_id": 1, "category_id": 2, "score": 1.0, "segmentations": [empty] * 4}
    assert together(count_by_class(annotations, [*results, alarm]).values()).results == 16


def test_crowds_are_left_out(scene):
    annotations, results = scene
    first = annotations.videos[0]
    crowded = tuple(dataclasses.replace(track, is_crowd=True) for track in first.tracks)
    videos = (dataclasses.replace(first, tracks=crowded), *annotations.videos[1:])
    counts = count_by_class(dataclasses.replace(annotations, videos=videos), results)
    assert [c.true_objects for c in counts.values()] == [4, 5]


def test_the_table_has_a_row_for_all_and_one_for_each_class_with_objects(scene):
    annotations, results = scene
    of_squares = [
        dataclasses.replace(video, tracks=tuple(t for t in video.tracks if t.label == 1))
        for video in annotations.videos
    ]
    annotations = dataclasses.replace(annotations, videos=tuple(of_squares))
    lines = format_tracking(count_by_class(annotations, results)).splitlines()
    assert [line.split()[0] for line in lines] == ["HOTA", "all", "square"]
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[1:] == ["1.000"] * 8 + ["0"]

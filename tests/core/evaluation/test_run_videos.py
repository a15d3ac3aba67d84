import cv2
import pytest
from moving_squares import SquareSpotter, write_videos

import sipmask_core as sm
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.data.youtube_vis_results import youtube_vis_results
from sipmask_core.errors import InputError
from sipmask_core.evaluation.run_videos import detect_tracks


@pytest.fixture
def videos(tmp_path):
    annotations, images = write_videos(tmp_path)
    return read_videos(annotations), images


def detected(videos, **options):
    return list(detect_tracks(SquareSpotter(), *videos, "online", **options))


def test_tracks_are_those_of_predictor_track_in_each_video(videos):
    annotations, images = videos
    for video, found in zip(annotations.videos, detected(videos), strict=True):
        frames = [cv2.imread(str(images / name)) for name in video.file_names]
        tracked = sm.Predictor.track(SquareSpotter(), frames)
        assert found.video_id == video.id
        assert found.results == youtube_vis_results(tracked, video.id, (None, 2, 5)) != []


def test_every_stage_of_every_frame_is_timed_and_every_frame_told_of(videos):
    calls = []
    seconds = [v.seconds for v in detected(videos, after_frame=lambda: calls.append(1))]
    assert [len(of_video) for of_video in seconds] == [4, 4, 4]
    assert all(set(frame) >= {"decode", "track"} for of_video in seconds for frame in of_video)
    assert len(calls) == 12


def test_the_number_of_workers_changes_nothing(videos):
    one, many = (detected(videos, workers=workers) for workers in (1, 5))
    assert [v.results for v in one] == [v.results for v in many]


def test_the_frame_rate_says_how_much_time_has_passed(videos):
    assert len(detected(videos, fps=30)[0].results) == 2
    # Two seconds from frame to frame: what was lost so long ago is not looked for any more.
    assert len(detected(videos, fps=0.5)[0].results) == 4 + 3


def test_a_video_before_a_damaged_frame_is_finished_first(videos):
    (videos[1] / "video1" / "00001.png").write_bytes(b"nonsense")
    tracks = detect_tracks(SquareSpotter(), *videos, "online")
    assert next(tracks).video_id == 1
    with pytest.raises(InputError, match=r"video1/00001\.png cannot be decoded"):
        next(tracks)

import cv2
import pytest
from moving_squares import SquareSpotter, write_videos

import sipmask_core as sm
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.evaluation.video_detector import VideoDetector
from sipmask_core.results import youtube_vis_results


@pytest.fixture
def videos(tmp_path):
    annotations, images = write_videos(tmp_path)
    return read_videos(annotations), images


def found(videos, number, **options):
    annotations, images = videos
    detector = VideoDetector(SquareSpotter(), annotations, images, "online", **options)
    return detector.results(annotations.videos[number], lambda: None)


def test_tracks_are_those_of_predictor_track(videos):
    annotations, images = videos
    for number, video in enumerate(annotations.videos):
        frames = [cv2.imread(str(images / name)) for name in video.file_names]
        tracked = sm.Predictor.track(SquareSpotter(), frames)
        expected = youtube_vis_results(tracked, video.id, (None, 2, 5))
        assert found(videos, number) == expected != []


def test_every_frame_is_timed_and_told_of(videos):
    annotations, images = videos
    detector = VideoDetector(SquareSpotter(), annotations, images, "online")
    calls = []
    for video in annotations.videos[:2]:
        detector.results(video, lambda: calls.append(1))
    assert len(calls) == len(detector.seconds) == 8


def test_the_frame_rate_says_how_much_time_has_passed(videos):
    assert len(found(videos, 0, fps=30)) == 2
    # Two seconds from frame to frame: what was lost so long ago is not looked for any more.
    assert len(found(videos, 0, fps=0.5)) == 4 + 3

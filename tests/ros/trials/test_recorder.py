import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from ros_harness import isolate_discovery
from sipmask_ros.msg import InstanceArray

from sipmask_core.errors import InputError
from sipmask_core.video import Frames, VideoWriter
from sipmask_ros.node.diagnostics import INACTIVE
from sipmask_ros.trials.recorder import OVERLAY_QUEUE, WATCHED, Film, Recorder


def film_frames(path, stamps, **options):
    """Film grey pictures of rising brightness; return the film and the video's brightness."""
    with VideoWriter(path, 10) as writer:
        film = Film(writer, **options)
        for number, stamp in enumerate(stamps):
            film.add(stamp, np.full((48, 64, 3), 40 * number, np.uint8))
        film.finish()
    return film, [round(float(frame.image.mean()) / 40) for frame in Frames(path)]


def test_the_film_keeps_the_pace_of_the_stamps(tmp_path):
    stamps = [100.0, 100.1, 100.4, 100.5]
    _, brightness = film_frames(tmp_path / "a.mp4", stamps, seconds=1.0, moments=2)
    assert brightness == [0, 1, 1, 1, 2, 3]


def test_a_long_silence_does_not_fill_the_film(tmp_path):
    _, brightness = film_frames(tmp_path / "a.mp4", [0.0, 1000.0, 1000.1], seconds=1.0, moments=2)
    assert len(brightness) == 1 + 20 + 1 + 1


def test_stills_are_spread_over_the_expected_length(tmp_path):
    stamps = [0.1 * i for i in range(6)]
    film, _ = film_frames(tmp_path / "a.mp4", stamps, seconds=0.6, moments=2)
    assert [round(float(still.mean()) / 40) for still in film.stills] == [2, 5]


def test_a_video_that_cannot_be_written_is_one_error_at_the_end(tmp_path):
    folder = tmp_path / "film"
    vanished = pytest.raises(InputError, match="removed meanwhile")  # for who has not seen it yet
    with vanished, VideoWriter(folder / "a.mp4", 10) as writer:
        folder.rmdir()
        film = Film(writer, seconds=1.0, moments=2)
        for number in range(3 * OVERLAY_QUEUE):
            film.add(0.1 * number, np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(InputError, match=r"Cannot write .*a\.mp4"):
            film.finish()
        film.finish()


def test_who_watches_a_node_does_not_wait_for_torch():
    program = "import sys, sipmask_ros.trials.demo; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def recorder():
    isolate_discovery()
    rclpy.init()
    recorder = Recorder()
    yield recorder
    recorder.destroy_node()
    rclpy.shutdown()


def test_the_recording_is_whole_once_the_final_counts_and_all_results_came(recorder):
    def tell(message, segmented):
        count = KeyValue(key="segmented", value=str(segmented))
        status = DiagnosticStatus(name=f"{WATCHED}: segmentation", message=message, values=[count])
        recorder.on_diagnostics(DiagnosticArray(status=[status]))

    tell("segmenting", 0)
    assert not recorder.has_everything()  # more may come
    tell(INACTIVE, 2)
    recorder.on_instances(InstanceArray())
    assert not recorder.has_everything()
    recorder.on_instances(InstanceArray())
    assert recorder.has_everything()

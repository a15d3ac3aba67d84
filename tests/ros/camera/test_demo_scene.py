import cv2
import numpy as np
import pytest

pytest.importorskip("skimage", reason="the demo scene's photographs are not installed")

from sipmask_core.errors import InputError
from sipmask_ros.camera import demo_scene
from sipmask_ros.camera.demo_scene import ACT_SECONDS, DemoScene


@pytest.fixture(scope="module")
def scene():
    return DemoScene(320, 180, rate=10)


def test_the_same_number_gives_the_same_frame_in_any_order(scene):
    later, earlier = scene.render(33), scene.render(5)
    again = DemoScene(320, 180, rate=10)
    assert np.array_equal(again.render(5), earlier)
    assert np.array_equal(again.render(33), later)


def test_frames_have_the_asked_size_and_type():
    for width, height in ((640, 360), (200, 300)):
        frame = DemoScene(width, height).render(7)
        assert frame.shape == (height, width, 3) and frame.dtype == np.uint8


def test_every_act_moves_and_differs_from_the_others(scene):
    acts = range(len(demo_scene.ACTS))
    starts = [int(act * ACT_SECONDS * scene.rate) + 5 for act in acts]
    frames = [scene.render(start).astype(int) for start in starts]
    for act, start in zip(acts, starts, strict=True):
        assert np.abs(scene.render(start + 20) - frames[act]).mean() > 5
        assert np.abs(frames[act] - frames[act - 1]).mean() > 20


def test_the_scene_repeats_after_the_last_act(scene):
    period = round(len(demo_scene.ACTS) * ACT_SECONDS * scene.rate)
    assert np.abs(scene.render(3).astype(int) - scene.render(3 + period)).mean() < 5


def test_time_passes_by_the_rate_not_by_the_number():
    slow, fast = DemoScene(160, 90, rate=5), DemoScene(160, 90, rate=10)
    assert np.array_equal(slow.render(6), fast.render(12))


def test_walkers_are_whole_people_above_the_lower_edge():
    for act in demo_scene.ACTS:
        for walker in act.walkers:
            sprite = demo_scene.make_sprite(walker, 720)
            assert sprite.opacity.shape == sprite.image.shape[:2]
            parts, _ = cv2.connectedComponents((sprite.opacity > 0.5).astype(np.uint8))
            assert parts == 2, "background and one person"
            assert (sprite.opacity[-1] > 0.5).any() and not (sprite.opacity[0] > 0.5).any()


def test_a_mirrored_walker_is_the_mirror_image():
    walker = demo_scene.ACTS[0].walkers[1]
    plain = demo_scene.make_sprite(walker._replace(mirrored=False), 200)
    mirrored = demo_scene.make_sprite(walker._replace(mirrored=True), 200)
    assert np.array_equal(plain.image[:, ::-1], mirrored.image)
    assert np.array_equal(plain.opacity[:, ::-1], mirrored.opacity)


def test_pasting_beyond_the_frame_changes_nothing(scene):
    frame = np.zeros((180, 320, 3), np.uint8)
    sprite = demo_scene.make_sprite(demo_scene.ACTS[0].walkers[0], 180)
    scene.paste(frame, sprite, -3.0, 0.0)
    scene.paste(frame, sprite, 4.0, 0.0)
    assert not frame.any()


@pytest.mark.parametrize("arguments", [(0, 720, 30), (1280, 3, 30), (1280, 720, 0)])
def test_an_impossible_size_or_rate_is_refused(arguments):
    with pytest.raises(InputError, match="at least 16x16"):
        DemoScene(*arguments)

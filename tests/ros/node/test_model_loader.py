"""Loading models in the background."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import torch
from ros_harness import PATIENCE
from scripted_node import ScriptedPredictor

from sipmask_core.errors import InputError
from sipmask_ros.node.model_loader import ModelLoader, load_predictor
from sipmask_ros.node.parameters import Parameters


def test_who_gets_the_model_can_ask_for_the_next_and_nobody_can_before():
    may_end = threading.Event()

    def load(wanted):
        may_end.wait()
        return ScriptedPredictor("scripted", wanted.score_threshold)

    loader = ModelLoader(SimpleNamespace(executor=None), load)
    future = loader.load_in_background(Parameters())
    with pytest.raises(InputError, match="Another model is being loaded"):
        loader.load_in_background(Parameters())
    second, ended = [], threading.Event()

    def ask_again(_):
        try:
            second.append(loader.load_in_background(Parameters()))
            second[0].add_done_callback(lambda _: ended.set())
        except InputError:
            ended.set()

    future.add_done_callback(ask_again)
    may_end.set()
    assert ended.wait(PATIENCE)
    assert second[0].result().model_name == "scripted"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", [(480, 640)]),
        # The second call of a size records a graph.
        ("cuda:0", [(720, 1280)] * 3 + [(64, 48)] * 3),
    ],
)
def test_a_model_is_warm_for_the_images_in_use(device, expected):
    seen = []

    class Predictor(ScriptedPredictor):
        def __call__(self, image):
            seen.append(image.shape[:2])

    Predictor.device = torch.device(device)
    loader = ModelLoader(SimpleNamespace(executor=None), lambda _: Predictor())
    loader.load(Parameters(), [(720, 1280), (64, 48)])
    assert seen == expected


def test_a_model_of_other_threads_computes_with_as_many_and_0_is_torchs_own_choice_again():
    own = torch.get_num_threads()
    image = torch.zeros(48, 64, 3, dtype=torch.uint8).numpy()
    for wanted, count in ((own + 1, own + 1), (0, own)):
        with ThreadPoolExecutor(1) as loader:
            predictor = loader.submit(load_predictor, Parameters(num_threads=wanted)).result()
        predictor(image)
        assert torch.get_num_threads() == count


def test_a_model_gets_the_tiles_that_are_wanted():
    loader = ModelLoader(SimpleNamespace(executor=None), lambda _: ScriptedPredictor())
    assert loader.load(Parameters(tiles="3x2")).model_name == "scripted in 3x2 tiles"
    assert loader.load(Parameters()).model_name == "scripted"

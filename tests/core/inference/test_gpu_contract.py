"""Graphs, streams, threads, pinned memory: on a stand-in that keeps CUDA's contract and on GPUs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from cuda_stand_in import RealGpus, StandIn, stand_in

import sipmask_core as sm
from sipmask_core.benchmark import peak
from sipmask_core.benchmark.memory import peak_memory
from sipmask_core.inference.cuda_graphs import CapturedGraph, GraphedNetwork
from sipmask_core.model.outputs import HeadOutputs
from sipmask_core.model.presets import Letterbox
from sipmask_core.runtime.cuda import empty_cache
from sipmask_core.runtime.devices import choose_device, download
from sipmask_core.runtime.stopwatch import Stopwatch, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sipmask_core.model.outputs import Locate

pytestmark = pytest.mark.slow

Gpus = StandIn | RealGpus


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.cuda)])
def gpus(request: pytest.FixtureRequest) -> Iterator[Gpus]:
    """Return two GPUs of a machine, or those that this machine has."""
    if request.param == "cuda":
        yield RealGpus()
        return
    with stand_in(2) as machine:
        yield machine


def _network(pixels: Tensor, size: Tensor, locate: Locate) -> HeadOutputs:
    """Sum the image within and a grid: outputs that show what each call was about."""
    inside = torch.arange(pixels.shape[1], device=pixels.device) < size[0]
    total = (pixels.float().sum(dim=(0, 2, 3)) * inside).sum()
    grid = locate(2, 2, 8, pixels.device).sum()
    return HeadOutputs([], [], [], [], basis=torch.stack((total, grid)))


def _is_right(network: GraphedNetwork, value: int, height: int = 4) -> bool:
    """Run an image of this value in the upper rows of (4, 4); return whether that went right."""
    pixels = torch.full((1, 4, 4, 3), value, dtype=torch.uint8)
    found = network(pixels, (height, 4)).basis.tolist()
    return found == [value * height * 4 * 3, 64]


def test_graphs_of_several_gpus_replay_what_was_recorded_on_theirs(gpus: Gpus) -> None:
    if len(gpus.devices) < 2:
        pytest.skip("one GPU")
    networks = [GraphedNetwork(_network, device) for device in gpus.devices]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(_is_right(network, value) for value in range(5) for network in networks)


def test_one_graph_serves_all_images_that_fill_their_padding_differently(gpus: Gpus) -> None:
    network = GraphedNetwork(_network, gpus.devices[0])
    assert all(_is_right(network, 3, height) for height in (4, 2, 1, 3, 4))
    assert len(network.graphs) == 1


def test_a_recording_that_fails_leaves_the_thread_on_its_stream_and_memory_can_be_freed(
    gpus: Gpus,
) -> None:
    runs = []

    def network(pixels: Tensor, size: Tensor, locate: Locate) -> HeadOutputs:
        runs.append(None)
        outputs = _network(pixels, size, locate)
        if len(runs) == 5:  # one without a graph, three to warm up
            outputs.basis.sum().item()  # waits for the GPU, which a recording does not allow
        return outputs

    before = torch.cuda.current_stream()
    graphed = GraphedNetwork(network, gpus.devices[0])
    assert _is_right(graphed, 1)
    with pytest.warns(UserWarning, match="CUDA graphs are off"):
        assert _is_right(graphed, 2)
    assert torch.cuda.current_stream() == before
    graphed.clear()
    empty_cache()
    assert _is_right(graphed, 3)


def test_threads_record_one_after_the_other_and_may_time_stages_meanwhile(gpus: Gpus) -> None:
    right = []

    def work() -> None:
        network = GraphedNetwork(_network, gpus.devices[0])
        for value in range(6):
            with Stopwatch().listening(gpus.devices[0]), stage("all"):
                right.append(_is_right(network, value))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpus.run(*[work] * 4)
    assert right == [True] * 24


def test_a_predictor_may_be_used_by_several_threads_on_streams_of_their_own(gpus: Gpus) -> None:
    network = GraphedNetwork(_network, gpus.devices[0])
    wrong = []

    def work(first: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream(gpus.devices[0])):
            for value in range(first, first + 10):
                if not _is_right(network, value, 1 + value % 4):
                    wrong.append(value)

    gpus.run(*(lambda first=first: work(first) for first in (0, 50, 100)))
    assert wrong == []


def test_graphs_that_share_memory_wait_for_each_other_on_any_streams(gpus: Gpus) -> None:
    network = GraphedNetwork(_network, gpus.devices[0])
    other = GraphedNetwork(_network, gpus.devices[0])
    tall = torch.ones(1, 8, 4, 3, dtype=torch.uint8)
    streams = [torch.cuda.Stream(gpus.devices[0]) for _ in range(2)]
    for value in range(6):
        with torch.cuda.stream(streams[value % 2]):
            assert _is_right(network, value)
            assert network(tall, (8, 4)).basis.tolist() == [96, 64]
            assert _is_right(other, value)
    first, second = network.graphs
    assert isinstance(first, CapturedGraph) and isinstance(second, CapturedGraph)
    assert first.pool == second.pool


def test_all_graphs_of_a_gpu_need_one_stream() -> None:
    """Check that libraries, which keep a workspace for each stream, keep one."""
    with stand_in() as machine:
        before = machine.streams_made
        for _ in range(3):
            network = GraphedNetwork(_network, machine.devices[0])
            for width in (4, 4, 8, 8):
                network(torch.ones(1, 4, width, 3, dtype=torch.uint8), (4, width))
        assert machine.streams_made - before == 1


def test_the_memory_of_a_graph_counts(gpus: Gpus) -> None:
    network = GraphedNetwork(_network, gpus.devices[0])
    taken = peak_memory(lambda: _is_right(network, 1), gpus.devices[0])
    assert taken is not None and taken >= 2**20


def test_a_gpu_without_a_number_is_the_current_one_for_good(gpus: Gpus) -> None:
    last = gpus.devices[-1]
    torch.cuda.set_device(last)
    chosen = [choose_device(name) for name in ("cuda", "auto")]
    torch.cuda.set_device(gpus.devices[0])
    assert chosen == [last, last]


def test_float32_is_computed_in_full_and_only_there(gpus: Gpus) -> None:
    allowed = []

    def network(pixels: Tensor, size: Tensor, locate: Locate) -> HeadOutputs:
        allowed.append(torch.backends.cudnn.allow_tf32)
        return _network(pixels, size, locate)

    before = torch.backends.cudnn.allow_tf32
    graphed = GraphedNetwork(network, gpus.devices[0])
    assert all(_is_right(graphed, value) for value in range(3))
    assert allowed == [False] * 5
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_download_is_there_when_it_is_returned(gpus: Gpus) -> None:
    device = gpus.devices[0]
    tensors = [torch.arange(6.0, device=device).view(2, 3), torch.zeros(0, 4, device=device)]
    for given in (tensors, tensors[:1]):
        for x, array in zip(given, download(*given), strict=True):
            assert array.shape == x.shape
            assert array.tolist() == x.tolist()


def test_peaks_are_timed_between_events(gpus: Gpus) -> None:
    calls: list[None] = []
    seconds = peak.fastest(lambda: calls.append(None), gpus.devices[0])
    assert len(calls) == peak.REPEATS * peak.REPEATS_ON_GPU
    assert 0 <= seconds < 1


@pytest.fixture(scope="module")
def seeing() -> sm.SipMask:
    """Return a small model with random weights that reports objects everywhere."""
    torch.manual_seed(0)
    lite = sm.get_preset("sipmask_r18_lite")
    changes = {"channels": 32, "group_norm": False, "resize": Letterbox(96, 128)}
    preset = replace(lite, **changes, score_threshold=0.0)
    model = sm.build_model(preset, num_classes=3)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    return model


def test_a_predictor_with_graphs_finds_what_it_finds_without(
    gpus: Gpus, seeing: sm.SipMask
) -> None:
    """Take images of other contents and sizes, which a graph that was recorded wrongly mixes up."""
    rng = np.random.default_rng(0)
    sizes = [(90, 120), (90, 120), (120, 90), (100, 100)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    graphed, eager = (sm.Predictor(seeing, device="cuda", precision="fp32") for _ in range(2))
    for image in images:
        eager.release_memory()  # so that each size is new
        found, expected = graphed(image), eager(image)
        assert len(found) > 50
        assert np.array_equal(found.boxes, expected.boxes)
        assert np.array_equal(found.masks, expected.masks)
    assert len(graphed.graphs) == 1


def test_few_results_of_a_graph_are_copied_and_no_grid_is_made_in_it(seeing: sm.SipMask) -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    with stand_in() as machine:
        predictor = sm.Predictor(seeing, device="cuda", precision="fp32")
        for _ in range(2):
            predictor(image)
        before = machine.clones
        prepared = predictor.prepare(image)
        predictor.forward(prepared)
        assert machine.clones - before <= 6
        (graph,) = machine.graphs
        made = [str(function) for function, *_ in graph.operations]
        # Two for where the image within ends.
        assert sum("arange" in name for name in made) == 2

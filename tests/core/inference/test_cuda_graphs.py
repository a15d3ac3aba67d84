"""Which input sizes get a graph, on a stand-in; and that a graph equals the eager network."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from inside import shapes_remembered, up_to_candidates
from synthetic_outputs import synthetic_outputs

import sipmask_core as sm
from sipmask_core.inference.cuda_graphs import (
    MAX_GRAPHS,
    MAX_SHAPES_REMEMBERED,
    MOST_SHORTAGES,
    PATIENCE,
    GraphedNetwork,
    copied,
)
from sipmask_core.model.outputs import Candidates, HeadOutputs
from sipmask_core.runtime.cuda import full_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

CPU = torch.device("cpu")


def _outputs(tag: str, pixels: Tensor) -> HeadOutputs:
    """Return outputs that say what made them."""
    return HeadOutputs([], [], [], [], basis=torch.tensor([float(tag == "graph"), pixels.sum()]))


class _Recorder:
    """Stands in for graphs: says which sizes were recorded and what ran."""

    def __init__(self, error: Exception | None = None) -> None:
        self.recorded: list[tuple[int, int]] = []
        self.error = error
        self.network = GraphedNetwork(lambda p, *_: _outputs("eager", p), CPU, self.record)

    def record(
        self, network: object, pixels: Tensor, size: tuple[int, int], *_: object
    ) -> Callable[..., HeadOutputs]:
        self.recorded.append(size)
        if self.error is not None:
            raise self.error
        return lambda p, _: _outputs("graph", p)

    def run(self, size: tuple[int, int], value: int = 1) -> tuple[str, int]:
        pixels = torch.full((1, *size, 3), value, dtype=torch.uint8)
        graphed, total = self.network(pixels, size).basis.tolist()
        return "graph" if graphed else "eager", int(total)


def test_a_size_is_recorded_when_it_comes_again() -> None:
    recorder = _Recorder()
    runs = [recorder.run((2, 4), value) for value in (1, 2, 3)]
    assert runs == [("eager", 24), ("graph", 48), ("graph", 72)]
    assert recorder.recorded == [(2, 4)]


def test_ever_new_sizes_record_nothing_and_are_forgotten() -> None:
    recorder = _Recorder()
    for width in range(1, 3 * MAX_SHAPES_REMEMBERED):
        assert recorder.run((1, width))[0] == "eager"
    assert recorder.recorded == []
    assert len(shapes_remembered(recorder.network)) == MAX_SHAPES_REMEMBERED


@pytest.mark.parametrize("extra", [1, 4, MAX_GRAPHS])
def test_more_sizes_in_turn_than_graphs_are_kept_record_no_more_than_those(extra: int) -> None:
    recorder = _Recorder()
    for _ in range(2 * PATIENCE):
        for width in range(1, MAX_GRAPHS + extra + 1):
            recorder.run((1, width))
    assert recorder.recorded == [(1, width) for width in range(1, MAX_GRAPHS + 1)]


def test_a_size_that_stays_takes_the_place_of_the_one_used_longest_ago() -> None:
    recorder = _Recorder()
    sizes = [(1, width) for width in range(1, MAX_GRAPHS + 1)]
    for size in sizes * 2:
        recorder.run(size)
    recorder.run(sizes[0])  # used now, so that the second is the oldest
    new = (2, 2)
    kinds = [recorder.run(new)[0] for _ in range(PATIENCE + 1)]
    assert kinds == ["eager"] * (PATIENCE - 1) + ["graph"] * 2
    assert len(recorder.network.graphs) == MAX_GRAPHS
    assert recorder.run(sizes[0])[0] == "graph"
    assert recorder.run(sizes[1])[0] == "eager"
    assert recorder.recorded == [*sizes, new]


def test_the_image_within_the_padding_needs_no_graph_of_its_own() -> None:
    recorder = _Recorder()
    pixels = torch.ones(1, 4, 4, 3, dtype=torch.uint8)
    for size in [(4, 3), (3, 4)] * 2:
        recorder.network(pixels, size)
    assert recorder.recorded == [(3, 4)]


def test_where_recording_fails_the_network_runs_without() -> None:
    recorder = _Recorder(RuntimeError("operation not permitted when stream is capturing"))
    assert recorder.run((2, 4))[0] == "eager"
    with pytest.warns(UserWarning, match="CUDA graphs are off.*not permitted"):
        assert recorder.run((2, 4)) == ("eager", 24)
    assert [recorder.run((2, 4))[0] for _ in range(3)] == ["eager"] * 3
    assert len(recorder.recorded) == 1


def test_where_memory_runs_out_in_a_recording_the_caller_may_free_some_and_try_again() -> None:
    recorder = _Recorder()
    for _ in range(2):
        recorder.run((2, 4))
    recorder.error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    recorder.run((4, 4))
    with pytest.raises(torch.OutOfMemoryError):
        recorder.run((4, 4))
    recorder.network.clear()  # what the caller does
    recorder.error = None
    assert [recorder.run((4, 4))[0] for _ in range(2)] == ["eager", "graph"]


def test_where_memory_runs_out_in_every_recording_there_are_no_more_of_them() -> None:
    recorder = _Recorder(torch.OutOfMemoryError("CUDA out of memory."))
    recorder.run((2, 4))
    for _ in range(MOST_SHORTAGES - 1):
        with pytest.raises(torch.OutOfMemoryError):
            recorder.run((2, 4))
    with pytest.warns(UserWarning, match="CUDA graphs are off.*out of memory"):
        assert recorder.run((2, 4)) == ("eager", 24)
    assert [recorder.run((2, 4))[0] for _ in range(3)] == ["eager"] * 3
    assert len(recorder.recorded) == MOST_SHORTAGES


def test_copies_are_equal_and_share_nothing() -> None:
    outputs = HeadOutputs([torch.ones(2)], [torch.ones(3)], [], [], torch.zeros(2), None)
    outputs = outputs._replace(candidates=[Candidates(*(torch.ones(n) for n in (4, 5, 6, 7)))])
    copy = copied(outputs)
    assert type(copy) is HeadOutputs and type(copy.candidates[0]) is Candidates
    assert torch.equal(copy.class_logits[0], torch.ones(2)) and copy.track_features is None
    outputs.class_logits[0].zero_()
    outputs.candidates[0].boxes.zero_()
    assert copy.class_logits[0].all() and copy.candidates[0].boxes.all()


@pytest.fixture(scope="module")
def on_gpu() -> sm.Predictor:
    return sm.Predictor.from_pretrained(device="cuda")


@pytest.mark.cuda
@pytest.mark.filterwarnings("error:CUDA graphs are off")
def test_a_graph_equals_the_eager_network(on_gpu: sm.Predictor) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(4)]
    prepared = [on_gpu.prepare(image) for image in images]
    outputs = [on_gpu.forward(p) for p in prepared]  # all but the first from one graph
    for p, output in zip(prepared, outputs, strict=True):
        pixels = torch.from_numpy(p.pixels)[None].cuda()
        with torch.inference_mode(), full_float32(on_gpu.device):
            eager = up_to_candidates(on_gpu)(pixels, p.size)
        assert torch.equal(output.basis, eager.basis)
        assert output.candidates is not None and eager.candidates is not None
        for x, y in zip(output.candidates[0], eager.candidates[0], strict=True):
            assert torch.equal(x.view(torch.uint8), y.view(torch.uint8))  # some are bits of numbers


@pytest.fixture
def sync_debug_mode() -> Iterator[Callable[[str], None]]:
    """Return what tells torch what to do when the host waits for the GPU: "warn" or "error"."""
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_the_host_does_not_wait_for_the_network(
    on_gpu: sm.Predictor, sync_debug_mode: Callable[[str], None]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 140, 3), dtype=np.uint8)
    prepared = on_gpu.prepare(image)
    pixels = torch.from_numpy(prepared.pixels)[None].cuda()
    for _ in range(3):
        on_gpu.forward(prepared)
    sync_debug_mode("error")
    outputs = on_gpu.forward(prepared)  # a graph
    with torch.inference_mode():
        up_to_candidates(on_gpu)(pixels, prepared.size)
    sync_debug_mode("default")
    assert outputs.basis.is_cuda


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["sipmask_r18_lite", "sipmask_r50_caffe_fpn_ssd_6x"])
def test_the_host_waits_twice_for_the_instances(
    name: str, sync_debug_mode: Callable[[str], None]
) -> None:
    """Check that it waits once for the candidates and once for all masks together."""
    preset = sm.get_preset(name)
    predictor = sm.Predictor(sm.build_model(preset, num_classes=3), device="cuda")
    outputs, prepared = synthetic_outputs(preset, (240, 320))
    outputs = HeadOutputs(
        *([x.cuda() for x in field] for field in outputs[:4]), basis=outputs.basis.cuda()
    )
    predictor.postprocess(outputs, prepared, (240, 320))
    sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        instances = predictor.postprocess(outputs, prepared, (240, 320))
    sync_debug_mode("default")
    assert len(instances) >= 10
    assert len([w for w in waits if "synchronizing" in str(w.message)]) == 2


@pytest.mark.cuda
def test_gpu_memory_stays_flat_over_changing_sizes(on_gpu: sm.Predictor) -> None:
    rng = np.random.default_rng(0)

    def show(frames: int) -> int:
        for _ in range(frames):
            on_gpu(np.zeros((*rng.integers(64, 400, 2), 3), np.uint8))
            on_gpu(np.zeros((48 * rng.integers(1, 2 * MAX_GRAPHS), 96, 3), np.uint8))
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # as each recording does
        return torch.cuda.memory_reserved()

    before = show(100)
    assert show(400) <= 1.1 * before

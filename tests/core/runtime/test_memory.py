"""Memory that runs out: another try with what could be freed, then one sentence, then the next."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from inside import give_graphs, graphs_by_shape

import sipmask_core as sm
from sipmask_core.runtime.memory import with_second_try

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class _Scarce:
    """A function that lacks memory in its first calls."""

    def __init__(self, function: Callable[..., Any], failures: int, error: Exception) -> None:
        self._function = function
        self._error = error
        self.failures = failures

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise self._error
        return self._function(*arguments, **options)


@pytest.fixture
def predictor() -> sm.Predictor:
    """Return a predictor as on a GPU: with graphs, which here are the network itself."""
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=32, score_threshold=0.0)
    model = sm.build_model(preset, num_classes=2)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    predictor = sm.Predictor(model, device="cpu", precision="fp32")
    give_graphs(predictor, _record)
    return predictor


def _record(network: Callable[..., Any], *_: object) -> Callable[..., Any]:
    return lambda pixels, size: network(pixels, torch.tensor(size))


def _make_scarce(
    predictor: sm.Predictor, where: str, failures: int, patch: pytest.MonkeyPatch
) -> _Scarce:
    """Let memory fail at this place this many times; graphs are in use already."""
    if where == "graph replay":
        graphs = graphs_by_shape(predictor)
        (key, graph), *_ = graphs.items()
        graphs[key] = scarce = _Scarce(graph, failures, OUT_OF_MEMORY)
        return scarce
    owner, name = {
        "upload": (torch.Tensor, "to"),
        "network": (predictor, "_model"),
        "masks": (predictor, "_with_masks"),
    }[where]
    scarce = _Scarce(getattr(owner, name), failures, OUT_OF_MEMORY)
    replacement = scarce if owner is predictor else lambda self, *a, **o: scarce(self, *a, **o)
    patch.setattr(owner, name, replacement)
    return scarce


@pytest.mark.parametrize("where", ["upload", "network", "graph replay", "masks"])
def test_the_second_try_has_the_memory_of_the_graphs(
    predictor: sm.Predictor, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [predictor(IMAGE) for _ in range(3)][-1]  # the third from a graph
    assert predictor.graphs
    scarce = _make_scarce(predictor, where, 1, monkeypatch)
    found = predictor(IMAGE)
    assert scarce.failures == 0
    assert not predictor.graphs
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.masks, expected.masks)


@pytest.mark.parametrize("where", ["upload", "network", "masks"])
def test_two_failures_are_one_sentence_and_the_next_image_works(
    predictor: sm.Predictor, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [predictor(IMAGE) for _ in range(3)][-1]
    _make_scarce(predictor, where, 2, monkeypatch)
    with pytest.raises(sm.PredictionError) as error:
        predictor(IMAGE)
    assert str(error.value).startswith(
        "There is too little memory for an image of 90x60 pixels on cpu with sipmask_r18_lite in "
        "fp32; choose a preset with a smaller network or input, fewer bits (precision)"
    )
    assert "\n" not in str(error.value)
    assert np.array_equal(predictor(IMAGE).boxes, expected.boxes)


def test_a_graph_for_which_memory_runs_out_has_a_second_try_without_the_others(
    predictor: sm.Predictor,
) -> None:
    pair = [IMAGE, IMAGE]
    scarce = _Scarce(_record, 0, OUT_OF_MEMORY)
    give_graphs(predictor, scarce)
    for _ in range(2):
        predictor(IMAGE)  # has a graph
    expected = predictor.predict_batch(pair)[0]
    scarce.failures = 1
    assert np.array_equal(predictor.predict_batch(pair)[0].boxes, expected.boxes)
    assert scarce.failures == 0 and not predictor.graphs
    for _ in range(2):
        predictor.predict_batch(pair)
    assert len(predictor.graphs) == 1


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**50), lambda: np.empty(2**57), lambda: bytearray(2**62)],
    ids=["torch", "numpy", "python"],
)
def test_a_real_allocation_that_fails_is_recognised(allocate: Callable[[], object]) -> None:
    freed: list[None] = []
    with pytest.raises(MemoryError):
        with_second_try(allocate, lambda: freed.append(None))
    assert len(freed) == 2


@pytest.mark.parametrize(
    "saying",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
        "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 123",
        "OpenCV(4.10.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes",
    ],
)
def test_what_the_libraries_say_is_recognised(saying: str) -> None:
    work = _Scarce(lambda: 7, 1, RuntimeError(saying))
    assert with_second_try(work, lambda: None) == 7


def test_what_only_may_come_of_too_little_memory_passes_the_second_time() -> None:
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    freed: list[None] = []
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        with_second_try(_Scarce(lambda: 7, 2, error), lambda: freed.append(None))
    assert len(freed) == 1


def test_another_error_is_not_tried_again() -> None:
    work = _Scarce(lambda: 7, 1, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        with_second_try(work, lambda: None)
    assert work() == 7  # had it been called again, it would have failed no more


def test_what_the_first_try_held_is_free_before_the_second() -> None:
    alive = []

    def work() -> int:
        big = np.zeros(3)
        alive.append(weakref.ref(big))
        if len(alive) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 7

    def free() -> None:
        assert alive[0]() is None

    assert with_second_try(work, free) == 7


def test_a_batch_has_a_second_try_and_a_sentence_too(
    predictor: sm.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor.predict_batch([IMAGE, IMAGE])
    _make_scarce(predictor, "network", 1, monkeypatch)
    found = predictor.predict_batch([IMAGE, IMAGE])
    assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(found, expected, strict=True))
    _make_scarce(predictor, "network", 2, monkeypatch)
    with pytest.raises(sm.PredictionError, match="too little memory for a batch of 2 images on"):
        predictor.predict_batch([IMAGE, IMAGE])

"""What `make gpu` does, as far as a machine without a GPU can tell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import sipmask_core as sm
from sipmask_core.benchmark.gpu_trial import __main__ as trial
from sipmask_core.benchmark.gpu_trial import look
from sipmask_core.benchmark.gpu_trial.profile import kind_of, table
from sipmask_core.benchmark.images import standard_images

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trial.main([str(tmp_path / "gpu")]) == 2
    assert capsys.readouterr().err == "device is 'cuda', but torch sees 0 CUDA devices.\n"
    assert not (tmp_path / "gpu").exists()
    assert trial.main([str(tmp_path / "gpu"), "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "device is 'cpu'; it must be cuda or cuda:N.\n"


@pytest.mark.parametrize(
    ("code", "limit", "result"),
    [
        ("print('said')", 60, "done"),
        ("print('said', flush=True); raise SystemExit(3)", 60, "failed, exit status 3"),
        ("import time; print('said', flush=True); time.sleep(60)", 2, "failed, not done after 2 s"),
    ],
)
def test_what_a_step_says_is_kept_however_it_ends(
    code: str, limit: int, result: str, tmp_path: Path
) -> None:
    step = trial.Step((sys.executable, "-c", code), limit)
    assert trial.run_step("name", step, tmp_path).startswith(result)
    if limit > 2:
        assert (tmp_path / "name.txt").read_text() == "said\n"


def test_a_step_without_its_program_is_left_out(tmp_path: Path) -> None:
    step = trial.Step(("no-such-program",), 60)
    assert trial.run_step("name", step, tmp_path) == "left out, there is no no-such-program"


@pytest.mark.slow
def test_a_look_compares_with_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "MAX_GRAPHS", -2)  # two sizes in turn
    image = standard_images((120, 160))[0].pixels
    expected = sm.Predictor.from_pretrained(
        device="cpu", precision="fp32", score_threshold=look.THRESHOLD
    )(image)
    assert len(expected) > 0
    numbers = look.look(torch.device("cpu"), "fp32", image, expected, runs=2)
    assert numbers["same_again"]
    assert numbers["host_waits"] is None
    assert numbers["image_to_instances_ms"]["p50"] > 0
    assert numbers["agreement"] == {
        "found": len(expected),
        "expected": len(expected),
        "box_iou_min": 1,
        "score_difference_max": 0,
        "mask_iou_min": 1,
        "mask_iou_mean": 1,
    }
    nothing = sm.Predictor.from_pretrained(device="cpu", score_threshold=1.0)(np.zeros_like(image))
    assert look.agreement(nothing, expected) == {"found": 0, "expected": len(expected)}


def test_a_trace_is_summed_up_by_kinds_of_kernels() -> None:
    def event(name: str, start: float, took: float, category: str = "kernel") -> dict:
        return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": took}

    text = table(
        [
            event("sm90_xmma_fprop_implicit", 0, 10),
            event("sm90_xmma_fprop_implicit", 12, 10),
            event("nchwToNhwcKernel", 22, 4),
            event("cudaGraphLaunch", 0, 8, "cuda_runtime"),
        ],
        images=2,
    )
    lines = text.splitlines()
    assert lines[0] == "per image 2 kernels and copies, 12 us; idle between them 1 us"
    assert lines[1].split() == ["convolution", "1.0", "x", "10.0", "us"]
    assert lines[2].split() == ["layout", "0.5", "x", "2.0", "us"]
    assert "cudaGraphLaunch" in lines[-1]
    assert kind_of("void at::native::unknown_thing") == "other"
    assert table([], 1) == "Nothing ran on a GPU."

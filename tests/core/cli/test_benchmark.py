"""The benchmark's record: complete, its stages add up, and what ships is what it times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from cuda_stand_in import stand_in
from inside import model_of

import sipmask_core as sm
from sipmask_core.benchmark import measure, models, peak
from sipmask_core.benchmark.contenders import MaskRCNN, Plain, Shipped, reporting, untrained
from sipmask_core.benchmark.images import images_at, sha256_of_pixels, standard_images
from sipmask_core.benchmark.measure import Run, summary
from sipmask_core.benchmark.memory import peak_memory
from sipmask_core.cli import main as cli
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.runtime.stopwatch import Stopwatch, stage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("benchmark")
    out, chart = folder / "bench.json", folder / "bench.png"
    command = ["benchmark", "--preset", "shipped,sipmask_r18_lite", "--size", "192x128"]
    options = ["--runs", "2", "--warmup", "1", "--batch", "1,2", "--no-rivals"]
    places = ["--device", "cpu", "--instances", "5", "--json", str(out), "--plot", str(chart)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "REPEATS", 1)
        assert cli.main([*command, *options, *places]) == 0
    chart_size = cv2.imread(str(chart)).shape
    assert min(chart_size[:2]) > 100
    return json.loads(out.read_text())


def test_ctrl_c_keeps_the_models_that_are_done(
    record: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def benchmark_model(name: str, *_: object) -> dict:
        if name == "shipped":
            return record["models"][0]
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "benchmark_model", benchmark_model)
    out = tmp_path / "bench.json"
    assert cli.main(["benchmark", "--device", "cpu", "--size", "96x64", "--json", str(out)]) == 130
    assert [m["name"] for m in json.loads(out.read_text())["models"]] == ["shipped"]
    out.unlink()
    command = ["benchmark", "--device", "cpu", "--preset", "sipmask_r18_lite", "--json", str(out)]
    assert cli.main(command) == 130
    assert not out.exists()


def test_the_record_says_what_was_timed_and_where(record: dict) -> None:
    assert [m["name"] for m in record["models"]] == ["shipped", "sipmask_r18_lite"]
    assert [m["weights"] for m in record["models"]] == ["shipped", "random"]
    assert record["runs"] == 2 and record["warmup"] == 1
    assert set(map(tuple, record["images"]["sizes"])) == {(128, 192)}
    assert len(record["images"]["sha256"]) == 64
    assert record["provenance"]["device"]["torch_device"] == "cpu"
    (file,) = record["provenance"]["inputs"]
    assert file.endswith(".safetensors")
    assert [model["input_size"] for model in record["models"]] == [[256, 384], [320, 320]]
    for model in record["models"]:
        assert model["gflops"] > 4 and model["parameters"] > 4e6
        assert [batch["batch"] for batch in model["batches"]] == [1, 2]


def test_the_stages_add_up_to_the_total(record: dict) -> None:
    for model in record["models"]:
        assert set(model["contenders"]) == {"sipmask", "plain form"}
        for contender in model["contenders"].values():
            stages = contender["stages"]
            assert {"decode", "preprocess", "backbone", "neck", "head", "nms", "masks", "rle"} <= (
                set(stages)
            )
            means = sum(stage["mean_ms"] for stage in stages.values())
            assert means == pytest.approx(contender["total"]["mean_ms"], rel=1e-9)
            assert contender["total"]["p50_ms"] <= contender["total"]["p99_ms"]
            assert contender["share_of_peak"] > 0


def test_speedups_are_ratios_of_medians_to_the_plain_form(record: dict) -> None:
    for model in record["models"]:
        ours, plain = (model["contenders"][name] for name in ("sipmask", "plain form"))
        for name, part in (("", "total"), ("_network", "network"), ("_postprocess", "postprocess")):
            ratio = plain[part]["p50_ms"] / ours[part]["p50_ms"]
            assert model[f"speedup{name}"] == pytest.approx(ratio)


def test_all_report_as_many_instances_as_asked_for(record: dict) -> None:
    for model in record["models"]:
        assert model["contenders"]["sipmask"]["instances"] == pytest.approx(5, abs=2)
        assert model["contenders"]["plain form"]["instances"] == pytest.approx(5, abs=2)


def test_a_summary_keeps_every_second() -> None:
    runs = [Run({"backbone": 0.1, "rle": 0.2}, 3), Run({"backbone": 0.3, "other": 0.4}, 5)]
    result = summary(runs)
    assert result["stages"]["backbone"]["mean_ms"] == pytest.approx(200)
    assert result["network"]["mean_ms"] == pytest.approx(200)
    assert result["postprocess"]["mean_ms"] == pytest.approx(100)
    assert result["total"]["mean_ms"] == pytest.approx(500)
    assert result["instances"] == 4


def test_on_a_gpu_an_image_is_also_timed_without_stages() -> None:
    """Check it on a stand-in: stages wait for the GPU, and so cannot overlap."""
    heard = []

    def contender(image: np.ndarray) -> int:
        heard.append(stage("rle") is not stage("rle"))
        return 3

    photo = standard_images((48, 64))[0]
    with stand_in() as machine:
        run = measure.run_once(contender, photo, machine.devices[0])
    assert heard == [True, False]
    assert run.whole is not None and run.whole > 0
    assert summary([run])["whole"]["p50_ms"] == pytest.approx(1e3 * run.whole)
    assert measure.run_once(contender, photo, CPU).whole is None
    assert len(heard) == 3


def test_a_model_can_be_made_to_report_so_many_instances() -> None:
    image = standard_images((96, 128))[0].pixels
    model = untrained("sipmask_r18_lite")
    predictor = sm.Predictor(model, device="cpu", precision="fp32")
    assert len(predictor(image)) == 0
    seeing = reporting(model, predictor, image, 7)
    assert len(sm.Predictor(seeing, device="cpu", precision="fp32")(image)) == 7
    assert model.preset == sm.get_preset("sipmask_r18_lite")


def test_the_plain_form_is_the_predictor_without_its_speed() -> None:
    """Check that both find as many instances, so that the ratio compares equal work."""
    image = standard_images((240, 320))[0].pixels
    model = sm.load_model(PRETRAINED)
    predictor = sm.Predictor(model, device="cpu", precision="fp32")
    found = len(predictor(image))
    assert found > 0
    assert Shipped(predictor)(image) == found
    assert Plain(model, CPU)(image) == found


def test_torchvisions_mask_rcnn_runs_at_the_given_input_size() -> None:
    rival = MaskRCNN((64, 96), CPU, "fp32")
    sizes = []
    model_of(rival).backbone.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-2:]))
    stopwatch = Stopwatch()
    with stopwatch.listening():
        rival(np.zeros((30, 50, 3), np.uint8))
    assert sizes == [(64, 96)]
    assert {"backbone", "neck", "head"} <= set(stopwatch.seconds)


def test_images_are_the_same_every_time_and_of_the_asked_size(tmp_path: Path) -> None:
    first, second = standard_images((48, 64)), standard_images((48, 64))
    assert {photo.pixels.shape for photo in first} == {(48, 64, 3)}
    assert sha256_of_pixels(first) == sha256_of_pixels(second)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((20, 10, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("")
    assert [p.name for p in images_at(tmp_path, None)] == ["a.jpg", "b.png"]
    assert {p.pixels.shape for p in images_at(tmp_path, (8, 8))} == {(8, 8, 3)}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--runs", "0"], "--runs is 0"),
        (["--instances", "-1"], "--instances is -1"),
        (["--preset", "shipped,resnext"], "'resnext'"),
        (["--images", "nowhere.jpg"], "Image nowhere.jpg does not exist"),
    ],
)
def test_what_cannot_be_timed_is_one_sentence(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_memory_at_its_peak_is_seen() -> None:
    taken = peak_memory(lambda: np.ones(1 << 25).sum(), CPU)  # 256 MiB
    assert taken is None or taken > 200 * 2**20

"""Whatever writes a file: on a full disk it says one sentence, and the old file stays as it was."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from coco_squares import tiny_model, tiny_preset, tiny_recipe, write_squares
from full_disk import SAYS, full_disk

import sipmask_core as sm
from sipmask_core.benchmark import report as benchmark_report
from sipmask_core.data.annotation_writer import AnnotationWriter, Recorded
from sipmask_core.data.coco import read_annotations
from sipmask_core.data.coco_results import ResultsFile, write_submission
from sipmask_core.data.youtube_vis_results import write_results
from sipmask_core.evaluation.average_precision import curves, summarise
from sipmask_core.evaluation.partial_results import PartialResults
from sipmask_core.evaluation.precision_recall import draw_precision_recall
from sipmask_core.runtime.files import write_image, write_json, write_zip
from sipmask_core.tracking.history import TrackHistory
from sipmask_core.training.dataset import CocoDataset
from sipmask_core.training.journal import Journal
from sipmask_core.training.learner import Learner
from sipmask_core.training.loop import Trainer
from sipmask_core.training.run_checkpoint import write_run
from sipmask_core.training.samples import AugmentedSamples
from sipmask_core.video import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
NAMES = ("person",)
FOUND = sm.Instances(
    boxes=np.float32([[10, 20, 40, 60]]),
    scores=np.float32([0.9]),
    labels=np.array([0]),
    mask_crops=[sm.MaskCrop(10, 20, np.ones((40, 30), bool))],
    image_size=(96, 128),
    track_ids=np.array([0]),
)
MASKS = [
    {"image_id": i, "category_id": 1, "score": 0.5, "segmentation": {"counts": "a" * 90}}
    for i in range(100)
]


def _results_file(path: Path) -> None:
    with ResultsFile(path, NAMES) as results:
        for number in range(100):
            results.add(f"{number}.jpg", FOUND)
        results.finish({})


def _results_file_at_its_end(path: Path) -> None:
    with ResultsFile(path, NAMES) as results:
        results.finish({})  # fits into the buffer, so that only closing writes


def _video(path: Path) -> None:
    with VideoWriter(path, 30) as video:
        for _ in range(20):
            video.write(IMAGE)


def _timeline(path: Path) -> None:
    history = TrackHistory(30)
    history.add(FOUND)
    history.draw_timeline(path, NAMES)


def _benchmark_chart(path: Path) -> None:
    contender = {
        "stages": {},
        "total": {"p50_ms": 1.0},
        "instances": 1.0,
        "precision": "fp32",
    }
    model = {"name": "m", "input_size": (96, 128), "contenders": {"ours": contender}}
    benchmark_report.draw({"models": [model]}, path)


def _state_of_a_run(path: Path) -> None:
    data = SimpleNamespace(sha256="", image_names_sha256="")
    write_run(path, tiny_recipe(), tiny_preset(), data, {"model": tiny_model().state_dict()})


def _precision_recall(path: Path) -> None:
    scores = summarise({"person": curves([], [(0, 1e10)] * 4)})
    draw_precision_recall(path, {"segm": scores})


WRITERS: dict[str, Callable[[Path], object]] = {
    "record.json": lambda path: write_json(path, list(range(10_000))),
    "image.png": lambda path: write_image(path, IMAGE),
    "archive.zip": lambda path: write_zip(path, "results.json", IMAGE.tobytes().hex()),
    "results.json": _results_file,
    "results_end.json": _results_file_at_its_end,
    "submission.json": lambda path: write_submission(path, MASKS),
    "youtube_vis.json": lambda path: write_results(path, MASKS),
    "youtube_vis.zip": lambda path: write_results(path, MASKS),
    "video.mp4": _video,
    "curves.png": _precision_recall,
    "timeline.png": _timeline,
    "chart.png": _benchmark_chart,
    "model.safetensors": lambda path: sm.save_checkpoint(tiny_model(), path),
    "last.pth": _state_of_a_run,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with full_disk(100), pytest.raises(sm.InputError, match=f"Cannot write .*{name}: ") as error:
        WRITERS[name](path)
    said = "the disk may be full" if path.suffix == ".mp4" else SAYS  # OpenCV does not say
    assert said in str(error.value) and "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_takes_no_files_is_one_sentence(name: str) -> None:
    folder = Path("/proc/self")  # not even root's
    if not folder.is_dir():
        pytest.skip("no /proc")
    with pytest.raises(sm.InputError, match=f"Cannot write /proc/self/{name}: "):
        WRITERS[name](folder / name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_in_the_files_place_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(sm.InputError, match=f"Cannot write .*{name}: it is a folder"):
        WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def _annotation_writer(folder: Path) -> None:
    with AnnotationWriter(folder, "coco", NAMES, "png") as writer:
        for number in range(3):
            writer.add(Recorded("cam", str(number), 0.0, lambda: IMAGE), IMAGE, FOUND)


def test_a_data_set_without_room_for_an_image_is_not_begun(tmp_path: Path) -> None:
    with full_disk(1000), pytest.raises(sm.InputError, match=rf"Cannot write .*0\.png: {SAYS}"):
        _annotation_writer(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_keeps_its_images_where_only_the_annotations_have_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(sm.InputError, match=r"annotations\.json: No space left on device"):
        _annotation_writer(tmp_path / "set")
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["images"]
    assert len(list((tmp_path / "set" / "images").iterdir())) == 3


def test_partial_results_keep_what_they_had(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    with PartialResults(target, {}) as partial:
        partial.add(1, "kept")
    with (
        pytest.raises(sm.InputError, match=rf"results\.json\.partial: {SAYS}"),
        full_disk(100),
        PartialResults(target, {}) as partial,
    ):
        partial.add(2, "x" * 1000)
    with PartialResults(target, {}) as partial:
        assert partial.done == {1: "kept"}
        partial.add(2, "now")
    with PartialResults(target, {}) as partial:
        assert partial.done == {1: "kept", 2: "now"}


def test_partial_results_without_room_for_their_first_line_leave_no_file(tmp_path: Path) -> None:
    with (
        full_disk(0),
        pytest.raises(sm.InputError, match=SAYS),
        PartialResults(tmp_path / "results.json", {}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_journal_names_the_log(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    line = {"step": 0, "losses": {}, "total": 1.0, "lr": 1.0, "grad_norm": None}
    with full_disk(0), pytest.raises(sm.InputError, match=rf"log\.jsonl: {SAYS}"):
        journal.write(line)


def test_training_keeps_the_last_good_checkpoint_and_goes_on_from_it(tmp_path: Path) -> None:
    annotations, images = write_squares(tmp_path / "data")
    dataset = CocoDataset(read_annotations(annotations), images, max_side=80)
    recipe = replace(tiny_recipe(), epochs=1)
    samples = AugmentedSamples(dataset, recipe, tiny_preset())

    def trainer() -> Trainer:
        torch.manual_seed(0)
        return Trainer(Learner(tiny_model(), recipe), samples, tmp_path / "run")

    first = trainer()
    first.save()
    last = first.checkpoint.read_bytes()
    stopped = trainer()
    stopped.resume()
    with full_disk(1000), pytest.raises(sm.InputError, match=f"Cannot write .*: {SAYS}"):
        stopped.run()
    assert first.checkpoint.read_bytes() == last
    assert not [file for file in (tmp_path / "run").iterdir() if ".part" in file.name]
    resumed = trainer()
    resumed.resume()
    resumed.run()
    assert resumed.step == resumed.total_steps

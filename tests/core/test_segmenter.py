"""The border that every model keeps; mypy reads this file, too."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from bright_spot import BrightSpotPredictor, spot_image
from coco_cases import FakePredictor
from moving_squares import SquareSpotter, write_videos
from scripted_node import ScriptedPredictor

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.inference.load import load_segmenter, model_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    # The border holds for our own predictor, which also runs ONNX files, and for the doubles.
    KEEP_IT: tuple[Callable[..., sm.Segmenter], ...] = (
        sm.Predictor,
        BrightSpotPredictor,
        FakePredictor,
        ScriptedPredictor,
        SquareSpotter,
    )

CODE = """
import sys
import sipmask_core as sm
from bright_spot import BrightSpotPredictor

asked = []

def make(device, precision, score_threshold):
    asked.append((device, precision, score_threshold))
    made = BrightSpotPredictor()
    made.model_name = "spot"
    made.score_threshold = score_threshold
    return made

class Models:
    make = staticmethod(make)

def refuse(device, precision, score_threshold):
    raise sm.InputError("There is no licence for this model.")

def fail(device, precision, score_threshold):
    raise KeyError("weights")

def leave(device, precision, score_threshold):
    sys.exit("bye")

def run_out(device, precision, score_threshold):
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")

def nothing(device, precision, score_threshold):
    return None

def halfway(device, precision, score_threshold):
    made = make(device, precision, score_threshold)
    made.class_names = "person"
    return made

def by_name(device, precision, score_threshold):
    made = make(device, precision, score_threshold)
    made.device = "cpu"
    return made

class Fixed(BrightSpotPredictor):
    score_threshold = property(lambda self: 0.5)
    def __init__(self, *_):
        pass

def of_two(device, precision):
    pass

number = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a module of the user's, `cameras.models`, and return its file."""
    folder = tmp_path / "code" / "cameras"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "models.py").write_text(CODE)
    (folder / "broken.py").write_text("import no_such_library\n")
    (folder / "typo.py").write_text("def make(:\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cameras"]:
        monkeypatch.delitem(sys.modules, name)
    return folder / "models.py"


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("factory", ["make", "Models.make"])
def test_a_factory_is_called_with_device_precision_and_threshold(factory: str) -> None:
    made = load_segmenter(f"cameras.models:{factory}", "cpu", "bf16", 0.4)
    assert made.model_name == "spot" and made.score_threshold == 0.4
    asked = sys.modules["cameras.models"].asked
    assert asked == [(torch.device("cpu"), "bf16", 0.4)]


@pytest.mark.usefixtures("code")
def test_what_a_factory_makes_is_used_as_it_is() -> None:
    made = load_segmenter("cameras.models:Models.make", "cpu")
    assert type(made) is BrightSpotPredictor


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("cameras.models:other", "The module cameras.models has no other"),
        ("cameras.models:number", "is a int; a function is expected"),
        ("cameras.nowhere:make", "There is no module cameras.nowhere .* PYTHONPATH"),
        ("no_cameras.models:make", "There is no module no_cameras .* PYTHONPATH"),
        ("cameras.broken:make", "cannot be imported: .*no_such_library.*broken.py, line 1"),
        ("cameras.typo:make", "cannot be imported: SyntaxError"),
        ("cameras.models:refuse", "^There is no licence for this model.$"),
        ("cameras.models:fail", r"failed: KeyError: 'weights' \(.*models\.py, line \d+\)"),
        ("cameras.models:leave", "failed: SystemExit: bye"),
        ("cameras.models:of_two", "failed: TypeError: .*3 were given"),
        ("cameras.models:nothing", "made a NoneType, which is no .*Segmenter: it has no __call__"),
        ("cameras.models:halfway", "its class_names is 'person', expected is a list or tuple"),
        ("cameras.models:by_name", "its device is 'cpu', expected is a torch.device"),
        ("cameras.models:Fixed", "its score_threshold cannot be set"),
        ("cameras.models:", "neither a file nor of the form package.module:factory"),
        ("cameras/models.py:make", "neither a file nor of the form package.module:factory"),
        ("https://example.org/x.pth", "neither a file nor of the form package.module:factory"),
        ("x" * 5000 + ":", "neither a file nor of the form package.module:factory"),
    ],
)
def test_a_factory_that_cannot_be_used_is_one_sentence(model: str, complaint: str) -> None:
    with pytest.raises(sm.InputError, match=complaint) as caught:
        load_segmenter(model, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "cpu", "precision": "fp8"}, "precision is 'fp8'"),
        ({"device": "cpu", "precision": "fp16"}, "which CPUs cannot use"),
        ({"device": "cpu", "score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"device": "cpu", "num_threads": 0}, "num_threads is 0"),
        ({"device": "cpu", "preset": "sipmask_r18_lite"}, "sipmask_r18_lite is of no use"),
    ],
)
def test_options_that_cannot_be_met_are_refused_before_the_factory_is_called(
    options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(sm.InputError, match=complaint):
        load_segmenter("cameras.models:make", **options)  # type: ignore[arg-type]
    module = sys.modules.get("cameras.models")
    assert module is None or not module.asked


@pytest.mark.usefixtures("code")
def test_memory_that_runs_out_in_a_factory_is_told_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["predict", "x.png", "--no-overlay", "--json", "x.json", "--device", "cpu"]
    assert main([*command, "--checkpoint", "cameras.models:run_out"]) == 1
    assert "memory ran out" in capsys.readouterr().err


def test_every_verb_that_runs_a_model_runs_a_factory_s(code: Path, tmp_path: Path) -> None:
    own = ["--checkpoint", "cameras.models:make", "--device", "cpu"]
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    cv2.imwrite(str(photo), spot_image())
    assert main(["predict", str(photo), "--output", str(out), *own]) == 0
    assert main(["track", str(photo), "--output", str(out), *own]) == 0
    made = ["--output", str(tmp_path / "set"), "--image-format", "png"]
    assert main(["dataset", "from-video", str(photo), *made, *own]) == 0
    truth = ["--annotations", str(tmp_path / "set" / "annotations.json")]
    images, report = tmp_path / "set" / "images", tmp_path / "report.json"
    coco = ["evaluate", "coco", *truth, "--images", str(images), "--json", str(report)]
    assert main([*coco, "--save-results", str(tmp_path / "results.json"), *own]) == 0
    found = json.loads(report.read_text())
    assert found["segm"]["AP"] == pytest.approx(1.0)
    assert (found["model"], found["score_threshold"]) == ("spot", 0.05)
    assert str(code) in found["provenance"]["inputs"]


def test_tracks_of_an_own_model_are_evaluated(code: Path, tmp_path: Path) -> None:
    annotations, images = write_videos(tmp_path)
    (code.parent / "squares.py").write_text(
        "from moving_squares import SquareSpotter\ndef make(*_):\n    return SquareSpotter()\n"
    )
    data = ["--annotations", str(annotations), "--images", str(images), "--device", "cpu"]
    own = ["--checkpoint", "cameras.squares:make"]
    assert main(["evaluate", "youtube-vis", *data, *own]) == 0


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    "command",
    [
        ["export", "--output", "x.onnx"],
        ["benchmark", "--quick"],
        ["train", "--annotations", "x.json", "--images", "x", "--output", "x"],
    ],
)
def test_verbs_that_need_weights_refuse_code(
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--checkpoint", "cameras.models:make"]) == 2
    assert "which is code; weights are needed here" in capsys.readouterr().err


def test_a_file_goes_before_a_factory_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").write_bytes(b"no checkpoint")
    with pytest.raises(sm.InputError, match=r"'a:b' is (refused|not a readable)"):
        load_segmenter("a:b")
    assert model_file("a:b") is not None


def test_importing_code_is_left_to_who_names_it(tmp_path: Path) -> None:
    """A checkpoint cannot name a factory: `model` is looked at, never a file's content."""
    path = tmp_path / "model.safetensors"
    model = sm.build_model("sipmask_r18_lite", num_classes=1)
    sm.save_checkpoint(model, path, {"model": "cameras.models:make"})
    assert type(load_segmenter(str(path), "cpu", "fp32")) is sm.Predictor


def test_whole_masks_make_instances_by_falling_score() -> None:
    masks = np.zeros((3, 6, 8), np.uint8)
    masks[0, 1:3, 2:7] = 1
    masks[1, 5, 7] = 255
    made = sm.Instances.from_masks(masks, [0.2, 0.9, 0.5], [4, 5, 6])
    assert made.labels.tolist() == [5, 6, 4]
    assert made.boxes.tolist() == [[7, 5, 8, 6], [0, 0, 0, 0], [2, 1, 7, 3]]
    assert (made.masks == masks[[1, 2, 0]].astype(bool)).all()
    assert [mask.bitmap.shape for mask in made.mask_crops] == [(1, 1), (0, 0), (2, 5)]
    given = sm.Instances.from_masks(masks > 0, np.array([0.2, 0.9, 0.5]), [4, 5, 6], np.eye(3, 4))
    assert given.boxes.tolist() == np.eye(3, 4)[[1, 2, 0]].tolist()
    none = sm.Instances.from_masks(np.zeros((0, 6, 8)), [], [])
    assert (len(none), none.image_size, none.boxes.shape) == (0, (6, 8), (0, 4))


@pytest.mark.parametrize(
    ("masks", "scores", "boxes"),
    [
        (np.zeros((6, 8)), [], None),
        (np.zeros((2, 6, 8)), [0.5], None),
        (np.zeros((2, 6, 8)), [0.5, 0.6], np.zeros((3, 4))),
        (np.zeros((2, 6, 8)), [0.5, 0.6, 0.7], None),
    ],
)
def test_masks_that_do_not_go_with_the_rest_are_refused(
    masks: NDArray[Any], scores: list[float], boxes: NDArray[Any] | None
) -> None:
    with pytest.raises(ValueError, match="shape"):
        sm.Instances.from_masks(masks, scores, np.zeros(len(scores)), boxes)

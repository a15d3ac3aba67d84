"""The files in examples/ that need no ROS do what they say."""

import importlib.util
import os
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from places import ROOT

import sipmask_core as sm
from sipmask_core.inference.load import load_segmenter
from sipmask_core.video import VideoWriter

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
# Lines that each may have: those that put a model behind the border, and the others.
MOST_LINES = {"torchvision_mask_rcnn.py": 40, "rfdetr_seg.py": 40, "onnx_network.py": 40}


@pytest.fixture
def photo(tmp_path):
    from skimage import data

    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.ascontiguousarray(data.astronaut()[..., ::-1]))
    return path


def example(name):
    """Return the names that an example defines, without running its main."""
    return runpy.run_path(str(EXAMPLES / name), run_name="example")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_on_a_screen_and_is_in_the_table(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES.get(path.name, 60)
    assert f"[{path.name}]({path.name})" in (EXAMPLES / "README.md").read_text()


def test_predict_photo_finds_a_person_and_draws(photo, tmp_path, capsys):
    example("predict_photo.py")["main"](str(photo), str(tmp_path / "seen.png"))
    assert "person 0." in capsys.readouterr().out
    assert (cv2.imread(str(tmp_path / "seen.png")) != cv2.imread(str(photo))).any()


def test_track_video_follows_a_person(photo, tmp_path, capsys):
    image = cv2.imread(str(photo))
    with VideoWriter(tmp_path / "video.mp4", 10) as writer:
        for shift in range(5):
            writer.write(np.roll(image, 4 * shift, axis=1))
    example("track_video.py")["main"](str(tmp_path / "video.mp4"))
    assert "person from 0.00 s to 0.40 s" in capsys.readouterr().out


def test_fine_tune_makes_weights_of_the_new_classes(tmp_path):
    assert example("fine_tune.py")["main"](str(tmp_path), epochs="1") == 0
    model = sm.load_model(tmp_path / "run" / "best.safetensors")
    assert model.class_names == ("disc", "box")


def test_own_model_runs_by_its_name_on_the_command_line(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:20, 30:50] = 255
    cv2.imwrite(str(tmp_path / "lamp.png"), picture)
    command = ["predict", "lamp.png", "--no-overlay", "--json", "seen.json"]
    subprocess.run(
        [sys.executable, "-m", "sipmask_core", *command, "--checkpoint", "own_model:make"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{EXAMPLES}:{os.environ.get('PYTHONPATH', '')}"},
        check=True,
    )
    assert '"bbox"' in (tmp_path / "seen.json").read_text()


def test_mask_rcnn_keeps_the_border_with_random_weights():
    torch.manual_seed(0)
    make = example("torchvision_mask_rcnn.py")["make"]
    segmenter = make(torch.device("cpu"), "auto", 0.0, weights=None)
    segmenter._model.transform.min_size = (64,)  # of 800: faster
    images = [np.full((64, 96, 3), 90, np.uint8), np.full((80, 64, 3), 9, np.uint8)]
    found = segmenter.predict_batch(images)
    assert [instances.image_size for instances in found] == [(64, 96), (80, 64)]
    assert len(found[0]) and (np.diff(found[0].scores) <= 0).all()
    assert found[0].labels.max() < len(segmenter.class_names)
    assert found[0].masks.shape == (len(found[0]), 64, 96)
    segmenter.score_threshold = 1.0
    assert len(segmenter(images[0])) == 0
    with pytest.raises(sm.InputError, match="computes in fp32"):
        make(torch.device("cpu"), "bf16", None, weights=None)


def write_network(path):
    """Write an ONNX network that sees a cat at its input's top left, and doubts a dog."""
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    masks = np.zeros((2, 32, 64), np.float32)
    masks[0, :16, :32] = masks[1, 20:, 40:] = 1
    values = {
        "boxes": np.float32([[0, 0, 32, 16], [40, 20, 64, 32]]),
        "scores": np.float32([0.9, 0.2]),
        "labels": np.int64([0, 1]),
        "masks": masks,
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value, name))
        for name, value in values.items()
    ]
    types = {name: helper.np_dtype_to_tensor_dtype(v.dtype) for name, v in values.items()}
    graph = helper.make_graph(
        nodes,
        "cat",
        [helper.make_tensor_value_info("images", number, (1, 3, 32, 64))],
        [helper.make_tensor_value_info(n, types[n], v.shape) for n, v in values.items()],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)


def test_any_onnx_network_keeps_the_border(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    write_network(tmp_path / "network.onnx")
    monkeypatch.setenv("NETWORK", str(tmp_path / "network.onnx"))
    monkeypatch.setenv("CLASSES", "cat,dog")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    segmenter = load_segmenter("onnx_network:make", "cpu", score_threshold=0.3)
    (found,) = segmenter.predict_batch([np.zeros((64, 256, 3), np.uint8)])
    assert [segmenter.class_names[label] for label in found.labels] == ["cat"]
    assert found.boxes.tolist() == [[0, 0, 128, 32]]
    assert found.masks[0, :31, :126].all() and found.masks[0].sum() <= 32 * 130
    segmenter.score_threshold = 0.95
    assert len(segmenter(np.zeros((64, 256, 3), np.uint8))) == 0


@pytest.mark.skipif(importlib.util.find_spec("rfdetr") is None, reason="rfdetr is not installed")
def test_rfdetr_keeps_the_border_with_random_weights():
    make = example("rfdetr_seg.py")["make"]
    segmenter = make(torch.device("cpu"), "auto", 0.0, pretrain_weights=None)
    found = segmenter(np.zeros((48, 64, 3), np.uint8))
    assert len(found) and found.masks.shape == (len(found), 48, 64)
    assert found.labels.max() < len(segmenter.class_names)


def test_the_notebook_runs_and_shows_pictures(monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # git keeps none
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [o for o in outputs if "image/png" in o.get("data", ())]
    assert len(pictures) >= 3

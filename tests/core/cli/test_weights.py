"""`sipmask weights`: from a server that behaves like Google Drive to a model that runs."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from coco_squares import tiny_preset, write_squares
from drive_server import DriveServer
from moving_squares import write_videos

import sipmask_core as sm
from sipmask_core.cli import weights_verify
from sipmask_core.cli.main import main
from sipmask_core.model.checkpoint_files import read_checkpoint
from sipmask_core.model.presets import PRESETS
from sipmask_core.weights import table
from sipmask_core.weights.table import PUBLISHED, YOUTUBE_VIS_VAL, Benchmark, Weights

pytestmark = pytest.mark.slow

NAME = "sipmask_tiny"
ROW = Weights(NAME, "x", Benchmark("six squares", "coco", 6), 33.5, 38.2, "made up")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Publish a tiny network; return the folder that its weights come to."""
    monkeypatch.setenv("SIPMASK_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(PRESETS, NAME, replace(tiny_preset(), name=NAME))
    monkeypatch.setitem(PUBLISHED, NAME, ROW)
    return tmp_path / "home" / "weights"


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint as the authors' training does."""
    torch.manual_seed(0)
    model = sm.build_model(NAME)
    path = tmp_path / "epoch_12.pth"
    names = (*(f"thing {i}" for i in range(79)), "square")
    torch.save({"state_dict": model.state_dict(), "meta": {"CLASSES": names, "epoch": 12}}, path)
    return path


@pytest.fixture
def server(checkpoint, monkeypatch):
    with DriveServer(checkpoint.read_bytes()) as server:
        monkeypatch.setattr(table, "DRIVE", server.base)
        yield server


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def publish(monkeypatch, **changes):
    monkeypatch.setitem(PUBLISHED, NAME, replace(ROW, **changes))


def test_from_the_link_to_a_model_that_runs(server, home, capsys):
    assert main(["predict", "x.png", "--output", "x", "--checkpoint", NAME]) == 2
    assert f"`sipmask weights get {NAME}` fetches" in capsys.readouterr().err
    assert main(["weights", "get", NAME]) == 0
    digest = hashlib.sha256(server.content).hexdigest()
    assert f"SHA-256 {digest} (no hash is known" in capsys.readouterr().out
    assert files(home) == [f"{NAME}.json", f"{NAME}.safetensors"]

    record = json.loads((home / f"{NAME}.json").read_text())
    assert record["source"] == ROW.link and record["file_name"] == "SipMask_R18.pth"
    assert (record["bytes"], record["sha256"]) == (len(server.content), digest)
    metadata = read_checkpoint(home / f"{NAME}.safetensors").metadata
    assert metadata["source_sha256"] == digest and metadata["epoch"] == "12"
    assert json.loads(metadata["published_AP"]) == {"six squares": {"segm": "33.5", "bbox": "38.2"}}

    predictor = sm.Predictor.from_pretrained(NAME, device="cpu", precision="fp32")
    assert predictor.model_name == NAME and predictor.class_names[-1] == "square"


def test_what_is_here_is_not_fetched_again_unless_asked(server, home, capsys):
    for arguments, answers in (([], 1), ([], 1), (["--force"], 2)):
        assert main(["weights", "get", NAME, *arguments]) == 0
        assert len([path for path, _ in server.requests if "confirm" in path]) == answers
    assert f"{NAME} is here, from {ROW.link}" in capsys.readouterr().out


def test_a_cut_download_is_resumed_by_the_same_command(server, home, capsys):
    server.cut_after = [1000]
    assert main(["weights", "get", NAME]) == 2
    assert f"cut after 1000 of {len(server.content)} bytes" in capsys.readouterr().err
    assert main(["weights", "get", NAME]) == 0
    assert server.requests[-1][1] == "bytes=1000-"


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [("quota", "too many people"), ("private", "not open"), (404, "404"), ("other", "Under main")],
)
def test_a_refusal_says_how_else_to_get_the_file(server, home, capsys, behaviour, complaint):
    server.behaviour = behaviour
    assert main(["weights", "get", NAME]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert f"`sipmask weights get {NAME} --from FILE`" in error and ROW.link in error
    assert not (home / f"{NAME}.safetensors").exists()


def test_no_network_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(table, "DRIVE", "http://127.0.0.1:1")
    assert main(["weights", "get", NAME]) == 2
    assert "127.0.0.1:1 cannot be reached: Connection refused" in capsys.readouterr().err


def test_a_known_hash_is_compared(server, home, capsys, monkeypatch):
    publish(monkeypatch, sha256="0" * 64)
    assert main(["weights", "get", NAME]) == 2
    assert "damaged or another file, and was not taken" in capsys.readouterr().err
    assert files(home) == []
    publish(monkeypatch, sha256=hashlib.sha256(server.content).hexdigest())
    assert main(["weights", "get", NAME]) == 0
    assert "(as known)" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["damaged", "of other classes", "of another network"])
def test_what_does_not_load_strictly_is_not_taken(server, home, tmp_path, capsys, kind):
    assert main(["weights", "get", NAME]) == 0
    before = (home / f"{NAME}.safetensors").read_bytes()
    path = tmp_path / "other.pth"
    name, number = (NAME, 3) if kind == "of other classes" else ("sipmask_r18_lite", 80)
    torch.save(sm.build_model(name, num_classes=number).state_dict(), path)
    server.content = path.read_bytes()[: 5000 if kind == "damaged" else None]
    assert main(["weights", "get", NAME, "--force"]) == 2
    error = capsys.readouterr().err
    assert f"What {ROW.link} gives was not taken." in error and error.count("\n") == 1
    assert files(home) == [f"{NAME}.json", f"{NAME}.safetensors"]
    assert (home / f"{NAME}.safetensors").read_bytes() == before


def test_a_file_or_another_address_can_take_the_link_s_place(server, home, checkpoint, tmp_path):
    assert main(["weights", "get", NAME, "--from", str(checkpoint)]) == 0
    assert checkpoint.exists() and server.requests == []
    assert json.loads((home / f"{NAME}.json").read_text())["file_name"] == "epoch_12.pth"
    first = (home / f"{NAME}.safetensors").read_bytes()
    server.behaviour = "plain"
    assert main(["weights", "get", NAME, "--force", "--from", f"{server.base}/x.pth"]) == 0
    server.content = first
    assert main(["weights", "get", NAME, "--force", "--from", f"{server.base}/x.safetensors"]) == 0
    assert main(["weights", "get", NAME, "--force", "--from", str(tmp_path / "no.pth")]) == 2


def test_the_list_says_what_is_here(server, tmp_path, capsys):
    main(["weights", "get", NAME])
    capsys.readouterr()
    assert main(["weights", "list", "--json", str(tmp_path / "list.json")]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines[NAME][1:4] == ["yes", "33.5", "38.2"]
    assert lines["sipmask_r50_caffe_fpn_gn_1x"][1:4] == ["no", "33.5", "38.2"]
    rows = json.loads((tmp_path / "list.json").read_text())["weights"]
    assert [row["name"] for row in rows if row["file"]] == [NAME]
    assert rows[-1]["got"]["source"] == ROW.link


def test_what_ships_needs_no_fetching(capsys):
    assert main(["weights", "get", "sipmask_efficientnet_lite0"]) == 0
    assert "ships with the package" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["get", "verify"])
def test_an_unknown_name_is_refused(capsys, kind):
    data = ["--annotations", "x.json", "--images", "x"] * (kind == "verify")
    assert main(["weights", kind, "sipmask_r50_gn", *data]) == 2
    assert "No weights are named 'sipmask_r50_gn'" in capsys.readouterr().err


def test_weights_start_a_training_by_their_name(server, tmp_path):
    assert main(["weights", "get", NAME]) == 0
    annotations, images = write_squares(tmp_path)
    data = ["--annotations", str(annotations), "--images", str(images), "--epochs", "1"]
    run = [
        "--output",
        str(tmp_path / "run"),
        "--remake-heads",
        "--hold-out",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["train", "--checkpoint", NAME, *data, *run]) == 0


def verify(tmp_path, *options):
    annotations, images = tmp_path / "squares.json", tmp_path / "images"
    if not images.exists():
        write_squares(tmp_path)
    data = ["--annotations", str(annotations), "--images", str(images), "--device", "cpu"]
    return main(["weights", "verify", NAME, *data, *options])


def test_weights_that_give_another_ap_are_told(server, tmp_path, capsys):
    assert verify(tmp_path) == 2
    assert f"sipmask weights get {NAME}" in capsys.readouterr().err
    main(["weights", "get", NAME])
    verdict = tmp_path / "verdict.json"
    assert verify(tmp_path, "--json", str(verdict), "--output", str(tmp_path / "out")) == 1
    out = capsys.readouterr().out
    assert f"{NAME} does NOT give the published AP, within 0.2: mask AP 0.00, published 33.5" in out
    record = json.loads(verdict.read_text())
    assert record["holds"] is False and record["report"]["precision"] == "fp32"
    assert record["published"] == {"segm": 33.5, "bbox": 38.2}


def test_weights_that_give_the_published_ap_are_told(server, tmp_path, capsys, monkeypatch):
    publish(monkeypatch, mask_ap=0.2, box_ap=0.0)
    main(["weights", "get", NAME])
    assert verify(tmp_path) == 0
    assert f"{NAME} gives the published AP, within 0.2" in capsys.readouterr().out


def test_a_part_of_the_data_verifies_nothing(server, tmp_path, capsys, monkeypatch):
    publish(monkeypatch, mask_ap=0.0, box_ap=0.0, benchmark=Benchmark("squares", "coco", 5000))
    main(["weights", "get", NAME])
    assert verify(tmp_path) == 1
    assert "is not verified, for squares has 5000 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mask", "box", "holds"),
    [(33.5, 38.2, True), (33.7, 38.0, True), (33.71, 38.2, False), (33.5, 37.99, False)],
)
def test_every_published_figure_must_be_within_a_fifth_of_a_percent(mask, box, holds):
    assert weights_verify.verdict(ROW, {"segm": mask, "bbox": box}, 6)[0] is holds


def test_videos_are_verified_by_their_mask_ap(server, tmp_path, capsys, monkeypatch):
    publish(monkeypatch, box_ap=None, benchmark=replace(YOUTUBE_VIS_VAL, count=3), mask_ap=0.1)
    main(["weights", "get", NAME])
    annotations, images = write_videos(tmp_path)
    document = json.loads(annotations.read_text())
    data = ["--images", str(images), "--device", "cpu"]
    assert main(["weights", "verify", NAME, "--annotations", str(annotations), *data]) == 0
    assert "mask AP 0.00, published 0.1" in capsys.readouterr().out
    del document["annotations"]
    annotations.write_text(json.dumps(document))
    hidden = ["weights", "verify", NAME, "--annotations", str(annotations), *data]
    assert main(hidden) == 2
    assert "has no tracks to compare with; give --save-results" in capsys.readouterr().err
    assert main([*hidden, "--save-results", str(tmp_path / "results.zip")]) == 1
    assert "nothing is verified" in capsys.readouterr().out

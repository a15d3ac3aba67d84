"""`sipmask predict` with a predictor that sees one bright rectangle per image."""

import json
import signal

import cv2
import numpy as np
import pytest
from bright_spot import BrightSpotPredictor, spot_image
from pycocotools.coco import COCO

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.video import Frames, VideoWriter


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    instance = BrightSpotPredictor()
    monkeypatch.setattr(sm.Predictor, "from_pretrained", lambda **options: instance)
    return instance


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "000042.png"), spot_image())
    cv2.imwrite(str(folder / "dark.png"), np.zeros((80, 120, 3), np.uint8))
    return folder


def test_a_folder_gives_overlays_and_coco_json(photos, tmp_path, capsys):
    out = tmp_path / "seen"
    assert main(["predict", str(photos), "--output", str(out), "--json", str(out / "r.json")]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["000042.png", "dark.png", "r.json"]
    drawn = cv2.imread(str(out / "000042.png"))
    assert not np.array_equal(drawn[28, 25], (255, 255, 255))
    assert "Segmented 2 images: 1 instances, 0 failures" in capsys.readouterr().out

    coco = COCO(str(out / "r.json"))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert annotation["image_id"] == 42 and annotation["bbox"] == [10, 20, 30, 16]
    mask = coco.annToMask(annotation)
    assert mask.sum() == 30 * 16 == annotation["area"] and mask[20:36, 10:40].all()
    assert annotation["score"] == 0.75
    assert {image["file_name"] for image in coco.dataset["images"]} == {"000042.png", "dark.png"}
    assert coco.dataset["categories"] == [{"id": 1, "name": "person"}]
    provenance = coco.dataset["provenance"]
    assert len(provenance["inputs"][str(photos)]) == 64
    assert "torch" in provenance["versions"] and provenance["device"]["torch_device"] == "cpu"


def test_a_folder_of_all_sorts_says_what_is_damaged_and_what_is_left_out(photos, tmp_path, capsys):
    picture = cv2.imencode(".jpg", spot_image())[1].tobytes()
    (photos / "a.jfif").write_bytes(picture)
    (photos / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    (photos / "clip.mp4").touch()
    out = tmp_path / "seen"
    assert main(["predict", str(photos), "--output", str(out)]) == 1
    captured = capsys.readouterr()
    assert "Segmented 3 images" in captured.out and "1 failures" in captured.out
    assert f"Image {photos / 'cut.jpg'} is cut off" in captured.err
    assert f"Left out of {photos}, which are no images: 1 .mp4." in captured.err
    assert sorted(path.name for path in out.iterdir()) == ["000042.png", "a.png", "dark.png"]


def test_tiles_find_the_same_object_once_and_are_in_the_record(photos, tmp_path, capsys):
    record = tmp_path / "r.json"
    command = ["predict", str(photos), "--no-overlay", "--json", str(record)]
    assert main([*command, "--tiles", "3x2"]) == 0
    written = json.loads(record.read_text())
    assert [annotation["bbox"] for annotation in written["annotations"]] == [[10, 20, 30, 16]]
    assert written["provenance"]["model"].endswith(" in 3x2 tiles")
    with pytest.raises(SystemExit):
        main([*command, "--tiles", "3"])
    assert "--tiles: tiles is '3'; accepted are columns x rows" in capsys.readouterr().err


def test_the_same_inputs_give_the_same_bytes(photos, tmp_path):
    command = ["predict", str(photos), "--no-overlay", "--json", str(tmp_path / "r.json")]
    assert main(command) == 0
    first = (tmp_path / "r.json").read_bytes()
    assert main(command) == 0
    assert (tmp_path / "r.json").read_bytes() == first


def test_the_hash_of_a_folder_is_of_its_images_alone(photos, tmp_path):
    def folder_hash():
        assert main(["predict", str(photos), "--no-overlay", "--json", str(photos / "r.json")]) == 0
        return json.loads((photos / "r.json").read_text())["provenance"]["inputs"][str(photos)]

    first = folder_hash()
    (photos / "seen").mkdir()
    (photos / "seen" / "000042.png").write_bytes(b"an earlier overlay")
    assert folder_hash() == first
    cv2.imwrite(str(photos / "dark.png"), spot_image())
    assert folder_hash() != first


def test_a_video_gives_a_video_of_the_same_length(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 15) as writer:
        for index in range(6):
            writer.write(spot_image(x=10 + 5 * index))
    out = tmp_path / "seen"
    command = ["predict", str(tmp_path / "clip.mp4"), "--output", str(out)]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    with Frames(out / "clip.mp4") as frames:
        assert frames.fps == 15 and len(list(frames)) == 6
    results = json.loads((tmp_path / "r.json").read_text())
    assert [image["file_name"] for image in results["images"]][:2] == ["clip.mp4:0", "clip.mp4:1"]
    assert len(results["annotations"]) == 6


def test_a_corrupt_image_is_named_skipped_and_counted(photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    assert main(["predict", str(photos), "--output", str(tmp_path / "seen")]) == 1
    captured = capsys.readouterr()
    assert "broken.jpg is cut off or damaged" in captured.err
    assert "Segmented 2 images" in captured.out and "1 failures" in captured.out


def test_an_unreadable_video_does_not_stop_the_rest(photos, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"no video" * 50)
    inputs = [str(tmp_path / "clip.mp4"), str(photos / "000042.png")]
    assert main(["predict", *inputs, "--output", str(tmp_path / "seen")]) == 1
    assert "clip.mp4 cannot be opened" in capsys.readouterr().err
    assert (tmp_path / "seen" / "000042.png").exists()


def test_an_empty_folder_alone_is_bad_input(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / "empty"), "--output", str(tmp_path / "seen")]) == 2
    output = capsys.readouterr()
    assert "holds no image" in output.err and output.out.endswith("Written: nothing\n")


def test_equal_names_from_two_folders_are_both_kept(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "x.png"), spot_image())
    out = tmp_path / "seen"
    assert main(["predict", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["x.png", "x_2.png"]


def test_overlays_never_replace_the_inputs(photos, capsys):
    before = (photos / "000042.png").read_bytes()
    assert main(["predict", str(photos), "--output", str(photos)]) == 2
    assert main(["predict", str(photos / "000042.png"), "--output", str(photos)]) == 2
    assert "is the folder of" in capsys.readouterr().err
    assert (photos / "000042.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "--output DIR is missing"),
        (["--no-overlay"], "would write nothing"),
        (["--output", "OUT", "--preset", "sipmask_r18_lite"], "add --checkpoint"),
        (["--output", "PHOTO"], "must be a folder"),
    ],
)
def test_wrong_usage_is_one_sentence(photos, tmp_path, capsys, options, sentence):
    places = {"OUT": str(tmp_path / "seen"), "PHOTO": str(photos / "dark.png")}
    status = main(["predict", str(photos), *(places.get(option, option) for option in options)])
    error = capsys.readouterr().err
    assert status == 2 and sentence in error and error.count("\n") == 1


def test_interrupted_work_is_kept(photos, tmp_path, monkeypatch, capsys):
    see = BrightSpotPredictor.__call__

    def see_and_interrupt(self, image):
        signal.raise_signal(signal.SIGINT)
        return see(self, image)

    monkeypatch.setattr(BrightSpotPredictor, "__call__", see_and_interrupt)
    out = tmp_path / "seen"
    command = ["predict", str(photos), "--output", str(out), "--json", str(out / "r.json")]
    assert main(command) == 130
    assert "Interrupted after 1 images" in capsys.readouterr().out
    assert len(json.loads((out / "r.json").read_text())["images"]) == 1
    assert (out / "000042.png").exists()


def test_a_failing_predictor_leaves_no_json(photos, tmp_path, monkeypatch):
    def fail(self, image):
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(BrightSpotPredictor, "__call__", fail)
    with pytest.raises(RuntimeError):
        main(["predict", str(photos), "--no-overlay", "--json", str(tmp_path / "r.json")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_image_that_cannot_be_segmented_is_named_and_the_others_are_kept(
    photos, tmp_path, predictor, capsys
):
    predictor.fails_at = 1
    out = tmp_path / "seen"
    assert main(["predict", str(photos), "--output", str(out), "--json", str(out / "r.json")]) == 1
    captured = capsys.readouterr()
    assert "sipmask: 000042.png: There is too little memory.\n" in captured.err
    assert "Segmented 1 images: 0 instances, 1 failures" in captured.out
    assert sorted(path.name for path in out.iterdir()) == ["dark.png", "r.json"]


def test_of_a_video_the_frames_before_a_failure_are_kept(tmp_path, predictor, capsys):
    with VideoWriter(tmp_path / "clip.mp4", 20) as video:
        for _ in range(5):
            video.write(spot_image())
    predictor.fails_at = 4
    assert main(["predict", str(tmp_path / "clip.mp4"), "--output", str(tmp_path / "seen")]) == 1
    assert "sipmask: clip.mp4:3: There is too little memory.\n" in capsys.readouterr().err
    with Frames(tmp_path / "seen" / "clip.mp4") as frames:
        assert len(list(frames)) == 3

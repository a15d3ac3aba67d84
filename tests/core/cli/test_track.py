"""`sipmask track` with a predictor that sees one bright rectangle per frame."""

import json
import signal
from itertools import count

import cv2
import pytest
from bright_spot import BrightSpotPredictor, spot_image, write_hiding_spot
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import sipmask_core as sm
from sipmask_core.cli import track
from sipmask_core.cli.main import main
from sipmask_core.video import Frames


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    instance = BrightSpotPredictor()
    monkeypatch.setattr(sm.Predictor, "from_pretrained", lambda **options: instance)
    return instance


@pytest.fixture
def clip(tmp_path):
    return write_hiding_spot(tmp_path / "clip.mp4")


def test_a_video_gives_video_timeline_results_and_report(clip, tmp_path, capsys):
    out = tmp_path / "tracked"
    files = ("--save-results", str(out / "results.json"), "--json", str(out / "report.json"))
    assert main(["track", str(clip), "--output", str(out), *files]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "clip.mp4",
        "clip_timeline.png",
        "report.json",
        "results.json",
    ]
    assert "Tracked 14 frames: 1 tracks, 0 failures" in capsys.readouterr().out
    with Frames(out / "clip.mp4") as frames:
        assert frames.fps == 20 and len(list(frames)) == 14
    assert min(cv2.imread(str(out / "clip_timeline.png")).shape[:2]) > 100

    report = json.loads((out / "report.json").read_text())
    assert report["tracks"] == [
        {"id": 0, "class": "person", "frames": 11, "seen": [[0, 5], [9, 13]]}
    ]
    assert (report["frames"], report["instances"], report["fps"]) == (14, 11, 20)
    assert (report["mode"], report["score_threshold"]) == ("online", 0.3)
    assert len(report["provenance"]["inputs"][str(clip)]) == 64

    (result,) = json.loads((out / "results.json").read_text())
    assert (result["video_id"], result["category_id"]) == (1, 1)
    shown = [index for index, rle in enumerate(result["segmentations"]) if rle is not None]
    assert shown == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    assert coco_mask.area(result["segmentations"][0]) == pytest.approx(30 * 16, rel=0.2)


def test_coco_results_have_the_track_and_the_number_of_the_frame(clip, tmp_path):
    path = tmp_path / "coco.json"
    assert main(["track", str(clip), "--output", str(tmp_path / "out"), "--coco", str(path)]) == 0
    coco = COCO(str(path))
    assert sorted(coco.imgs) == list(range(14))
    assert coco.imgs[13]["file_name"] == "clip.mp4:13"
    (found,) = coco.loadAnns(coco.getAnnIds(imgIds=[10]))
    assert (found["track_id"], found["category_id"]) == (0, 1)
    assert coco.annToMask(found).sum() == found["area"] == pytest.approx(30 * 16, rel=0.2)
    assert [len(coco.getAnnIds(imgIds=[i])) for i in range(14)] == [1] * 6 + [0] * 3 + [1] * 5
    assert str(clip) in json.loads(path.read_text())["provenance"]["inputs"]


def test_the_same_video_gives_the_same_bytes(clip, tmp_path):
    report = tmp_path / "report.json"
    command = ["track", str(clip), "--output", str(tmp_path / "out"), "--json", str(report)]
    assert main(command) == 0
    first = report.read_bytes()
    assert main(command) == 0
    assert report.read_bytes() == first


def test_an_object_in_a_folder_of_frames_is_followed_and_a_broken_frame_is_named(tmp_path, capsys):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(6):
        cv2.imwrite(str(folder / f"{index}.png"), spot_image(x=10 + 4 * index))
    (folder / "3.png").write_bytes(b"no picture")
    out = tmp_path / "tracked"
    command = ["track", str(folder), "--output", str(out), "--fps", "5"]
    assert main([*command, "--json", str(out / "report.json")]) == 1
    captured = capsys.readouterr()
    assert "3.png cannot be decoded as an image" in captured.err
    assert "Tracked 5 frames: 1 tracks, 1 failures" in captured.out
    assert json.loads((out / "report.json").read_text())["fps"] == 5


def test_how_long_a_lost_object_is_looked_for_can_be_chosen(clip, tmp_path):
    report = tmp_path / "report.json"
    command = ["track", str(clip), "--output", str(tmp_path / "out"), "--json", str(report)]
    assert main([*command, "--lost-seconds", "0.1"]) == 0
    assert [track["id"] for track in json.loads(report.read_text())["tracks"]] == [0, 1]


def test_the_time_of_a_camera_is_that_of_the_clock(clip, tmp_path, monkeypatch):
    init = Frames.__init__

    def live(self, source):
        init(self, source)
        self.is_live = True

    monkeypatch.setattr(Frames, "__init__", live)
    monkeypatch.setattr(track, "monotonic", count(100, 10).__next__)  # ten seconds a frame
    report = tmp_path / "report.json"
    command = ["track", str(clip), "--output", str(tmp_path / "out"), "--json", str(report)]
    assert main(command) == 0
    assert len(json.loads(report.read_text())["tracks"]) == 11


def test_interrupted_work_is_kept(clip, tmp_path, monkeypatch, capsys):
    see = BrightSpotPredictor.__call__
    calls = []

    def see_and_interrupt(self, image):
        calls.append(image)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return see(self, image)

    monkeypatch.setattr(BrightSpotPredictor, "__call__", see_and_interrupt)
    out = tmp_path / "tracked"
    command = ["track", str(clip), "--output", str(out), "--save-results", str(out / "r.json")]
    assert main(command) == 130
    assert "Interrupted after 3 frames: 1 tracks" in capsys.readouterr().out
    with Frames(out / "clip.mp4") as frames:
        assert len(list(frames)) == 3
    assert len(json.loads((out / "r.json").read_text())[0]["segmentations"]) == 3
    assert (out / "clip_timeline.png").exists()


def test_a_failing_predictor_leaves_nothing(clip, tmp_path, monkeypatch):
    def fail(self, image):
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(BrightSpotPredictor, "__call__", fail)
    out = tmp_path / "tracked"
    with pytest.raises(RuntimeError):
        main(["track", str(clip), "--output", str(out), "--json", str(out / "r.json")])
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "CLIP"], "must be a folder"),
        (["--output", "HERE"], "choose another"),
        (["--output", "OUT", "--fps", "0"], "--fps is 0.0"),
        (["--output", "OUT", "--mode", "youtube-vis", "--lost-seconds", "1"], "online mode"),
        (["--output", "OUT", "--mode", "youtube-vis"], "have no embeddings"),
    ],
)
def test_wrong_usage_is_one_sentence(clip, tmp_path, capsys, options, sentence):
    places = {"OUT": str(tmp_path / "out"), "CLIP": str(clip), "HERE": str(tmp_path)}
    status = main(["track", str(clip), *(places.get(option, option) for option in options)])
    error = capsys.readouterr().err
    assert status == 2 and sentence in error and error.count("sipmask:") == 1
    assert not (tmp_path / "out" / "clip.mp4").exists()


def test_a_negative_time_is_refused(clip, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["track", str(clip), "--output", str(tmp_path / "out"), "--lost-seconds", "-1"])
    assert "argument --lost-seconds: it is '-1'; it must be 0 or more" in capsys.readouterr().err


def test_what_was_tracked_before_a_failure_is_kept(clip, tmp_path, predictor, capsys):
    predictor.fails_at = 5
    out = tmp_path / "tracked"
    report = out / "report.json"
    assert main(["track", str(clip), "--output", str(out), "--json", str(report)]) == 1
    assert "sipmask: clip.mp4:4: There is too little memory.\n" in capsys.readouterr().err
    assert json.loads(report.read_text())["frames"] == 4
    with Frames(out / "clip.mp4") as frames:
        assert len(list(frames)) == 4

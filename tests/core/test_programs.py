"""The programs behind the docs' figures and tables do what the pages say, on a small scale."""

import dataclasses
import json
import re
import shutil

import cv2
import numpy as np
import programs
import pytest
import torch
from coco_squares import tiny_preset, write_squares
from places import ROOT

import sipmask_core as sm
from sipmask_core.evaluation.coco import KINDS
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.model.presets import PRESETS
from sipmask_core.tracking import box_motion
from sipmask_core.weights import table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SIDE = 96  # pixels


@pytest.fixture
def run(monkeypatch, capsys):
    """Offer to run a program; what it prints comes back."""

    def program(name, *arguments):
        programs.run(monkeypatch, name, *arguments)
        return capsys.readouterr().out

    return program


@pytest.fixture
def tiny(monkeypatch):
    """Offer to make a preset for inputs of 96 x 96 known by name, with changes."""

    def known(name, **changes):
        preset = dataclasses.replace(tiny_preset(), name=name, **changes)
        monkeypatch.setitem(PRESETS, name, preset)
        return preset

    return known


def cells(line):
    """Return the cells of a table's line."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows(text):
    """Return the rows of a Markdown table, without its head."""
    return [cells(line) for line in text.splitlines() if line.startswith("| ")][1:]


def is_png(path):
    return cv2.imread(str(path)) is not None


def test_the_ablation_trains_what_is_missing_and_compares_it_with_what_is_there(
    run, tiny, tmp_path
):
    annotations, images = write_squares(tmp_path / "data")
    backbone = sm.build_model(tiny("tiny"), num_classes=1).backbone
    torch.save(backbone.state_dict(), tmp_path / "backbone.pth")
    done = tmp_path / "runs" / "seed=0"
    done.mkdir(parents=True)
    figures = {"AP": 0.25, "AP50": 0.5, "AP75": 0.125, "APl": 0.75}
    result = {"validation": {"segm": figures, "bbox": figures}}
    (done / "result.json").write_text(json.dumps(result))
    variants = ("2 x 2 sub-regions, aligned, weighted", "1 x 1 sub-region")
    options = {
        "--preset": "tiny",
        "--annotations": annotations,
        "--images": images,
        "--init": tmp_path / "backbone.pth",
        "--output": tmp_path / "runs",
        "--plot": tmp_path / "ablation.png",
    }
    small = ("--size", SIDE, "--epochs", 1, "--seeds", 1, "--variants", *variants)
    out = run("ablation", *(part for option in options.items() for part in option), *small)
    first, second = rows(out[out.index("| variant |") :])
    assert first == [variants[0], "1", "0.250", "0.500", "0.125", "0.750", "0.250", "0.250"]
    assert second[:2] == [variants[1], "1"] and 0 <= float(second[2]) <= 1
    trained = sm.load_model(tmp_path / "runs" / "sub_regions=1-seed=0" / "best.safetensors")
    assert trained.preset.sub_regions == 1
    assert is_png(tmp_path / "ablation.png")


def test_both_evaluations_are_timed_on_the_same_data(run):
    first, *lines = run("coco_speed", "--images", 3, "--classes", 4, "--rounds", 1).splitlines()
    assert re.fullmatch(
        r"3 images, 4 classes, \d+ objects, \d+ results; fastest of 1 rounds", first
    )
    timed = [line.split() for line in lines if not line.endswith("is not installed.")]
    assert {kind for kind, *_ in timed} == {"segm", "bbox"}
    for kind in ("segm", "bbox"):
        totals = {words[1]: float(words[-2]) for words in timed if words[0] == kind}
        assert {"pycocotools", "here"} <= set(totals)


def test_positions_are_measured_on_the_scenes_that_the_page_describes(run, tmp_path):
    out = run("depth", "--seeds", 1, "--rounds", 2, "--plot", tmp_path / "depth.png")
    page = (ROOT / "docs" / "depth.md").read_text(encoding="utf-8")
    described = [row[:3] for row in rows(page[page.index("| scene | object |") :])]
    assert [row[:3] for row in rows(out)] == described[: len(rows(out))] and len(rows(out)) == 15
    worst = float(re.search(r"Largest error: (.*) % of", out)[1])
    assert 0 < worst < 2
    assert is_png(tmp_path / "depth.png")


def test_of_input_sizes_the_one_that_made_the_annotations_has_an_ap_of_one(run, tmp_path):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    photo = cv2.resize(np.ascontiguousarray(data.astronaut()[..., ::-1]), (256, 256))
    predictor = programs.names_of("input_sizes")["predictor_at"](PRETRAINED, 128, 1)
    seen = predictor(photo)[:1]  # the most certain
    names = ("0.png", "1.png")  # one of them is held out
    for name in names:
        cv2.imwrite(str(tmp_path / name), photo)
    (box,), (rle,) = seen.boxes.tolist(), seen.to_rle()
    shape = {
        "category_id": 1,
        "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]],
        "area": int(seen.masks.sum()),
        "iscrowd": 0,
        "segmentation": rle,
    }
    size = {"height": 256, "width": 256}
    document = {
        "categories": [{"id": 1, "name": predictor.class_names[seen.labels[0]]}],
        "images": [{"id": i, "file_name": name, **size} for i, name in enumerate(names)],
        "annotations": [{"id": i + 1, "image_id": i, **shape} for i in range(len(names))],
    }
    (tmp_path / "seen.json").write_text(json.dumps(document))
    files = ("--annotations", tmp_path / "seen.json", "--images", tmp_path, "--hold-out", 0.5)
    small = ("--sizes", SIDE, 128, "--rounds", 1, "--threads", 1)
    out = run("input_sizes", *files, *small, "--output", tmp_path / "sizes.png")
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["side"] for row in found] == [SIDE, 128]
    assert found[1]["AP"] == 1 and all(row["ms"] > 0 for row in found)
    assert is_png(tmp_path / "sizes.png")


def test_tiles_are_compared_with_the_whole_image(run, tiny, tmp_path):
    annotations, images = write_squares(tmp_path / "data")
    model = sm.build_model(tiny("tiny"), class_names=["square"])
    sm.save_checkpoint(model, tmp_path / "tiny.safetensors")
    files = ("--annotations", annotations, "--images", images, "--hold-out", 2)
    own = ("--checkpoint", tmp_path / "tiny.safetensors", "--tiles", "2x1")
    first, *table = run("tiles", *files, *own).splitlines()
    assert first.startswith("2 images, ") and first.endswith("; tiny")
    none, tiles = rows("\n".join(table))
    assert none[:2] == ["none", "1.0"]
    assert tiles[0] == "2x1" and float(tiles[1]) > 0


def test_networks_that_learnt_alike_have_the_figures_of_their_last_validation(run, tiny, tmp_path):
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    figures = {"AP": 0.25, "AP50": 0.5, "APs": 0.125, "APm": 0.25, "APl": 0.75}
    models = []
    for channels in (64, 96):
        models.append(sm.build_model(tiny(f"width_{channels}", channels=channels), num_classes=1))
        folder = tmp_path / f"width_{channels}"
        folder.mkdir()
        sm.save_checkpoint(models[-1], folder / "best.safetensors")
        entries = ({"step": 1}, {"validation": {}}, {"validation": dict.fromkeys(KINDS, figures)})
        (folder / "log.jsonl").write_text("\n".join(map(json.dumps, entries)))
    small = ("--threads", 1, "--rounds", 1, "--output", tmp_path / "candidates.png")
    out = run("candidates", tmp_path / "width_64", tmp_path / "width_96", *small)
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in found] == ["width 64", "width 96"]
    assert [row["parameters"] for row in found] == [
        sum(parameter.numel() for parameter in model.parameters()) for model in models
    ]
    assert all(row | {**figures, "box AP": 0.25} == row and row["ms"] > 0 for row in found)
    assert is_png(tmp_path / "candidates.png")


def test_trackers_that_are_given_the_truth_keep_every_id(run, tiny, tmp_path):
    names = [f"{number}.png" for number in range(10)]  # every tenth of them is one
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((SIDE, SIDE, 3), np.uint8))
    shape = {"bboxes": None, "areas": None, "segmentations": [[20, 20, 60, 20, 60, 70, 20, 70]]}
    video = {"id": 1, "file_names": names, "length": len(names)}
    document = {
        "categories": [{"id": 1, "name": "person"}],
        "videos": [{**video, "height": SIDE, "width": SIDE}],
        "annotations": [
            {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0}
            | {field: [value] * len(names) for field, value in shape.items()}
        ],
    }
    (tmp_path / "video.json").write_text(json.dumps(document))
    model = sm.build_model(tiny("tiny_video", embedding_channels=16), class_names=["person"])
    sm.save_checkpoint(model, tmp_path / "tiny.safetensors")
    files = ("--annotations", tmp_path / "video.json", "--images", tmp_path)
    own = ("--checkpoint", tmp_path / "tiny.safetensors", "--plot", tmp_path / "tracking.png")
    out = run("tracking_report", *files, *own, "--seeds", 1, "--videos", 1, "--frames", 3)
    seen_by_model, *compared = re.split(r"\n(?:HOTA|AssA|id_switches|ms)\n", out)
    blind, true = (
        {row[1]: row[2:] for row in rows(seen_by_model) if row[0] == fed}
        for fed in ("people by the model", "true people, every 10th frame")
    )
    assert blind["online"][:2] == ["0.000", "0.000"] and float(blind["online"][-1]) > 0
    assert true["online with embeddings"][:6] == ["1.000"] * 5 + ["0"]
    hota, _, switches, milliseconds = map(rows, compared)
    assert hota[0][:2] == ["true masks", "**1.000**"]
    assert switches[0][:2] == ["true masks", "**0.0**"]
    assert [row[0] for row in milliseconds] == [row[0] for row in hota] and len(hota) == 15
    assert is_png(tmp_path / "tracking.png")


def test_the_tracker_is_tuned_on_every_motion_and_damage(run):
    *lines, mean = run("tracking_tuning", "--videos", 1, "--frames", 3).splitlines()
    assert len(lines) == 4 * 6 and mean.startswith("mean ")
    assert re.match(r"bounces, true masks +HOTA 1\.000  AssA 1\.000  id_switches 0\.000", lines[0])


def test_a_change_of_the_trackers_constant_is_tried_by_its_name(run, monkeypatch, capsys):
    monkeypatch.setattr(box_motion, "BOX_NOISE", box_motion.BOX_NOISE)  # to be put back
    small = ("--videos", 1, "--frames", 2)
    out = run("tracking_tuning", *small, "--constant", "BOX_NOISE", 0.01, 0.5)
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["BOX_NOISE", "0.01"],
        ["BOX_NOISE", "0.5"],
    ]
    with pytest.raises(SystemExit):
        run("tracking_tuning", *small, "--constant", "BOX_NOSE", 1)
    assert "neither online nor box_motion has it" in capsys.readouterr().err


def test_the_trackers_time_is_a_table_by_number_of_instances(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the program sets
    found = rows(run("tracking_speed", "--instances", 1, 3, "--frames", 2))
    assert [row[0] for row in found] == ["1", "3"]
    assert all(re.fullmatch(r"\d+\.\d\d ms", cell) for row in found for cell in row[1:])


def test_the_table_of_models_is_written_into_the_page_and_keeps_its_times(
    monkeypatch, tmp_path, name="vis_sipmask_r50_caffe_fpn_gn_1x"
):
    short = programs.names_of("model_table")["SHORT"]
    chosen = {each: one for each, one in table.PUBLISHED.items() if each in (*short, name)}
    monkeypatch.setattr(table, "PUBLISHED", chosen)
    for file in ("README.md", "docs/models.md", "docs/programs/model_table.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)  # the program writes beside where it lies
    programs.run(monkeypatch, "model_table", folder=tmp_path / "docs" / "programs")
    page, written = (root / "docs" / "models.md" for root in (ROOT, tmp_path))
    kept = "|".join(map(re.escape, chosen))
    others = re.compile(rf"^\| `(?!({kept})`).*\[Drive\].*\n", re.MULTILINE)
    assert written.read_text() == others.sub("", page.read_text())
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()


def test_the_table_of_models_has_times_in_whole_milliseconds(tiny, monkeypatch, capsys):
    monkeypatch.setattr(table, "PUBLISHED", [tiny("tiny").name])
    times, machine = programs.names_of("model_table")["measured"]()
    assert list(times) == ["tiny"] and int(times["tiny"]) > 0
    assert re.fullmatch(r".+, \d+ threads", machine)
    assert capsys.readouterr().out == f"tiny {times['tiny']} ms\n"

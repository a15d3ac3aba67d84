"""Any command line ends with 0, 1 or 2, and says why not 0 without a traceback."""

import contextlib
import io
import os
from pathlib import Path

import pytest
import torch
from coco_squares import tiny_model, write_squares
from fuzzing import fuzz
from hypothesis import strategies as st

import sipmask_core as sm
from sipmask_core.cli import main as cli
from sipmask_core.errors import InputError

# By verb. Of each option, values that may be right are among those below.
OPTIONS = {
    "predict": "--output --no-overlay --json --score-threshold",
    "track": "--output --save-results --coco --json --fps --mode --lost-seconds",
    "dataset from-video": "--output --format --every --rate --limit --no-annotations",
    "dataset from-bag": "--output --topic --skip-similar --image-format",
    "train": "--annotations --images --output --preset --set --hold-out --init --resume --epochs"
    " --batch --lr --size --workers --precision --ema",
    "evaluate coco": "--annotations --images --results --hold-out --submission --limit --output"
    " --json --workers --restart",
    "evaluate youtube-vis": "--annotations --images --results --fps --mode --limit",
    "evaluate bag": "--topic --output --ground-truth --results --results-topic --json",
    "benchmark": "--images --size --runs --warmup --batch --plot --quick --instances",
    "export": "--output --size --image --format",
    "convert": "--preset --class-names --half --metadata",
    "presets": "--json",
}
# What does work, to go wrong from.
RIGHT = {
    "predict": "images/000.png --output out --json out.json",
    "track": "images --output out",
    "dataset from-video": "images --output out",
    "train": "--annotations coco.json --images images --output out --preset sipmask_r18_lite",
    "evaluate coco": "--annotations coco.json --images images",
    "benchmark": "--images images --json out.json",
    "export": "--output out.onnx",
    "convert": "model.safetensors out.safetensors",
}
MODEL = ["--checkpoint", "--preset", "--device", "--precision", "--threads", "--help", "--no"]
# What takes long, once all arguments are right.
WORK = (
    "sipmask_core.benchmark.models.benchmark_model",
    "sipmask_core.export_onnx",
    "sipmask_core.training.learner.Learner",
    "sipmask_core.model.cost.cost_of",
)


def enough(*arguments, **options):
    raise InputError("The arguments are right.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Work in a folder with files of every kind, right and wrong; do no work that takes long."""
    folder = tmp_path_factory.mktemp("command_line")
    annotations, _ = write_squares(folder / "squares", count=2)
    annotations.rename(folder / "coco.json")
    (folder / "squares" / "images").rename(folder / "images")
    sm.save_checkpoint(tiny_model(), folder / "model.safetensors")
    torch.save({"state_dict": {}}, folder / "empty.pth")
    (folder / "text.txt").write_text("square\n")
    (folder / "binary.mp4").write_bytes(bytes(range(256)))
    (folder / "list.json").write_text("[]")
    (folder / "folder").mkdir()
    (folder / "locked").write_text("")
    here, threads = Path.cwd(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("sipmask_core.inference.predictor.PRETRAINED", folder / "model.safetensors")
        for place in WORK:
            patches.setattr(place, enough)
        os.chdir(folder)
        yield folder
        os.chdir(here)
        torch.set_num_threads(threads)


FILES = ["coco.json", "images", "images/000.png", "model.safetensors", "empty.pth", "text.txt"]
FILES += ["binary.mp4", "list.json", "folder", "locked/inside", "nothing", "new/out.json", "."]
FILES += ["out.png", "out.mp4", "out.safetensors", "\0", "a\nb", "é" * 300, "-"]
NUMBERS = [
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "",
    "x",
    "1x1",
    "0x5",
    "1,0",
]
WORDS = ["cpu", "cuda:99", "auto", "fp32", "fp16", "coco", "online", "png", "sub_regions=9"]
WORDS += ["sipmask_r18_lite", "unknown", "k=v", "=", "/camera/image_raw"]
values = st.one_of(st.sampled_from(FILES), st.sampled_from(NUMBERS), st.sampled_from(WORDS))


@st.composite
def command_lines(draw):
    verb = draw(st.sampled_from(sorted(OPTIONS)))
    arguments = verb.split()
    if draw(st.booleans()):
        arguments += RIGHT.get(verb, "").split()
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["option", "option", "option", "bare", "model"]))
        if kind != "bare":
            arguments.append(
                draw(st.sampled_from(OPTIONS[verb].split() if kind == "option" else MODEL))
            )
        arguments += draw(st.lists(values, min_size=kind == "bare", max_size=1))
    return arguments


@fuzz(share=2, arguments=command_lines())
def test_any_command_line_ends_with_a_status_and_a_sentence(folder, arguments):
    stderr = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stderr):
        try:
            status = cli.main(arguments)
        except SystemExit as stopped:  # of argparse
            status = stopped.code
    complaint = stderr.getvalue()
    assert status in (0, 1, 2), (status, complaint)
    assert "Traceback" not in complaint
    if status:
        assert complaint.strip()

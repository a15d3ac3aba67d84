"""Two real processes, joined by gloo, against one process with the joined batch."""

import json
import subprocess
import sys

import pytest
import torch
from coco_squares import write_squares
from places import ROOT
from two_processes import PRESET, make_trainer, make_validation

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.errors import InputError
from sipmask_core.runtime.distributed import gathered, own_share, process_group

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # of `difference`: sums have another order; 1e-6 is usual


def torchrun(*arguments):
    """Run two processes. Return what they print."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with what two processes have done, and the means to do it again in one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("two")
    write_squares(folder / "data")
    model = sm.build_model(PRESET, class_names=("square",))
    sm.save_checkpoint(model, folder / "model.safetensors")
    torchrun(ROOT / "tests" / "helpers" / "two_processes.py", folder)
    yield folder
    torch.set_num_threads(before)


def weights(path):
    return torch.load(path / "last.pth", weights_only=True)["model"]


def log(path):
    lines = (path / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def difference(one, other, start):
    """Return how far apart two trainings ended, relative to how far they came from their start."""
    assert one.keys() == other.keys()
    names = [name for name, value in one.items() if value.is_floating_point()]
    apart = sum((one[name] - other[name]).norm().item() ** 2 for name in names)
    change = sum((one[name] - start[name]).norm().item() ** 2 for name in names)
    return (apart / change) ** 0.5


def initial(folder):
    model = make_trainer(folder, "unused").learner.model
    return {k: v.clone() for k, v in model.state_dict().items()}


def test_two_processes_train_as_one_with_the_joined_batch(folder):
    make_trainer(folder, "one").run()
    one, two, start = weights(folder / "one"), weights(folder / "global"), initial(folder)
    assert difference(one, two, start) < TOLERANCE
    for mine, theirs in zip(log(folder / "one"), log(folder / "global"), strict=True):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)


def test_local_normalisation_is_that_of_parts_worked_off_one_after_the_other(folder):
    make_trainer(folder, "parts", accumulate=2).run()
    start = initial(folder)
    local = weights(folder / "local")
    assert difference(weights(folder / "parts"), local, start) < TOLERANCE
    assert difference(weights(folder / "global"), local, start) > 100 * TOLERANCE


def test_all_processes_stop_together(folder):
    report = json.loads((folder / "report.json").read_text())
    assert report["interrupted"] == "KeyboardInterrupt"
    assert report["diverged"] == "DivergenceError"
    assert report["agreed"]
    assert len(log(folder / "stopped")) == 4  # the step under way was finished by both


def test_a_run_of_two_processes_goes_on_in_one(folder):
    resumed = make_trainer(folder, "stopped")
    resumed.resume()
    assert resumed.step == 4
    resumed.run()
    whole = weights(folder / "global")
    assert difference(weights(folder / "stopped"), whole, initial(folder)) < TOLERANCE


def test_a_run_that_depends_on_the_number_of_processes_keeps_it(folder):
    with pytest.raises(InputError, match=r"started with 2 processes, .* cannot go on with 1"):
        make_trainer(folder, "local", normalise="local").resume()


def test_figures_do_not_depend_on_the_number_of_processes(folder):
    model = sm.load_model(folder / "model.safetensors")
    report = json.loads((folder / "report.json").read_text())
    assert report["scores"] == make_validation(folder).score(model)


def test_results_do_not_depend_on_the_number_of_processes(folder):
    arguments = ["evaluate", "coco", "--annotations", folder / "data" / "squares.json"]
    arguments += ["--images", folder / "data" / "images", "--score-threshold", "0.001"]
    arguments += ["--checkpoint", folder / "model.safetensors", "--device", "cpu"]
    one, two = folder / "one.json", folder / "two.json"
    assert main([*map(str, arguments), "--save-results", str(one)]) == 0
    printed = torchrun("-m", "sipmask_core", *arguments, "--save-results", two)
    assert printed.count("6 images, ") == 1
    assert json.loads(one.read_text()) == json.loads(two.read_text()) != []


def test_a_batch_that_cannot_be_shared_equally_is_refused(folder, monkeypatch):
    monkeypatch.setattr("sipmask_core.training.loop.world_size", lambda: 4)
    with pytest.raises(InputError, match=r"batch of 2 images .* equally by 4 processes"):
        make_trainer(folder, "unused")


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group("cpu") as device:
        assert device == torch.device("cpu")
        assert own_share("ab") == "ab" and gathered(["a", "b"], 2) == ["a", "b"]
        assert not torch.distributed.is_initialized()

"""The `sipmask` command: verbs, help, exit statuses."""

import json
import shlex
import subprocess
import sys

import pytest
from places import ROOT

import sipmask_core as sm
from sipmask_core.cli import main as cli


def test_help_imports_neither_torch_nor_cv2():
    script = (
        "import sys; from sipmask_core.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'cv2'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "verbs" in done.stdout and done.stderr.strip() == "set()"


@pytest.mark.parametrize("verb", cli._VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"usage: sipmask {verb}" in text and "options:" in text


def test_python_dash_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "sipmask_core", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("sipmask ")


@pytest.mark.slow
def test_a_record_names_the_command_that_was_run_also_from_python(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["host_program.py", "--its-own"])
    place = tmp_path / "my presets.json"
    assert cli.main(["presets", "--json", str(place)]) == 0
    command = json.loads(place.read_text())["provenance"]["command"]
    assert shlex.split(command) == ["sipmask", "presets", "--json", str(place)]


@pytest.mark.parametrize("arguments", [[], ["no-such-verb"], ["benchmark", "--size", "12"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: sipmask" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", [["predict", "a.jpg"], ["evaluate", "coco", "--annotations", "a.json"]]
)
def test_an_option_that_its_verb_does_not_have_is_named_with_the_nearest(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*verb, "--checkpont=x", "--anotate"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith(f"usage: sipmask {' '.join(verb[:-1]).partition(' --')[0]} ")
    sentence = "unrecognized arguments: --checkpont=x --anotate; the nearest is --checkpoint"
    assert error.splitlines()[-1].endswith(f": error: {sentence}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: VERB"),
        (["predikt"], "argument VERB: invalid choice: 'predikt'"),
    ],
)
def test_a_missing_or_wrong_verb_is_called_a_verb(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert f"sipmask: error: {sentence}" in capsys.readouterr().err


def test_a_preset_that_does_not_exist_is_told_before_its_lack_of_weights(capsys):
    for preset, sentence in (
        ("sipmask_r50", "There is no preset 'sipmask_r50'"),
        ("sipmask_r18_lite", "--preset sipmask_r18_lite names a network without weights"),
    ):
        assert cli.main(["predict", "a.jpg", "--output", "seen", "--preset", preset]) == 2
        assert capsys.readouterr().err.startswith(f"sipmask: {sentence}")


def test_an_unknown_preset_is_one_sentence_without_traceback(capsys):
    assert cli.main(["benchmark", "--preset", "resnext"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sipmask: ") and "'resnext'" in error and error.count("\n") == 1


def test_an_interrupted_verb_exits_with_130(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sm, "convert_checkpoint", interrupt)
    assert cli.main(["convert", "a.pth", "b.safetensors"]) == 130


@pytest.mark.slow
def test_presets_lists_every_preset_with_its_size_and_the_page_has_the_same(tmp_path, capsys):
    assert cli.main(["presets", "--json", str(tmp_path / "presets.json")]) == 0
    text = capsys.readouterr().out
    rows = json.loads((tmp_path / "presets.json").read_text())["presets"]
    assert [row["name"] for row in rows] == sm.preset_names()
    assert all(row["name"] in text and row["parameters"] > 1_000_000 for row in rows)
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for row in rows:
        if sm.get_preset(row["name"]).inclusive_boxes:  # an official one
            figures = f"{row['parameters'] / 1e6:.1f} M | {row['flops'] / 1e9:.1f} |"
            (line,) = (x for x in page if x.startswith(f"| `{row['name']}` |") and "http" in x)
            assert figures in line


def test_convert_hands_over_its_arguments(tmp_path, monkeypatch):
    received = {}

    def convert(source, target, **options):
        received.update(options, source=source, target=target)
        return sm.get_preset("sipmask_r18_lite")

    monkeypatch.setattr(sm, "convert_checkpoint", convert)
    names = tmp_path / "names.txt"
    names.write_text("person\n\nbicycle \n")
    command = ["convert", "old.pth", "new.safetensors", "--preset", "p", "--class-names"]
    assert cli.main([*command, str(names)]) == 0
    assert received["preset"] == "p" and received["class_names"] == ("person", "bicycle")
    assert (str(received["source"]), str(received["target"])) == ("old.pth", "new.safetensors")


def test_convert_refuses_an_empty_list_of_names(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("\n")
    command = ["convert", "old.pth", "new.safetensors", "--class-names"]
    assert cli.main([*command, str(tmp_path / "names.txt")]) == 2
    assert "one class name a line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            sm.PredictionError("The network's outputs are not finite."),
            "sipmask: The network's outputs are not finite.",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore of it."),
            "sipmask: memory ran out. CUDA out of memory. Tried to allocate 20.00 GiB.",
        ),
        (MemoryError(), "sipmask: memory ran out."),
    ],
)
def test_what_cannot_be_computed_here_is_one_sentence(monkeypatch, capsys, error, sentence):
    def run(args):
        raise error

    monkeypatch.setattr("sipmask_core.cli.presets.run", run)
    assert cli.main(["presets"]) == 1
    assert capsys.readouterr().err == sentence + "\n"

from pathlib import Path

import pytest

import sipmask_core as sm
from sipmask_core.inference.load import load_segmenter, model_file
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.model.presets import PRESETS
from sipmask_core.weights.home import SHIPPED, find, folder, path_of, weights_file
from sipmask_core.weights.table import PUBLISHED

NAME = "sipmask_r50_caffe_fpn_ssd_gn_10x"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIPMASK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "weights"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SIPMASK_HOME": "/robot"}, "/robot/weights"),
        ({"SIPMASK_HOME": "~/robot"}, "/users/me/robot/weights"),
        ({"SIPMASK_HOME": ""}, "/users/me/.cache/sipmask/weights"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/sipmask/weights"),
        ({"XDG_CACHE_HOME": ""}, "/users/me/.cache/sipmask/weights"),
    ],
)
def test_weights_are_kept_where_the_user_says_or_in_the_cache(monkeypatch, variables, expected):
    for name in ("SIPMASK_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/users/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert folder() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    monkeypatch.setenv("SIPMASK_HOME", "~nobody-of-this-name/x")
    with pytest.raises(sm.InputError, match="set SIPMASK_HOME to a folder"):
        folder()


def test_every_published_preset_has_weights_and_no_two_share_a_file():
    authors = [name for name in PRESETS if name in PUBLISHED]
    assert len(authors) == len(PUBLISHED) == 13
    assert len({weights.drive_id for weights in PUBLISHED.values()}) == 13


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_that_are_not_here_name_the_command_that_fetches_them(name, home):
    for ask in (find, weights_file, load_segmenter, model_file, sm.Predictor.from_pretrained):
        with pytest.raises(sm.InputError) as caught:
            ask(name)
        assert f"`sipmask weights get {name}`" in str(caught.value)
        assert str(home) in str(caught.value)
    assert not home.exists()


def test_a_name_stands_for_its_file_and_a_file_of_that_name_goes_first(home, tmp_path):
    home.mkdir(parents=True)
    path_of(NAME).touch()
    assert find(NAME) == weights_file(NAME) == model_file(NAME) == home / f"{NAME}.safetensors"
    (tmp_path / NAME).touch()
    assert weights_file(NAME) == Path(NAME)


def test_a_folder_of_a_name_is_no_file_of_it(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(sm.InputError, match="sipmask weights get"):
        weights_file(NAME)


def test_the_model_that_ships_has_a_name():
    assert find(SHIPPED) == weights_file(SHIPPED) == PRETRAINED
    assert model_file("") == PRETRAINED


@pytest.mark.parametrize("ask", [find, weights_file, load_segmenter, sm.Predictor.from_pretrained])
def test_a_mistyped_name_gets_the_nearest(ask):
    with pytest.raises(sm.InputError, match=f"the nearest is {NAME}; .*weights list"):
        ask(f"{NAME}x")


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("nowhere.pth", r"There is no checkpoint file 'nowhere\.pth'\.$"),
        ("runs/best", "There is no checkpoint file 'runs/best'"),
        ("runs", "'runs' is a folder"),
        ("yolo", "There is no checkpoint file 'yolo', and no weights have that name; `sipmask"),
        ("a\0b", "There is no checkpoint file|cannot be the name of a file"),
        ("a" * 5000, "cannot be the name of a file"),
    ],
)
def test_what_is_no_model_is_one_sentence(tmp_path, model, complaint):
    (tmp_path / "runs").mkdir()
    with pytest.raises(sm.InputError, match=complaint):
        load_segmenter(model, "cpu")

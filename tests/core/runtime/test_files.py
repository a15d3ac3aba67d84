import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest

from sipmask_core.errors import InputError
from sipmask_core.runtime.files import (
    atomic_path,
    pending_path,
    require_writable,
    write_image,
    write_json,
    write_zip,
)


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.suffix == ".txt"
    assert path.read_text() == "whole"
    assert [file.name for file in path.parent.iterdir()] == ["result.txt"]


def test_a_failing_block_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]


def test_a_block_that_writes_nothing_changes_nothing(tmp_path):
    with atomic_path(tmp_path / "result.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path):
        pass


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="Cannot make the folder"):
        write_json(tmp_path / "taken" / "result.json", {})


def test_a_folder_that_is_removed_meanwhile_is_named(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with (
        pytest.raises(InputError, match=r"result\.txt: its folder was removed"),
        atomic_path(path) as temporary,
    ):
        temporary.write_text("whole")
        shutil.rmtree(path.parent)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_work_is_not_taken_for_one_of_the_file(tmp_path):
    with pytest.raises(BrokenPipeError), pending_path(tmp_path / "result.txt") as temporary:
        temporary.write_text("half")
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []


def test_json_reads_back(tmp_path):
    record = {"AP": 0.5, "names": ["ü"]}
    write_json(tmp_path / "result.json", record)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == record


def test_a_target_is_tried_without_being_touched(tmp_path):
    old = tmp_path / "old.json"
    old.write_text("old")
    for path in (old, tmp_path / "new" / "record.json"):
        require_writable(path)
    assert old.read_text() == "old" and list((tmp_path / "new").iterdir()) == []
    for path in (old / "record.json", tmp_path):
        with pytest.raises(InputError, match="Cannot"):
            require_writable(path)


def test_a_zip_has_the_one_file_and_the_same_bytes_for_the_same_content(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, "results.json", "[]")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["results.json"] and archive.read("results.json") == b"[]"


def test_an_image_comes_back_and_one_that_cannot_be_written_is_named(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    path = tmp_path / "new" / "ü.png"
    write_image(path, image)
    assert np.array_equal(cv2.imread(str(path)), image)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(InputError, match=r"Cannot write .*b\.png: it is a folder"):
        write_image(tmp_path / "b.png", image)

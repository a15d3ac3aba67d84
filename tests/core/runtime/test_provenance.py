import hashlib
import json
import shlex

import torch

from sipmask_core.runtime.provenance import provenance, sha256, sha256_of_all

COMMAND = ["sipmask", "predict"]


def test_a_file_is_hashed_by_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"pixels")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"pixels").hexdigest()


def test_a_hash_of_files_changes_with_contents_and_names(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = sha256_of_all([tmp_path / "a"])
    assert sha256_of_all([tmp_path / "a"]) == first
    (tmp_path / "a").write_bytes(b"2")
    second = sha256_of_all([tmp_path / "a"])
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, sha256_of_all([tmp_path / "b"])}) == 3


def test_only_the_files_used_in_a_folder_count(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = provenance(COMMAND, folders={tmp_path: [tmp_path / "a"]})
    (tmp_path / "unused").write_bytes(b"2")
    assert provenance(COMMAND, folders={tmp_path: [tmp_path / "a"]}) == first
    assert list(first["inputs"]) == [str(tmp_path)]


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert sha256(tmp_path / "a") is None


def test_the_command_can_be_pasted_into_a_shell():
    command = ["sipmask", "predict", "my photo.jpg", "--output", "$seen"]
    assert shlex.split(provenance(command)["command"]) == command


def test_a_stream_has_no_hash():
    assert sha256("rtsp://robot/camera") is None


def test_the_record_names_device_versions_and_inputs_and_is_json(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    record = provenance(COMMAND, [tmp_path / "a"], torch.device("cpu"))
    assert json.loads(json.dumps(record)) == record
    assert {"python", "torch", "numpy"} <= set(record["versions"])
    assert record["device"]["torch_device"] == "cpu" and record["device"]["cores"] >= 1
    assert list(record["inputs"]) == [str(tmp_path / "a")]


def test_the_same_work_gives_the_same_record(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    assert provenance(COMMAND, [tmp_path / "a"]) == provenance(COMMAND, [tmp_path / "a"])

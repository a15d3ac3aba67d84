import hashlib
import json

import torch

from sipmask_core.provenance import provenance, sha256


def test_a_file_is_hashed_by_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"pixels")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"pixels").hexdigest()


def test_a_folder_changes_with_contents_and_names(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = sha256(tmp_path)
    assert sha256(tmp_path) == first
    (tmp_path / "a").write_bytes(b"2")
    second = sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, sha256(tmp_path)}) == 3


def test_a_stream_has_no_hash():
    assert sha256("rtsp://robot/camera") is None


def test_the_record_names_device_versions_and_inputs_and_is_json(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    record = provenance([tmp_path / "a"], torch.device("cpu"))
    assert json.loads(json.dumps(record)) == record
    assert {"python", "torch", "numpy"} <= set(record["versions"])
    assert record["device"]["torch_device"] == "cpu" and record["device"]["cores"] >= 1
    assert list(record["inputs"]) == [str(tmp_path / "a")]


def test_the_same_work_gives_the_same_record(tmp_path):
    assert provenance([tmp_path]) == provenance([tmp_path])

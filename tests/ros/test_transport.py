import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ament_index_python", reason="no ROS 2 in this environment")

from sipmask_ros.transport import (
    PROFILE_VARIABLES,
    UNTOUCHED,
    advice_on_losses,
    free_orphaned_memory,
    prepare_for_images,
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


@pytest.fixture
def room(monkeypatch):
    """Return what decides how many MB of shared memory are free."""

    def room(megabytes):
        monkeypatch.setattr(
            os, "statvfs", lambda _: SimpleNamespace(f_bavail=megabytes, f_frsize=1 << 20)
        )

    return room


def profiles():
    return [os.environ[name] for name in PROFILE_VARIABLES if name in os.environ]


def test_fast_dds_gets_the_shared_memory_profile(room, capsys):
    room(71)
    prepare_for_images()
    (file,) = profiles()
    assert "<segment_size>67108864</segment_size>" in Path(file).read_text()
    assert capsys.readouterr().err == ""


def test_fast_dds_takes_the_profile_and_does_not_complain():
    program = """
import rclpy
from sipmask_ros.transport import prepare_for_images
prepare_for_images()
rclpy.init()
node = rclpy.create_node("sharing")
for line in open("/proc/self/maps"):
    if "/dev/shm/fast" in line:
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        print(end - start)
rclpy.shutdown()
"""
    environment = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert max(map(int, run.stdout.split())) >= 64 << 20


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4"),
        ("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
        ("RMW_IMPLEMENTATION", "rmw_zenoh_cpp"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
        *UNTOUCHED.items(),
    ],
)
def test_what_the_user_chose_stays_without_a_word(room, monkeypatch, capsys, variable, value):
    room(1)
    monkeypatch.setenv(variable, value)
    prepare_for_images()
    assert os.environ[variable] == value
    assert all(name == variable or name not in os.environ for name in PROFILE_VARIABLES)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("variable", PROFILE_VARIABLES)
def test_a_profile_of_the_user_counts_by_either_name(room, monkeypatch, capsys, variable):
    room(71)
    prepare_for_images()
    (read,) = [name for name in PROFILE_VARIABLES if name in os.environ]
    monkeypatch.delenv(read)
    monkeypatch.setenv(variable, "/etc/own.xml")
    prepare_for_images()
    assert {name: os.environ[name] for name in PROFILE_VARIABLES if name in os.environ} == {
        read: "/etc/own.xml"
    }
    assert capsys.readouterr() == ("", "")


def test_a_profile_by_each_name_stays_with_its_name(room, monkeypatch):
    room(71)
    for name in PROFILE_VARIABLES:
        monkeypatch.setenv(name, f"/etc/{name}.xml")
    prepare_for_images()
    assert profiles() == [f"/etc/{name}.xml" for name in PROFILE_VARIABLES]


@pytest.mark.parametrize("free", [63, 8, 4])
def test_where_shared_memory_is_scarce_the_segment_is_smaller_and_that_is_said(room, capsys, free):
    room(free)
    prepare_for_images()
    size = (free // 4) << 20
    (file,) = profiles()
    text = Path(file).read_text()
    assert f"<segment_size>{size}</segment_size>" in text and text.endswith("</dds>\n")
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence == (
        f"/dev/shm has {free} MB free, a shared-memory segment for camera images takes 70: one of"
        f" {free // 4} MB is used, and large images may be lost. Give it more, in Docker by"
        " --shm-size=512m."
    )


@pytest.mark.parametrize("free", [3, 0])
def test_without_room_for_any_segment_fast_dds_stays_as_it_is(room, capsys, free):
    room(free)
    prepare_for_images()
    assert profiles() == []
    assert "takes 70: none is used" in capsys.readouterr().err


def test_a_profile_that_cannot_be_written_is_none(room, capsys, monkeypatch, tmp_path):
    room(63)
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    prepare_for_images()
    assert profiles() == []
    assert "none is used" in capsys.readouterr().err


def test_advice_on_losses_names_what_can_be_set(monkeypatch):
    advice = advice_on_losses("best_effort")
    assert any(f"start it with {name} set to /" in advice for name in PROFILE_VARIABLES)
    assert "reliability to auto" in advice
    assert "reliability" not in advice_on_losses("reliable")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    assert advice_on_losses("best_effort").startswith("Set the parameter reliability to auto; or")


def test_image_buffers_are_kept_by_the_process_not_mapped_anew():
    """Count page faults: with glibc's defaults every 3 MB buffer is mapped anew, page by page."""
    program = """
import resource
from sipmask_ros.transport import prepare_for_images
prepare_for_images()
bytearray(3 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    bytearray(3 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    pages = 100 * (3 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert int(run.stdout) < pages / 10


def test_free_memory_goes_back_to_the_system_when_asked():
    program = """
import os
from sipmask_ros.transport import prepare_for_images, release_free_memory
from sipmask_ros.trials.usage import usage_of
def allocated():
    return usage_of(os.getpid()).anonymous >> 20
prepare_for_images()
before = allocated()
blocks = [bytearray(100_000) for _ in range(2_000)]
last = bytearray(100_000)  # above them in the heap
del blocks
kept = allocated() - before
release_free_memory()
print(kept, allocated() - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    kept, left = map(int, run.stdout.split())
    assert kept > 150 and left < 20


def test_shared_memory_of_killed_processes_is_freed_and_that_of_living_ones_stays(
    tmp_path, monkeypatch
):
    locked = []
    flock = fcntl.flock

    def noted(file, how):
        locked.append(Path(file.name).name)
        flock(file, how)

    killed, living, starting = (f"fastrtps_{digit * 16}" for digit in "abc")
    others = ["fastrtps_port7413", "fastrtps_port7413_el", "somebody_else"]
    for name in (killed, living, starting):
        others += [name, f"{name}_el"]
    for name in others:
        (tmp_path / name).write_bytes(b"pixels")
        if starting not in name:
            os.utime(tmp_path / name, (1e9, 1e9))
    with (tmp_path / f"{living}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", noted)
        free_orphaned_memory(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == set(others) - {killed, f"{killed}_el"}
    assert f"{starting}_el" not in locked, "it would find its own file taken"

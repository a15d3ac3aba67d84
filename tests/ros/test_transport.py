import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ament_index_python", reason="no ROS 2 in this environment")

from sipmask_ros.transport import (
    PROFILE_VARIABLES,
    UNTOUCHED,
    free_orphaned_memory,
    prepare_for_images,
)


def test_fast_dds_gets_the_shared_memory_profile(monkeypatch):
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    prepare_for_images()
    for name in PROFILE_VARIABLES:
        profile = Path(os.environ[name]).read_text()
        assert "<segment_size>67108864</segment_size>" in profile
        monkeypatch.delenv(name)


def test_a_profile_of_the_user_stays(monkeypatch):
    monkeypatch.delenv(PROFILE_VARIABLES[1], raising=False)
    monkeypatch.setenv(PROFILE_VARIABLES[0], "/etc/own.xml")
    prepare_for_images()
    assert os.environ[PROFILE_VARIABLES[0]] == "/etc/own.xml"
    assert PROFILE_VARIABLES[1] not in os.environ


def test_the_system_s_settings_stay_where_that_is_wished(monkeypatch):
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in UNTOUCHED.items():
        monkeypatch.setenv(name, value)
    prepare_for_images()
    assert not any(name in os.environ for name in PROFILE_VARIABLES)


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

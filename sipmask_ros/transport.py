"""Settings of the process that let camera images pass at full rate."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

# One of Fast DDS 2 (Jazzy) and one of Fast DDS 3 (Kilted).
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

# Set to "system", it leaves both as the system has them.
_VARIABLE = "SIPMASK_TRANSPORT"
UNTOUCHED = {_VARIABLE: "system"}

_SHARED_MEMORY = Path("/dev/shm")
_STARTING = 10.0  # seconds that a process may take from making a lock file to holding it

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare_for_images() -> None:
    """Give Fast DDS a shared-memory segment of image size and keep image buffers from the kernel.

    What killed processes have left of such segments is freed.

    Call it before rclpy.init. A profile that the user set stays, and with SIPMASK_TRANSPORT=system
    in the environment nothing is changed. Without the segment most images of 1280 x 720 are lost
    between processes; without the malloc thresholds each one is mapped, cleared and unmapped anew,
    which takes three times the CPU.
    """
    if os.environ.get(_VARIABLE) == UNTOUCHED[_VARIABLE]:
        return
    free_orphaned_memory()
    profile = _shared_memory_profile()
    if profile.is_file() and not any(name in os.environ for name in PROFILE_VARIABLES):
        for name in PROFILE_VARIABLES:
            os.environ[name] = str(profile)

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def release_free_memory() -> None:
    """Give the kernel what nobody uses of the memory that `prepare_for_images` has kept.

    For after a model was loaded, which takes several times what the model then needs.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if malloc_trim is not None:
        malloc_trim(0)


def free_orphaned_memory(folder: Path = _SHARED_MEMORY) -> None:
    """Remove the shared memory of processes that were killed before they could do so.

    Fast DDS leaves it there until the machine restarts: with segments of image size, 70 MB for each
    kill. As its own `fastdds shm clean`, this goes by the lock file that a living process holds.
    """
    for lock in folder.glob(f"fast*_{16 * '[0-9a-f]'}_el"):
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A process that starts makes the file first and locks it then.
            if time.time() - lock.stat().st_mtime > _STARTING:
                lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
                lock.unlink()


def _shared_memory_profile() -> Path:
    """The file of the installed package, or where it would be in the source tree."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = Path(get_package_share_directory("sipmask_ros"))
    except PackageNotFoundError:
        share = Path(__file__).parents[1]
    return share / "config" / "fastdds_shm.xml"

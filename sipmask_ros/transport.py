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

# Set to "system", it leaves DDS and malloc as the system has them.
_VARIABLE = "SIPMASK_TRANSPORT"
UNTOUCHED = {_VARIABLE: "system"}

_SHARED_MEMORY = Path("/dev/shm")
_STARTING = 10.0  # seconds that a process may take from making a lock file to holding it

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare_for_images() -> None:
    """Give Fast DDS a shared-memory segment of image size and let freed image buffers be reused.

    Also free the segments that killed processes have left.

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
    """Give back to the kernel what is free of the memory that `prepare_for_images` makes us keep.

    Call it after a model was loaded, which takes several times what the model then needs.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if malloc_trim is not None:
        malloc_trim(0)


def free_orphaned_memory(folder: Path = _SHARED_MEMORY) -> None:
    """Remove the shared memory of processes that were killed before they could do so.

    Fast DDS leaves it there until the machine restarts: with segments of image size, 70 MB for each
    kill. Like its own `fastdds shm clean`, this goes by the lock file that a living process holds.
    """
    for lock in folder.glob(f"fast*_{16 * '[0-9a-f]'}_el"):
        with suppress(OSError), lock.open("rb") as file:
            # A starting process makes the file before it locks it; a file that new is left alone.
            if time.time() - os.fstat(file.fileno()).st_mtime > _STARTING:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
                lock.unlink()


def _shared_memory_profile() -> Path:
    """Return the file of the installed package, or where it would be in the source tree."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = Path(get_package_share_directory("sipmask_ros"))
    except PackageNotFoundError:
        share = Path(__file__).parents[1]
    return share / "config" / "fastdds_shm.xml"

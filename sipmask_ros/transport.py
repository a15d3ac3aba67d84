"""How a process joins ROS, with settings that let camera images pass at full rate."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import rclpy

from sipmask_core.errors import InputError
from sipmask_core.runtime.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

# The one that Fast DDS 2 reads (Jazzy) and the one that Fast DDS 3 reads (Kilted and later).
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# By it a user chooses transports, which a profile would override.
_TRANSPORTS_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"

# Set to "system", it leaves DDS and malloc as the system has them.
_VARIABLE = "SIPMASK_TRANSPORT"
UNTOUCHED = {_VARIABLE: "system"}

_SHARED_MEMORY = Path("/dev/shm")
_STARTING = 10.0  # seconds that a process may take from making a lock file to holding it
_SEGMENT = re.compile(r"(?<=<segment_size>)\d+(?=</segment_size>)")
# Fast DDS takes a tenth more than the segment, for what it notes about its parts.
_OVERHEAD = 1.1
# Where the segment does not fit, several processes share what there is: one takes this part.
_SHARE = 4

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

# Lines of ROS's own sources, which end its sentences.
_SOURCES = re.compile(r"(, at [^ ,]+:\d+)+$")


def join_ros(arguments: Sequence[str] | None, **options: Any) -> None:
    """Call `rclpy.init`. Raise InputError if an argument or a parameter file cannot be read."""
    try:
        rclpy.init(args=arguments, **options)
    except RuntimeError as error:  # the base of rclpy's, which have no public names
        reason = _SOURCES.sub("", " ".join(str(error).split()))
        raise InputError(
            "ROS does not start with these arguments and this environment: "
            + reason.removeprefix("failed to initialize rcl: ")
        ) from error


def prepare_for_images() -> None:
    """Give Fast DDS a shared-memory segment of image size and let freed image buffers be reused.

    Also free the segments that killed processes have left. Other middlewares are left alone.

    Call it before rclpy.init. A profile or transports that the user set stay, the profile whichever
    of PROFILE_VARIABLES names it, and with SIPMASK_TRANSPORT=system in the environment nothing is
    changed. Without the segment most images of 1280 x 720 are lost between processes; if /dev/shm
    has no room for it, a smaller one is taken and stderr says so. Without the malloc thresholds
    each image buffer is mapped, cleared and unmapped anew, which takes three times the CPU.
    """
    if os.environ.get(_VARIABLE) == UNTOUCHED[_VARIABLE]:
        return
    if uses_fast_dds():
        free_orphaned_memory()
        _choose_segment(_SHARED_MEMORY)

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def uses_fast_dds() -> bool:
    """Return whether Fast DDS is the middleware, as it is unless the user chose another."""
    return os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps")


def _choose_segment(folder: Path) -> None:
    """Make Fast DDS use our profile, unless the user has set something else.

    folder: that of shared memory. If the segment does not fit there, make it smaller and say so.
    """
    name = _profile_variable()
    (other,) = set(PROFILE_VARIABLES) - {name}
    if name not in os.environ and other in os.environ:
        # The user's profile, under a name that this Fast DDS does not read, or complains of.
        os.environ[name] = os.environ.pop(other)
    profile = shared_memory_profile()
    if name in os.environ or _TRANSPORTS_VARIABLE in os.environ or not profile.is_file():
        return
    path: str | None = str(profile)
    wanted, free = _segment_of(profile), _free_bytes(folder)
    if free < _OVERHEAD * wanted:
        megabytes = (free >> 20) // _SHARE
        path = _smaller(profile, megabytes) if megabytes else None
        used = f"one of {megabytes} MB" if path else "none"
        print(
            f"{folder} has {free >> 20} MB free, a shared-memory segment for camera images takes"
            f" {int(_OVERHEAD * wanted) >> 20}: {used} is used, and large images may be lost. Give"
            " it more, in Docker by --shm-size=512m.",
            file=sys.stderr,
        )
    if path:
        os.environ[name] = path


def _segment_of(profile: Path) -> int:
    (size,) = _SEGMENT.findall(profile.read_text(encoding="utf-8"))
    return int(size)


def _free_bytes(folder: Path) -> int:
    """Return how much may still be written there; 0 if the folder does not exist."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def _smaller(profile: Path, megabytes: int) -> str | None:
    """Return a file with the profile for a segment of this size; None if it cannot be written.

    There is one for each size and user, which stays.
    """
    path = Path(tempfile.gettempdir()) / f"fastdds_shm_{os.getuid()}_{megabytes}MB.xml"
    text = _SEGMENT.sub(str(megabytes << 20), profile.read_text(encoding="utf-8"))
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except InputError:
        return None
    return str(path)


def advice_on_losses(reliability: str) -> str:
    """Say what to set if images are lost on the way to a subscription of this reliability."""
    remedies = []
    if uses_fast_dds():
        remedies.append(
            f"if the camera runs on this machine, start it with {_profile_variable()} set to"
            f" {shared_memory_profile()}"
        )
    if reliability != "reliable":
        remedies.append("set the parameter reliability to auto")
    remedies.append("send smaller images, or compressed ones with transport compressed")
    sentence = "; or ".join(remedies)
    return f"{sentence[0].upper()}{sentence[1:]}."


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


def shared_memory_profile() -> Path:
    """Return the file of the installed package, or where it would be in the source tree."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = Path(get_package_share_directory("sipmask_ros"))
    except PackageNotFoundError:
        share = Path(__file__).parents[1]
    return share / "config" / "fastdds_shm.xml"


def _profile_variable() -> str:
    """Return the name that the installed Fast DDS reads; 3 complains if that of 2 is set."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        package = Path(get_package_share_directory("rmw_fastrtps_cpp")) / "package.xml"
    except PackageNotFoundError:
        return PROFILE_VARIABLES[-1]
    version = ElementTree.parse(package).findtext("version", "")
    return PROFILE_VARIABLES[int(version.partition(".")[0]) >= 9]  # 9 is built on Fast DDS 3

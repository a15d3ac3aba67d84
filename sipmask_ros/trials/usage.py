"""What a process takes from the machine, as Linux tells it: memory, file handles, threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What one process takes at one moment. Memory in bytes.

    rss: all that is resident. pss: the same with shared pages divided by those who share them.
    anonymous: what the process has allocated, swapped or not, in no file and, unlike the unshared
    part of the others, not dependent on which libraries other processes have loaded.
    """

    rss: int
    pss: int
    anonymous: int
    handles: int
    threads: int


def usage_of(pid: int) -> Usage:
    """Read it from /proc (proc_pid_smaps(5), proc_pid_fd(5)). Raise OSError once it has ended."""
    process = Path("/proc") / str(pid)
    pages = {}  # in KiB, by name
    for line in (process / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, size, _ = line.split()
        pages[name.rstrip(":")] = int(size)
    return Usage(
        rss=1024 * pages["Rss"],
        pss=1024 * pages["Pss"],
        anonymous=1024 * (pages["Anonymous"] + pages["Swap"]),
        handles=sum(1 for _ in (process / "fd").iterdir()),
        threads=sum(1 for _ in (process / "task").iterdir()),
    )

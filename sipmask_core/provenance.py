"""What stands beside every number: the machine, the versions and the hashes of the inputs."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

_PACKAGES = ("sipmask-core", "torch", "torchvision", "numpy", "opencv-python-headless")


def provenance(
    inputs: Iterable[Path | str] = (), device: torch.device | None = None
) -> dict[str, Any]:
    """The record that a `--json` file carries under "provenance".

    inputs: files or folders that the numbers depend on; each is hashed with SHA-256.
    device: where the model ran; None for work without a model.

    The record holds no time stamp: the same work on the same machine gives the same record.
    """
    program = Path(sys.argv[0]).name.replace("__main__.py", "sipmask")
    return {
        "command": " ".join([program, *sys.argv[1:]]),
        "device": describe_device(device),
        "versions": {"python": platform.python_version(), **package_versions()},
        "inputs": {str(path): sha256(path) for path in inputs},
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that numbers depend on; absent ones are left out."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_device(device: torch.device | None) -> dict[str, Any]:
    """Name the processor, its cores and, for CUDA, the GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    description: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": _processor_name(),
        "cores": cores,
    }
    if device is not None:
        import torch

        description["torch_device"] = str(device)
        description["torch_threads"] = torch.get_num_threads()
        if device.type == "cuda":
            description["gpu"] = torch.cuda.get_device_name(device)
    return description


def sha256(path: Path | str) -> str | None:
    """SHA-256 of a file, or of a folder's file names and contents; None where nothing is stored.

    Cameras and streams have no content to hash, hence None for what is neither file nor folder.
    """
    path = Path(path)
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _processor_name() -> str:
    """The model name from /proc/cpuinfo where there is one: platform.processor() is empty there."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

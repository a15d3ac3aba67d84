"""The record that goes with every number: machine, versions and hashes of the inputs."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch

_PACKAGES = (
    "sipmask-core",
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
)


def provenance(
    command: Sequence[str],
    inputs: Iterable[Path | str] = (),
    device: torch.device | None = None,
    folders: Mapping[Path | str, Iterable[Path]] | None = None,
) -> dict[str, Any]:
    """Make the record that a `--json` file carries under "provenance".

    command: the words of the command line that does this work.
    inputs: files that the numbers depend on; each is hashed with SHA-256.
    device: where the model ran; None for work without a model.
    folders: by folder, the files in it that the numbers depend on; they get one hash together.

    The record holds no time stamp: the same work on the same machine gives the same record.
    """
    return {
        "command": shlex.join(command),
        "device": describe_device(device),
        "versions": {"python": platform.python_version(), **package_versions()},
        "inputs": {
            **{str(path): sha256(path) for path in inputs},
            **{str(folder): sha256_of_all(files) for folder, files in (folders or {}).items()},
        },
    }


def package_versions() -> dict[str, str]:
    """Return the versions of installed packages that numbers depend on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_device(device: torch.device | None) -> dict[str, Any]:
    """Describe the platform, the processor, its cores and, if given, the device of torch."""
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
    """Hash a file with SHA-256; None for a camera, a stream and a file that cannot be read."""
    path = Path(path)
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def sha256_of_all(files: Iterable[Path]) -> str:
    """Hash the names and contents of files, in their given order, with one SHA-256."""
    digest = hashlib.sha256()
    for file in files:
        line = f"{file.name}\0{sha256(file)}\n"
        digest.update(line.encode(errors="surrogateescape"))  # a name may be any bytes
    return digest.hexdigest()


def _processor_name() -> str:
    """Return the processor's model name.

    It comes from /proc/cpuinfo if that exists, because platform.processor() is empty there.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

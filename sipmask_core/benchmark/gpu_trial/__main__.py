"""Put a GPU through everything that needs one, and keep what it says in a folder.

Each step is a process of its own with a limit of time, and leaves a file named after it. One that
fails does not stop the others.

  python -m sipmask_core.benchmark.gpu_trial gpu
  python -m sipmask_core.benchmark.gpu_trial gpu --steps look,profile
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import parsed
from sipmask_core.runtime.devices import choose_device
from sipmask_core.runtime.files import make_folder, write_json
from sipmask_core.runtime.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

PRESETS = "shipped,sipmask_r50_caffe_fpn_ssd_gn_10x,sipmask_r50_caffe_fpn_gn_1x"
SHOWN_LINES = 40  # of a step's output, on the terminal


class Step(NamedTuple):
    """A command and its limit in seconds."""

    command: tuple[str, ...]
    limit: int


def steps(folder: Path, device: str) -> dict[str, Step]:
    """Return the steps in their order, by name; files they make lie in the folder."""
    python = (sys.executable, "-m")
    return {
        "driver": Step(("nvidia-smi",), 30),
        "look": Step((*_module("look"), device, str(folder / "look.json")), 300),
        "tests": Step((*python, "pytest", "-m", "cuda", "-v", "-p", "no:cacheprovider"), 600),
        "benchmark": Step(
            (
                *(*python, "sipmask_core", "benchmark", "--device", device, "--preset", PRESETS),
                *("--runs", "200", "--warmup", "50", "--json", str(folder / "benchmark.json")),
                *("--plot", str(folder / "benchmark.png")),
            ),
            900,
        ),
        "profile": Step((*_module("profile"), device, str(folder / "trace.json.gz")), 300),
        "alternatives": Step((*_module("alternatives"), device), 600),
        "sanitizer": Step(
            (
                *("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "7"),
                *(*_module("look"), device, str(folder / "sanitized.json"), "--once"),
            ),
            600,
        ),
    }


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"sipmask_core.benchmark.gpu_trial.{name}")


def run_step(name: str, step: Step, folder: Path) -> str:
    """Run a step, its output in a file; return what became of it."""
    if shutil.which(step.command[0]) is None:
        return f"left out, there is no {step.command[0]}"
    output = folder / f"{name}.txt"
    began = time.perf_counter()
    with output.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                step.command, stdout=file, stderr=subprocess.STDOUT, timeout=step.limit, check=False
            )
            result = "done" if done.returncode == 0 else f"failed, exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            result = f"failed, not done after {step.limit} s"
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    print("\n".join(lines[-SHOWN_LINES:]))
    return f"{result} ({time.perf_counter() - began:.0f} s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; return 0, 1 if one failed, 2 without a GPU or for a wrong name."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m sipmask_core.benchmark.gpu_trial", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N")
    parser.add_argument("--steps", help="those to run, separated by commas (default: all)")
    args = parsed(parser, arguments)
    try:
        device = choose_device(args.device)
        if device.type != "cuda":
            raise InputError(f"device is {args.device!r}; it must be cuda or cuda:N.")
        known = steps(args.folder, str(device))
        chosen = args.steps.split(",") if args.steps else list(known)
        for name in chosen:
            if name not in known:
                raise InputError(f"There is no step {name!r}; it must be of {', '.join(known)}.")
        make_folder(args.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    results = {}
    for name in chosen:
        print(f"\n== {name}", flush=True)
        results[name] = run_step(name, known[name], args.folder)
        print(f"== {name}: {results[name]}", flush=True)
        write_json(
            args.folder / "summary.json",
            {"steps": results, "provenance": provenance(args.command, device=device)},
        )
    print(f"\nEverything is in {args.folder}.")
    return int(any(result.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())

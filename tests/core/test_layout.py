"""How the folders of both packages hang together; `make lint` holds their layers besides."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import sipmask_core

ROOT = Path(sipmask_core.__file__).resolve().parents[1]


def folder(module: str) -> str:
    """Return the folder below its package that a module lies in, or the module if it is flat."""
    return ".".join(module.split(".")[:2])


def test_no_folders_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("sipmask_core", "sipmask_ros")
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        others = map(folder, graph.find_modules_directly_imported_by(module))
        imports.setdefault(folder(module), set()).update(set(others) - {folder(module)})
    TopologicalSorter(imports).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize(("package", "most"), [("sipmask_core", 8), ("sipmask_ros", 6)])
def test_few_modules_lie_flat_in_a_package(package: str, most: int) -> None:
    flat = {path.name for path in (ROOT / package).glob("[!_]*.py")}
    assert len(flat) <= most, sorted(flat)

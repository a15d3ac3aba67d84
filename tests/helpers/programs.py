"""Runs the programs of docs/programs in the process of the tests."""

import runpy
import sys

from places import ROOT

PROGRAMS = ROOT / "docs" / "programs"


def names_of(name, folder=PROGRAMS):
    """Return the names that a program defines, without running its main."""
    return runpy.run_path(str(folder / f"{name}.py"), run_name="program")


def run(monkeypatch, name, *arguments, folder=PROGRAMS):
    """Run a program with these arguments; it must end well."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    assert not names_of(name, folder)["main"]()

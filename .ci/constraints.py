"""Prints the installed versions as pip constraints, for every supported Python.

A version that has dropped an older Python carries a marker, so that pip picks for itself there.
"""

from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
NOT_PINNED = {"pip", "setuptools", "sipmask-core"}


def constraint(name: str, version: str, requires_python: str) -> str:
    """One line of the file; a local suffix such as +cpu is dropped, so that other builds fit."""
    pin = f"{name}=={Version(version).public}"
    allowed = [python for python in SUPPORTED if python in SpecifierSet(requires_python)]
    if allowed[0] == SUPPORTED[0]:
        return pin
    return f'{pin} ; python_version >= "{allowed[0]}"'


pins = {
    canonicalize_name(d.metadata["Name"]): (d.version, d.metadata.get("Requires-Python") or "")
    for d in distributions()
    if d.read_text("INSTALLER")  # what pip installed, not what a wheel brought inside
}
print("# Versions that were tested together; `make constraints` renews this file.")
for name in sorted(pins.keys() - NOT_PINNED):
    print(constraint(name, *pins[name]))

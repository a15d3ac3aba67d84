"""Entries of a file that cannot be used: gathered by kind, and told in one go."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMED = 5  # entries of each kind


class Invalid(Exception):  # noqa: N818 -- never leaves the package's readers
    """An entry cannot be used; its message continues the entry's name: ".id is None, expected ...".

    kind: the same for all entries that are wrong in this way.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def wrong_field(field: str, value: Any, expected: str, kind: str = "") -> Invalid:
    """Return what to raise for a field whose value is not what is expected."""
    name = field.partition("[")[0]  # bboxes[3] is wrong as bboxes[4] is
    return Invalid(f"{name}: {kind or expected}", f".{field} is {brief(value)}, {expected}")


def brief(value: Any) -> str:
    """Return a value as messages show it, 60 characters and an ellipsis at most."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


class Problems:
    """What is wrong in one section of a file, gathered while it is read."""

    def __init__(self, path: Path, section: str) -> None:
        self._path = path
        self._section = section
        self._found: dict[str, list[tuple[str, str]]] = {}  # by kind: names of entries, messages

    @contextmanager
    def noting(self, place: int, entry: Any) -> Iterator[None]:
        """Take down an `Invalid` that the block raises about the entry at this place (0 is first).

        An entry without an id of its own is named by its place.
        """
        try:
            yield
        except Invalid as problem:
            own = entry.get("id") if isinstance(entry, dict) else None
            name = f"[{place}]" if own is None else f"[id={brief(own)}]"
            self._found.setdefault(problem.kind, []).append((name, str(problem)))

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def sentence(self, total: int, verdict: str = "cannot be used") -> str:
        """Say how many of the section's entries are wrong, in which ways, and which ones.

        Each kind comes with its number, its first NAMED entries and what is wrong with the first.
        """
        if len(self) == 1:
            ((name, message),) = next(iter(self._found.values()))
            return f"{self._path}: {self._section}{name}{message}"
        kinds = []
        for cases in self._found.values():
            name, message = cases[0]
            named = ", ".join(case.strip("[]").removeprefix("id=") for case, _ in cases[:NAMED])
            kinds.append(
                f"{len(cases)} as {self._section}{name}{message}"
                f" ({'places' if name[1].isdigit() else 'ids'} {named}"
                f"{', ...' * (len(cases) > NAMED)})"
            )
        counts = f"{len(self)} of {total} {self._section} {verdict}"
        return f"{self._path}: {counts}: {'; '.join(kinds)}"

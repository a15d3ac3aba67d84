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

    def sentence(self, total: int) -> str:
        """Say which of the section's `total` entries are wrong, and in which ways."""
        if len(self) == 1:
            return f"{self._path}: {self.kinds()}."
        count = f"{len(self)} of {total} {self._section} cannot be used"
        return f"{self._path}: {count}: {self.kinds()}."

    def kinds(self) -> str:
        """Tell each kind with its number, its first NAMED entries and what is wrong with the first.

        Of a single entry, what is wrong is all.
        """
        kinds = []
        for cases in self._found.values():
            name, message = cases[0]
            kind = f"{self._section}{name}{message}"
            if len(cases) > 1:
                named = ", ".join(case.strip("[]").removeprefix("id=") for case, _ in cases[:NAMED])
                more = ", ..." * (len(cases) > NAMED)
                kind = f"{len(cases)} as {kind} ({_names_are(name)} {named}{more})"
            kinds.append(kind)
        return "; ".join(kinds)


def _names_are(name: str) -> str:
    return "ids" if name.startswith("[id=") else "places"

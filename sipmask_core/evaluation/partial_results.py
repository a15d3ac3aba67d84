"""What a long evaluation has finished, kept on disk, so that the same command can go on from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError
from sipmask_core.runtime.files import PiecewiseWriter, make_folder, writing

if TYPE_CHECKING:
    from contextlib import ExitStack

_SHOWN = 60  # characters of a value in a message


class PartialResults(PiecewiseWriter):
    """JSON lines beside a results file: what decides the results, then [id, value] for each item.

    results: the file that the complete results will have; this one has `.partial` added to its
        name, and missing folders are made.
    made_by: everything that decides the results, as JSON values by name: hashes of model and
        annotations, thresholds, precision, ...
    restart: forget what an earlier run has left.

    `done` has the values of finished items by id, also those of an earlier run with the same
    `made_by`. A last line that was cut short, as when the process was killed, is dropped. Use it as
    a context manager, and call `remove` once the complete results are written; a file without any
    item is not left behind. Raise InputError if the file was made by something else or cannot be
    written.
    """

    def __init__(
        self, results: Path | str, made_by: dict[str, Any], *, restart: bool = False
    ) -> None:
        results = Path(results)
        self.path = results.with_name(f"{results.name}.partial")
        self.done: dict[int, Any] = {}
        self._made_by = json.loads(json.dumps(made_by))  # as the file has it: tuples are lists
        self._restart = restart

    def _open(self, stack: ExitStack) -> None:
        make_folder(self.path.parent)
        fresh = self._restart or not self.path.exists()
        end = 0 if fresh else self._read(self.path.read_bytes())
        stack.callback(self._remove_if_empty)
        self._file = stack.enter_context(self.path.open("ab"))
        self._file.truncate(end)
        if end == 0:
            self._append({"made_by": self._made_by})

    def _remove_if_empty(self) -> None:
        if not self.done:
            self.path.unlink(missing_ok=True)

    def add(self, item_id: int, value: Any) -> None:
        """Keep the finished item's value, anything that JSON can hold."""
        with writing(self.path):
            self._append([item_id, value])
        self.done[item_id] = value

    def remove(self) -> None:
        """Delete the file; nothing can be added any more."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _append(self, line: Any) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _read(self, content: bytes) -> int:
        """Fill `done` from the file's content; return where its last good line ends."""
        end = 0
        for number, text in enumerate(content.splitlines(keepends=True)):
            if not text.endswith(b"\n"):
                break
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                line = None
            if number == 0:
                self._require_same(line)
            elif isinstance(line, list) and len(line) == 2 and isinstance(line[0], int):
                self.done[line[0]] = line[1]
            else:
                break  # a disk that was full, or a machine that lost power
            end += len(text)
        return end

    def _require_same(self, header: Any) -> None:
        made_by = self._made_by
        then = header.get("made_by") if isinstance(header, dict) else None
        if not isinstance(then, dict):
            raise InputError(
                f"{self.path} is not what an interrupted evaluation leaves; move it away."
            )
        changes = [
            f"{name} was {_brief(then.get(name))} and is {_brief(made_by.get(name))}"
            for name in {**then, **made_by}
            if then.get(name) != made_by.get(name)
        ]
        if changes:
            raise InputError(
                f"{self.path} is from an interrupted run of another kind: {'; '.join(changes)}."
                " Repeat that run's command to go on with it, or restart to forget it."
            )


def _brief(value: Any) -> str:
    text = "not given" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

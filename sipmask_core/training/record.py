"""What a training run tells while it goes on: a line per event in its folder, and a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sipmask_core.runtime.distributed import is_main
from sipmask_core.runtime.files import make_folder
from sipmask_core.training.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class Record:
    """The journal and the bar of a run; of several processes, only the main one's tells anything.

    folder: of the run. step: the first one to come; total: steps of the whole run.

    Use it as a context manager: curves are drawn when the block ends, however it ends. All methods
    raise InputError if a file cannot be written.
    """

    def __init__(self, folder: Path, step: int, total: int) -> None:
        self._journal: Journal | None = None
        if is_main():
            make_folder(folder)
            self._journal = Journal(folder, step)
        self._bar = tqdm(total=total, initial=step, unit="step", disable=not is_main())

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._journal is not None:
            try:
                self._journal.draw()
            finally:
                self._journal.close()

    def step(self, line: dict[str, Any], epochs: int) -> None:
        """Log a step, as `Journal` has it, of a run of so many epochs."""
        if self._journal is not None:
            self._journal.write(line)
        self._bar.update()
        self._bar.set_description(f"epoch {line['epoch'] + 1}/{epochs}", refresh=False)
        losses = {name: f"{value:.3f}" for name, value in line["losses"].items()}
        self._bar.set_postfix(losses, refresh=False)

    def validation(self, line: dict[str, Any]) -> None:
        """Log a validation, as `Journal` has it."""
        if self._journal is not None:
            self._journal.write(line)

    def picture(self, image: NDArray[np.uint8], step: int) -> None:
        """Keep predictions beside ground truth, (H, W, 3) uint8 BGR."""
        if self._journal is not None:
            self._journal.picture(image, step)

    def draw(self) -> None:
        """Draw the curves so far."""
        if self._journal is not None:
            self._journal.draw()

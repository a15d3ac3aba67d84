"""The training log for TensorBoard, where that is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sipmask_core.files import writing

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def has_tensorboard() -> bool:
    """Whether the optional package is there."""
    return find_spec("tensorboard") is not None


class TensorBoard:
    """Event files in a folder, with the journal's lines as scalars and pictures beside them.

    What was logged at or after step `start` is hidden: it comes from work done after the checkpoint
    from which the run goes on. Raises InputError where they cannot be written, some lines later
    than the first that could not: a thread of TensorBoard's writes.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with writing(folder):
            self._writer = SummaryWriter(str(folder), purge_step=start or None)

    def write(self, line: dict[str, Any]) -> None:
        """Log a line of the journal, a step's or a validation's."""
        if "validation" in line:
            figures = {
                f"validation/{kind} {metric}": value
                for kind, metrics in line["validation"].items()
                for metric, value in metrics.items()
            }
        else:
            figures = {f"loss/{name}": value for name, value in line["losses"].items()}
            figures |= {"loss/total": line["total"], "learning rate": line["lr"]}
            if line["grad_norm"] is not None:
                figures["gradient norm"] = line["grad_norm"]
        with writing(self._folder):
            for name, value in figures.items():
                self._writer.add_scalar(name, value, line["step"])

    def picture(self, image: NDArray[np.uint8], step: int) -> None:
        """Log predictions beside ground truth, (H, W, 3) uint8 BGR."""
        with writing(self._folder):
            self._writer.add_image("predictions", image[..., ::-1], step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left and end the writer's thread."""
        with writing(self._folder):
            self._writer.close()

"""The record of a training run: `log.jsonl`, one line per event, and what is drawn from it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.runtime.files import atomic_path, write_figure, write_image, writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_POINTS = 400  # per curve: longer histories are averaged in as many bins


class Journal:
    """Appends to `folder/log.jsonl`, draws `folder/curves.png`, keeps `folder/predictions.png`.

    If TensorBoard is installed, it gets the same from `folder/tensorboard`.
    A line is a training step {"step", "epoch", "lr", "losses": {name: value}, "total",
    "grad_norm", "seconds"} or a validation {"step", "epoch", "validation": {...}}. `grad_norm` is
    null if fp16 gradients overflowed and the step was skipped. Each line is flushed as it is
    written. Lines at or after step `start` are dropped on opening: they come from work
    done after the checkpoint from which the run goes on. All methods that write raise InputError
    if they cannot.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self._log = folder / "log.jsonl"
        self._curves = folder / "curves.png"
        kept = [line for line in self._lines() if line["step"] < start]
        with atomic_path(self._log) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        with writing(self._log):
            self._file = self._log.open("a", encoding="utf-8")
        self._pictures = folder / "predictions.png"
        self._board = TensorBoard(folder / "tensorboard", start) if has_tensorboard() else None

    def close(self) -> None:
        """Close the log; nothing more can be written."""
        with writing(self._log):
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, line: dict[str, Any]) -> None:
        """Append one line and flush it."""
        with writing(self._log):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._board is not None:
            self._board.write(line)

    def picture(self, image: NDArray[np.uint8], step: int) -> None:
        """Keep predictions beside ground truth, (H, W, 3) uint8 BGR, in place of earlier ones."""
        write_image(self._pictures, image)
        if self._board is not None:
            self._board.picture(image, step)

    def _lines(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        lines = []
        for text in self._log.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break  # a machine that lost power leaves half a line
        return lines

    def draw(self) -> None:
        """Draw losses, learning rate and validation AP over steps into `curves.png`."""
        from matplotlib.figure import Figure

        lines = self._lines()
        steps = [line for line in lines if "losses" in line]
        validations = [line for line in lines if "validation" in line]
        if not steps:
            return
        figure = Figure(figsize=(9, 9), layout="constrained")
        losses, rate, scores = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 2])
        x = _binned([line["step"] for line in steps])
        for name in steps[0]["losses"]:
            losses.plot(x, _binned([line["losses"][name] for line in steps]), label=name)
        losses.plot(x, _binned([line["total"] for line in steps]), "k", label="total")
        losses.set(ylabel="loss", ylim=(0, None))
        losses.legend()
        rate.plot(x, _binned([line["lr"] for line in steps]))
        rate.set(ylabel="learning rate")
        for kind, style in (("segm", "-"), ("bbox", "--")):
            for metric, colour in (("AP", "C0"), ("AP50", "C1")):
                # Without any mask in the data, masks have no figures.
                with_kind = [line for line in validations if kind in line["validation"]]
                y = [line["validation"][kind][metric] for line in with_kind]
                x = np.array([line["step"] for line in with_kind])
                scores.plot(x, y, colour + style, marker=".", label=f"{kind} {metric}")
        scores.set(ylabel="validation", xlabel="step", ylim=(0, None))
        scores.legend()
        for axes in (losses, rate, scores):
            axes.grid(alpha=0.3)
        write_figure(self._curves, figure)


def _binned(values: list[float]) -> np.ndarray:
    """Return the values or, if they are more, the means of MAX_POINTS consecutive bins."""
    bins = np.array_split(np.asarray(values, np.float64), min(MAX_POINTS, len(values)))
    return np.array([chunk.mean() for chunk in bins])


def has_tensorboard() -> bool:
    """Return whether the optional package is installed."""
    return find_spec("tensorboard") is not None


class TensorBoard:
    """Event files in a folder, with the journal's lines as scalars and pictures beside them.

    What was logged at or after step `start` is hidden: it comes from work done after the checkpoint
    from which the run goes on. Raise InputError if a line cannot be written; that can show some
    lines later, for a thread of TensorBoard's writes.
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

"""Precision over recall as a picture: where on the curve the average precision is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipmask_core.evaluation.average_precision import RECALL_POINTS
from sipmask_core.runtime.files import write_figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipmask_core.evaluation.average_precision import Scores

ALL_NAMED = 8  # classes up to which each has a colour
EXTREMES = 4  # of more classes, this many of the best and of the worst have one

_THRESHOLDS = (("AP50", 0, "IoU .50"), ("AP75", 5, "IoU .75"))


def draw_precision_recall(path: Path, scores: Mapping[str, Scores]) -> None:
    """Draw a PNG with a column for each kind ("segm", "bbox").

    Above, the mean over the classes at IoU .50, .75 and over all thresholds; below, if there are
    several classes, each class's mean over the thresholds. Classes without ground truth are left
    out. Raise InputError if the file cannot be written.
    """
    from matplotlib.figure import Figure

    several = any(len(_names(of_kind)) > 1 for of_kind in scores.values())
    figure = Figure(figsize=(5.5 * len(scores), 9.5 if several else 4.8), layout="constrained")
    grid = figure.subplots(1 + several, len(scores), squeeze=False, sharex=True, sharey=True)
    for column, (kind, of_kind) in enumerate(scores.items()):
        grid[0, column].set_title(f"{kind}: mean of the classes" if several else kind)
        _draw_means(grid[0, column], of_kind)
        if several:
            grid[1, column].set_title(f"{kind}: each class, mean of IoU .50 to .95")
            _draw_classes(grid[1, column], of_kind)
    for axes in grid.flat:
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="best", fontsize=8)
    for axes in grid[-1]:
        axes.set(xlabel="recall", xlim=(0, 1))
    for axes in grid[:, 0]:
        axes.set(ylabel="precision", ylim=(0, 1.02))
    write_figure(path, figure)


def _names(scores: Scores) -> dict[str, int]:
    """Return the classes with ground truth and their places in `precision`, by falling AP."""
    found = {name: k for k, name in enumerate(scores.by_class) if scores.by_class[name]["AP"] > -1}
    return dict(sorted(found.items(), key=lambda item: -scores.by_class[item[0]]["AP"]))


def _draw_means(axes: Any, scores: Scores) -> None:
    classes = list(_names(scores).values())
    if not classes:
        return
    precision = scores.precision[..., classes].mean(2)  # (T, R)
    for metric, threshold, label in _THRESHOLDS:
        label = f"{label}: {metric} {scores.overall[metric]:.3f}"
        axes.plot(RECALL_POINTS, precision[threshold], label=label)
    label = f"mean of IoU .50 to .95: AP {scores.overall['AP']:.3f}"
    axes.plot(RECALL_POINTS, precision.mean(0), "k", label=label)


def _draw_classes(axes: Any, scores: Scores) -> None:
    names = _names(scores)
    precision = scores.precision.mean(0)  # (R, K)
    ranked = list(names)
    named = ranked if len(ranked) <= ALL_NAMED else ranked[:EXTREMES] + ranked[-EXTREMES:]
    others = [names[name] for name in ranked if name not in named]
    if others:
        lines = axes.plot(RECALL_POINTS, precision[:, others], color="0.8", linewidth=0.8)
        lines[0].set_label(f"{len(others)} classes in between")
    for index, name in enumerate(named):
        # If all are named, colours go by the name, so that both kinds agree.
        tone = index if others else sorted(named).index(name)
        style = "--" if others and index >= EXTREMES else "-"
        label = f"{name}: AP {scores.by_class[name]['AP']:.3f}"
        axes.plot(RECALL_POINTS, precision[:, names[name]], style, color=f"C{tone}", label=label)
    axes.plot(RECALL_POINTS, precision[:, list(names.values())].mean(1), "k", label="mean")

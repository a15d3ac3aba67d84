"""What a soak showed: how much memory grew, which criteria hold, and a picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sipmask_core.runtime.files import write_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WARM_UP = 0.1  # share of the frames
MOST_GROWTH = 0.01  # of memory after the warm-up
# Frames from which memory is judged; before, caches and arenas still fill.
JUDGED_FROM = 10_000
_MIB = 2**20


class Growth(NamedTuple):
    """How much a quantity has grown after the warm-up.

    start, end: medians of the first and of the last tenth. per_frame: the slope after Theil and
    Sen, the median of those between all pairs of samples. share: the growth as a share of `start`,
    either the slope over all frames or end less start, whichever is more: a steady leak is in the
    one, a late step in the other, and single outliers are in neither.
    """

    start: float
    end: float
    per_frame: float
    share: float


def growth(frames: Sequence[int], values: Sequence[float]) -> Growth | None:
    """Return how a quantity sampled at these frame counts has grown; None for too few samples."""
    x, y = np.array(frames, np.float64), np.array(values, np.float64)
    warm = x > WARM_UP * x.max(initial=0)
    x, y = x[warm], y[warm]
    tenth = len(x) // 10
    if tenth < 1:
        return None
    rows, columns = np.triu_indices(len(x), 1)
    slope = float(np.median((y[columns] - y[rows]) / (x[columns] - x[rows])))
    start, end = float(np.median(y[:tenth])), float(np.median(y[-tenth:]))
    share = max(slope * float(x[-1] - x[0]), end - start) / start
    return Growth(start, end, slope, share)


@dataclass(frozen=True)
class Criterion:
    """One requirement. holds: None if it cannot be judged. says: one sentence with the figures."""

    name: str
    holds: bool | None
    says: str


def judge(
    frames: Mapping[str, int],
    samples: Sequence[Mapping[str, float]],
    tallies: Mapping[str, int],
    final: bool = True,
) -> list[Criterion]:
    """Judge the criteria.

    frames: of all cameras: sent, received, segmented, recorded and the dropped ones by reason.
    samples: each with frames, anonymous (bytes), handles and threads. tallies: `ids_used_twice` and
    `refusals`, requests that the node did not grant. final: whether the node has finished, so that
    its counts must add up.
    """
    counts = [int(sample["frames"]) for sample in samples]
    criteria = [_memory(counts, growth(counts, [sample["anonymous"] for sample in samples]))]
    criteria += [
        _constant(name, growth(counts, [sample[name] for sample in samples]))
        for name in ("handles", "threads")
    ]
    sent, received = frames["sent"], frames["received"]
    outcomes = frames["segmented"] + sum(
        number for key, number in frames.items() if key.startswith("dropped_")
    )
    recorded = frames["recorded"]
    criteria += [
        Criterion(
            "counters",
            (sent >= received == outcomes and recorded == frames["segmented"] > 0)
            if final
            else None,
            f"Of {sent} images sent, {sent - received} were lost in transport and {received}"
            f" received; {outcomes} have an outcome, {frames['segmented']} of them segmented;"
            f" {recorded} results came.",
        ),
        _none("ids", tallies["ids_used_twice"], "track ids were used for two objects"),
        _none("requests", tallies["refusals"], "requests were refused or not answered"),
    ]
    return criteria


def _memory(counts: Sequence[int], grown: Growth | None) -> Criterion:
    if grown is None:
        return Criterion("memory", None, "There are too few samples to judge memory by.")
    says = (
        f"Memory went from {grown.start / _MIB:.1f} MiB after the warm-up to"
        f" {grown.end / _MIB:.1f} at the end: growth {grown.share:+.2%},"
        f" {grown.per_frame:+.1f} bytes per frame"
    )
    if counts[-1] < JUDGED_FROM:
        return Criterion("memory", None, f"{says}; it is judged from {JUDGED_FROM} frames on.")
    return Criterion(
        "memory", grown.share < MOST_GROWTH, f"{says}; less than {MOST_GROWTH:.0%} is accepted."
    )


def _constant(name: str, grown: Growth | None) -> Criterion:
    if grown is None:
        return Criterion(name, None, f"There are too few samples to judge {name} by.")
    says = f"There were {grown.start:g} {name} after the warm-up and {grown.end:g} at the end."
    return Criterion(name, grown.end <= grown.start, says)


def _none(name: str, number: int, what: str) -> Criterion:
    return Criterion(name, number == 0, f"{number} {what}.")


def describe(report: dict[str, Any]) -> str:
    """Say what ran and which criteria hold, for people to read."""
    marks = {True: "holds", False: "FAILS", None: "-"}
    lines = [f"{report['frames']['recorded']} frames of {report['cameras']} cameras"]
    if report["samples"]:
        rate = np.median([sample["rate_hz"] for sample in report["samples"]])
        lines[0] += f", {rate:.1f} Hz"
    for criterion in report["criteria"]:
        lines.append(f"{criterion['name']:<10}{marks[criterion['holds']]:<7}{criterion['says']}")
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw a chart over the frames: memory, latency, file handles and threads, rate."""
    from matplotlib.figure import Figure

    samples = report["samples"]
    series = {key: np.array([sample[key] for sample in samples], float) for key in samples[0]}
    x: NDArray[np.float64] = series["frames"]
    figure = Figure(figsize=(10, 9), layout="constrained")
    memory, latency, handles, rate = figure.subplots(4, 1, sharex=True)
    memory.plot(x, series["anonymous"] / _MIB, lw=1)
    memory.set(ylabel="allocated, MiB")
    memory.margins(y=0.25)  # room for the legend
    if grown := growth(x.astype(int).tolist(), series["anonymous"].tolist()):
        memory.axhline(grown.start / _MIB, color="0.4", lw=1, label="after the warm-up")
        most = grown.start * (1 + MOST_GROWTH) / _MIB
        memory.axhline(most, color="C3", lw=1, ls="--", label=f"{MOST_GROWTH:.0%} more")
        memory.legend(loc="upper right", ncols=2)
    latency.plot(x, series["latency_p50_ms"], lw=1, label="p50")
    latency.plot(x, series["latency_p99_ms"], lw=1, label="p99")
    latency.set(ylabel="latency, ms", ylim=(0, None))
    handles.plot(x, series["handles"], lw=1, label="file handles")
    handles.plot(x, series["threads"], lw=1, label="threads")
    handles.set(ylabel="open", ylim=(0, None))
    rate.plot(x, series["rate_hz"], lw=1)
    rate.set(ylabel="rate, Hz", ylim=(0, None), xlim=(0, x[-1]), xlabel="frames")
    for axes in (latency, handles):
        axes.legend(loc="upper right", ncols=2)
    for axes in (memory, latency, handles, rate):
        axes.axvspan(0, WARM_UP * x[-1], color="0.93")
        axes.grid(axis="x", alpha=0.3)
    figure.suptitle(
        f"{report['frames']['recorded']} frames of {report['cameras']} cameras,"
        f" {report['model']} on {report['device']}; the warm-up is grey"
    )
    write_figure(path, figure)

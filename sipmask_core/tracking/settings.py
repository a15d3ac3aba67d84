"""How the online tracker decides, and what may be changed of it."""

from __future__ import annotations

from dataclasses import dataclass

from sipmask_core.errors import InputError
from sipmask_core.runtime.settings import check_settings, setting


@dataclass(frozen=True)
class TrackerSettings:
    """How the online tracker decides. Raise InputError if a value is out of range.

    An affinity, from 0 to 1, is the weighted mean of mask IoU, box IoU and the cosine of the
    embeddings of a track and a detection; embeddings count if the model gives them.

    >>> import sipmask_core as sm
    >>> patient = sm.TrackerSettings(max_lost_seconds=5.0)
    >>> sm.Tracker(settings=patient)  # doctest: +ELLIPSIS
    <sipmask_core.tracking.tracker.Tracker object at ...>
    >>> sm.TrackerSettings(new_score=2.0)
    Traceback (most recent call last):
    sipmask_core.errors.InputError: new_score is 2.0; it must be from 0 to 1.
    """

    new_score: float = setting(
        0.4,
        "Lowest score that starts a track; a weaker instance can only continue one.",
        minimum=0,
        maximum=1,
    )
    confirm_after: int = setting(
        3, "Images that must show an object before its track is confirmed.", minimum=1
    )
    # A new track must reach the double. What lies within another and is left over may have less.
    min_affinity: float = setting(
        0.1,
        "Least overlap with its predicted place at which an object keeps its id.",
        minimum=0,
        maximum=1,
    )
    max_lost_seconds: float = setting(
        1.5,
        "How long an object out of sight is looked for, by the stamps of the images; also the"
        " longest gap between two images that ids survive.",
        minimum=0,
    )
    max_tracks: int = setting(
        200, "Most tracks in memory for each camera; those unseen for longest go first.", minimum=1
    )
    duplicate_iou: float = setting(
        0.7,
        "An object starts no track if its mask overlaps that of a tracked one by more than this.",
        minimum=0,
        maximum=1,
    )
    mask_weight: float = setting(1.0, "Weight of mask IoU in the affinity.", minimum=0)
    box_weight: float = setting(1.0, "Weight of box IoU in the affinity.", minimum=0)
    embedding_weight: float = setting(1.0, "Weight of embeddings in the affinity.", minimum=0)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.mask_weight + self.box_weight == 0:
            raise InputError("mask_weight and box_weight are both 0; one of them must count.")

"""From recorded images to a data set: which ones are taken, and what is found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.imaging.left_out import LeftOut
from sipmask_core.instances import Instances
from sipmask_core.runtime.interruption import Interruption
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from sipmask_core.cli.dataset_selection import Selection
    from sipmask_core.data.annotation_writer import AnnotationWriter, Recorded
    from sipmask_core.segmenter import Segmenter

_CELLS = 16  # along each side of an image, in which changes are looked for


class _Selector:
    """Applies a Selection to the images of one source."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._seen = 0
        self._taken = 0
        self._began: float | None = None
        self._period: int | None = None
        self._cells: NDArray[np.uint8] | None = None

    @property
    def is_full(self) -> bool:
        limit = self._selection.limit
        return limit is not None and self._taken >= limit

    def is_due(self, seconds: float) -> bool:
        """Count an image, and return whether the time to take another one has come."""
        number = self._seen
        self._seen += 1
        if self.is_full or number % self._selection.every:
            return False
        if self._selection.rate is None:
            return True
        if self._began is None:
            self._began = seconds
        # Stamps are not exact: one that is 1 % early belongs to the next period already.
        period = int((seconds - self._began) * self._selection.rate + 0.01)
        last, self._period = self._period, period
        return period != last

    def takes(self, image: NDArray[np.uint8]) -> bool:
        """Return whether the image differs enough from the one taken before, and count it if so."""
        if self._selection.min_change:
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            cells = cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
            if (
                self._cells is not None
                and cv2.absdiff(cells, self._cells).max() < self._selection.min_change
            ):
                return False
            self._cells = np.asarray(cells, np.uint8)
        self._taken += 1
        return True


def export(
    images: Iterable[Recorded],
    sources: Iterable[str],
    writer: AnnotationWriter,
    predictor: Segmenter | None,
    selection: Selection,
) -> tuple[bool, list[str]]:
    """Take images of these sources into a data set, with what a model finds in them.

    predictor: None stores images only. Each source has a tracker of its own; it sees the images
    that are taken, at their times.

    Ctrl-C ends the work after an image. Return whether it came, and sentences about the images that
    were left out because they are damaged or `writer` refuses their size, as `LeftOut` has them.
    """
    selectors = {source: _Selector(selection) for source in sources}
    trackers = {source: OnlineTracker(TrackerSettings()) for source in selectors}
    names: set[str] = set()
    left_out = LeftOut()
    with Interruption() as interruption:
        for recorded in images:
            if interruption.requested or all(s.is_full for s in selectors.values()):
                break
            selector = selectors[recorded.source]
            # An image that was recorded twice is taken once.
            if recorded.name not in names and selector.is_due(recorded.seconds):
                names.add(recorded.name)
                try:
                    image = recorded.decode()
                    writer.check(recorded.source, image)
                except InputError as error:
                    left_out.note(recorded.name, error)
                    continue
                if selector.takes(image):
                    instances = Instances.empty((image.shape[0], image.shape[1]))
                    if predictor is not None:
                        tracker = trackers[recorded.source]
                        instances = tracker.update(predictor(image), recorded.seconds)
                    writer.add(recorded, image, instances)
    return interruption.requested, left_out.sentences()

"""The border between whatever segments and whatever uses it: node, bags, trackers and verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances


class Segmenter(Protocol):
    """What a model must offer; `Predictor` does, and so can a class of your own.

    model_name: what messages and reports call the model.
    class_names: the name of each class, by the labels of the instances.
    device: where the model computes; a stopwatch waits for a GPU to tell how long a stage took.
    precision: the number format, for people to read: "fp32", "fp16", ...
    score_threshold: lowest score that is reported; None if the model has a rule of its own. The
        node sets it from another thread while the model is at work: it counts from the next image.

    Images are (H, W, 3) uint8 in BGR, of any size, one image not necessarily of the last one's;
    they belong to the caller and must not be changed. Instances are by falling score, in pixels of
    their image (`image_size` is its (H, W)), with labels within `class_names`;
    `Instances.from_masks` makes them of whole masks.

    Calls come one at a time, but not always from the thread that made the model: the node makes a
    new one in a thread of its own while the old one is at work in another.

    Errors: InputError for an image that cannot be used, PredictionError for a good one that cannot
    be segmented here. Both are reported in one sentence, and the next image gets its turn; with
    anything else, the node logs the traceback and goes on, and a verb ends.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> def names(segmenter: sm.Segmenter, image) -> list[str]:
    ...     return [segmenter.class_names[label] for label in segmenter(image).labels]
    >>> model = sm.build_model("sipmask_r18_lite", class_names=["cat"])
    >>> names(sm.Predictor(model, device="cpu"), np.zeros((48, 64, 3), np.uint8))
    []
    """

    @property
    def model_name(self) -> str: ...  # noqa: D102

    @property
    def class_names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def device(self) -> torch.device: ...  # noqa: D102

    @property
    def precision(self) -> str: ...  # noqa: D102

    score_threshold: float | None

    def __call__(self, image: NDArray[np.uint8], /) -> Instances:
        """Return the instances of one image."""

    def predict_batch(self, images: Sequence[NDArray[np.uint8]], /) -> list[Instances]:
        """Return the instances of each of one or more images, which may differ in size."""


def shortcomings(candidate: object) -> str:
    """Say what keeps an object from being a `Segmenter`; "" if nothing does that shows."""
    import torch

    members = ("predict_batch", "model_name", "class_names", "device", "precision")
    missing = [name for name in (*members, "score_threshold") if not hasattr(candidate, name)]
    if not callable(candidate):
        missing.insert(0, "__call__")
    if missing:
        return f"it has no {', '.join(missing)}"
    values = {name: getattr(candidate, name) for name in members}
    names = values["class_names"]
    expected = {
        "predict_batch": (callable(values["predict_batch"]), "a method"),
        "model_name": (isinstance(values["model_name"], str), "a text"),
        "class_names": (
            isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names),
            "a list or tuple of at least one text",
        ),
        "device": (isinstance(values["device"], torch.device), "a torch.device"),
        "precision": (isinstance(values["precision"], str), "a text"),
    }
    for name, (holds, wanted) in expected.items():
        if not holds:
            return f"its {name} is {values[name]!r}, expected is {wanted}"
    try:
        candidate.score_threshold = candidate.score_threshold  # type: ignore[attr-defined]
    except AttributeError:
        return "its score_threshold cannot be set"
    return ""


def require_score(value: float | None) -> None:
    """Raise InputError unless a score threshold is None or between 0 and 1."""
    if value is not None and not 0 <= value <= 1:
        raise InputError(f"score_threshold is {value}; it must be between 0 and 1.")

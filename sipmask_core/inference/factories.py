"""Models of other people's code, named as `package.module:factory` by who runs them.

The name comes from a command line, a launch file or a parameter of the node, never from a file of
weights: it decides which code runs.
"""

from __future__ import annotations

import os
import re
import traceback
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError, PredictionError
from sipmask_core.runtime.devices import choose_device, choose_precision
from sipmask_core.runtime.memory import is_out_of_memory
from sipmask_core.segmenter import require_score, shortcomings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipmask_core.segmenter import Segmenter

_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_FACTORY = re.compile(f"{_NAME}:{_NAME}")


def names_factory(model: str) -> bool:
    """Return whether a text is meant as `package.module:factory`.

    Raises InputError for one that has a colon and can be neither that nor a file's name.
    """
    if ":" not in model or os.path.exists(model):  # noqa: PTH110 -- Path.exists raises for no path
        return False
    if not _FACTORY.fullmatch(model):
        raise InputError(f"{model!r} is neither a file nor of the form package.module:factory.")
    return True


def make_segmenter(
    model: str, device: str, precision: str, score_threshold: float | None
) -> Segmenter:
    """Import a factory and call it with a torch.device, the precision and the threshold.

    device: "auto", "cpu", "cuda", "cuda:1", ..., which becomes a device that is there. precision:
    "fp32", "fp16", "bf16", or "auto" for the factory's own choice. score_threshold: None for the
    model's own. Raises InputError if one of them cannot be used, if there is no such factory, if it
    fails, and if what it returns is no `Segmenter`; what ran out of memory stays as it is.
    """
    require_score(score_threshold)
    chosen = choose_device(device)
    if precision != "auto":
        choose_precision(precision, chosen)
    factory = _factory(model)
    with _named(f"{model!r} failed"):
        made: Segmenter = factory(chosen, precision, score_threshold)
        problem = shortcomings(made)
    if problem:
        raise InputError(
            f"{model!r} has made a {type(made).__name__}, which is no sipmask_core.Segmenter:"
            f" {problem}."
        )
    return made


def source_file(model: str) -> Path | None:
    """Return the file that an imported factory's module came from, if it came from one."""
    file = import_module(model.partition(":")[0]).__file__
    return None if file is None else Path(file)


def _factory(model: str) -> Any:
    name, _, attribute = model.partition(":")
    invalidate_caches()  # the file may be newer than this process
    try:
        with _named(f"The module {name} of {model!r} cannot be imported"):
            module = import_module(name)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and f"{name}.".startswith(f"{cause.name}."):
            raise InputError(
                f"There is no module {cause.name} for {model!r}; it must be installed, or its"
                " folder must be in PYTHONPATH."
            ) from cause
        raise
    try:
        factory = attrgetter(attribute)(module)
    except AttributeError:
        raise InputError(f"The module {name} has no {attribute}, which {model!r} names.") from None
    if not callable(factory):
        raise InputError(f"{model!r} is a {type(factory).__name__}; a function is expected.")
    return factory


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn whatever other people's code raises, a wish to exit included, into an InputError."""
    try:
        yield
    except (InputError, PredictionError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and is_out_of_memory(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
        raise InputError(f"{what}: {message} ({place.filename}, line {place.lineno}).") from error

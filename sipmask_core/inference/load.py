"""From what a user names as the model to what segments: a name, a file, or code of the user's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.errors import InputError
from sipmask_core.inference import predictor
from sipmask_core.inference.factories import make_segmenter, names_factory, source_file
from sipmask_core.runtime.devices import use_threads
from sipmask_core.weights.home import weights_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_core.segmenter import Segmenter


def load_segmenter(
    model: str,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float | None = None,
    num_threads: int | None = None,
    preset: str | None = None,
) -> Segmenter:
    """Return what segments as `model` says.

    model: the name of weights that `sipmask weights get` has fetched; a .safetensors, .pth or .onnx
        file; or `package.module:factory`, which is imported and called, see `make_segmenter`. Empty
        is the model that ships.
    The rest is as for `Predictor.from_file`. Raises InputError if there is no such model, if it
    cannot be used, and for a preset given with a factory.
    """
    if not names_factory(model):
        load: Callable[..., Segmenter] = predictor.Predictor.from_pretrained
        if model:
            load = partial(predictor.Predictor.from_file, weights_file(model), preset=preset)
        return load(
            device=device,
            precision=precision,
            score_threshold=score_threshold,
            num_threads=num_threads,
        )
    if preset is not None:
        raise InputError(f"{model!r} makes a model of its own; the preset {preset} is of no use.")
    use_threads(num_threads)
    return make_segmenter(model, device, precision, score_threshold)


def model_file(model: str) -> Path | None:
    """Return the file behind a model, whose hash says later which model it was.

    For a factory that is the source of its module, and None if that has none. Raises InputError as
    `load_segmenter` does if there is no such model.
    """
    if names_factory(model):
        return source_file(model)
    return weights_file(model) if model else predictor.PRETRAINED

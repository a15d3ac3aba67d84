"""The exception types that callers are meant to catch, and how their sentences list things."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Bad input: a file, an argument or an image that cannot be used.

    The message is one sentence that names the thing, its value and what would be accepted. The
    command line prints it without a traceback and exits with status 2.

    >>> import sipmask_core as sm
    >>> try:
    ...     sm.get_preset("sipmask_r34")
    ... except sm.InputError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    There is no preset 'sipmask_r34'; ...
    """


class AvoidableError(InputError):
    """Bad input that the same call takes if an argument is true: `argument`, and what it does then.

    `problem` is the sentence without that; a command line names its option instead.
    """

    def __init__(self, problem: str, argument: str, effect: str) -> None:
        super().__init__(f"{problem} {argument}=True {effect}.")
        self.problem = problem
        self.argument = argument
        self.effect = effect


class WriteError(InputError):
    """A file that cannot be written: no room, no permission. Another input would not help."""


class PredictionError(RuntimeError):
    """A good image that could not be segmented here: too little memory, or outputs not finite.

    The message is one sentence with what to try. The next image may be fine.

    >>> import sipmask_core as sm
    >>> issubclass(sm.PredictionError, sm.InputError)  # another image will not help
    False
    """


def first_of(things: Sequence[object], most: int) -> str:
    """Return the first things for a sentence, and how many others there are: "a, b and 3 more"."""
    named = ", ".join(map(str, things[:most]))
    others = len(things) - most
    return f"{named} and {others} more" if others > 0 else named


def nearest_of(name: str, names: Iterable[str]) -> str:
    """Return, for a sentence, which of the names may be meant: "the nearest is b"; "" if none."""
    near = get_close_matches(name, names, 1)
    return f"the nearest is {near[0]}" if near else ""

"""Options about how annotation files and their images are read, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def add_reading_arguments(add: argparse._ActionsContainer) -> None:
    """Add --skip-invalid and --ignore-exif to a parser or a group of one."""
    add.add_argument(
        "--skip-invalid",
        action="store_true",
        help="leave out annotated objects that cannot be used, and report how many and why",
    )
    add.add_argument(
        "--ignore-exif",
        action="store_true",
        help="read images as they are stored, without turning them by their EXIF orientation",
    )


def say_notes(notes: Iterable[str]) -> None:
    """Print once each what was found in annotation files and their images that is no error."""
    from sipmask_core.runtime.distributed import say

    for note in dict.fromkeys(notes):
        say(note)

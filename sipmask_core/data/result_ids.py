"""Which images and classes of an annotation file results mean, if their file numbers them anew."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sipmask_core.data.classes import corresponding_ids, matching_names
from sipmask_core.data.fields import as_whole_number
from sipmask_core.data.file_names import plain_name
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.data.fields import Entry


def result_entries(content: Any) -> list[Entry] | None:
    """Return the results in a file, a list or an object's "annotations"; None if it has none."""
    entries = content.get("annotations") if isinstance(content, dict) else content
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    return entries if is_list else None


def id_of(value: Any) -> int | str | None:
    """Return an id or name as a file gives it, a number also if it is written as "7" or 7.0.

    None for anything else.
    """
    number = as_whole_number(value)
    return number if number is not None else value if isinstance(value, str) else None


def image_key(entry: Entry) -> int | str | None:
    """Return what says which image a result is about: its image_id or, without one, file_name."""
    return id_of(entry.get("image_id", entry.get("file_name")))


def names_by_id(content: Any, section: str, field: str) -> dict[Any, str]:
    """Return the names that a results file gives to numbers, such as `file_name` of "images"."""
    entries = content.get(section) if isinstance(content, dict) else None
    return {
        number: entry[field]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and (number := id_of(entry.get("id"))) is not None
        and isinstance(entry.get(field), str)
    }


def image_ids(
    path: Path, content: Any, entries: Sequence[Entry], annotations: CocoAnnotations
) -> dict[Any, int]:
    """Return the annotations' image id for each one that the results have; others are left out.

    Ids are the same if no name contradicts that, neither among the file's "images" nor beside a
    result, nor an id that is a name itself, such as a stem. Otherwise images are found by their
    names: whole, by the last part, or by that without its suffix. Raises InputError if a name may
    mean several images, or two names mean one.
    """
    names = names_by_id(content, "images", "file_name")
    used: dict[Any, None] = {}
    for entry in entries:
        number = image_key(entry)
        if number is None:
            continue
        used[number] = None
        own_name, given = entry.get("file_name"), entry.get("image_id")
        if number in annotations.text_ids:
            continue
        if isinstance(own_name, str):
            names.setdefault(number, own_name)
        elif (isinstance(given, str) and given != str(number)) or isinstance(number, str):
            names.setdefault(number, str(given))
    own = {image.id: image.file_name for image in annotations.images}
    of_texts = annotations.text_ids
    known: dict[Any, int] = {n: of_texts.get(n, n) for n in used if n in own or n in of_texts}
    named = {number: names[number] for number in used if number in names}
    both = named.keys() & known.keys()
    agree = all(_forms(named[n])[-1] == _forms(own[known[n]])[-1] for n in both)
    if not named or (agree and len(known) == len(used)):
        return known
    return _by_name(path, named, own)


def category_ids(
    path: Path, content: Any, entries: Sequence[Entry], annotations: CocoAnnotations
) -> dict[Any, int | None]:
    """Return the annotations' category id for each one that the results have.

    It is None for a class that the annotations lack. Ids are the same unless the file's
    "categories" name other classes. Raises InputError if no class is in common.
    """
    names = names_by_id(content, "categories", "name")
    own = dict(zip(annotations.category_ids, annotations.class_names, strict=True))
    used = {id_of(entry.get("category_id")) for entry in entries} - {None}
    for name in used:
        if isinstance(name, str):
            names.setdefault(name, name)
    named = {number: names[number] for number in names if number in used}
    found = matching_names(list(named.values()), annotations.class_names)
    if all(name and name == own.get(number) for number, name in zip(named, found, strict=True)):
        return {number: number for number in own}
    ids = corresponding_ids(list(named.values()), annotations)
    return dict(zip(named, ids, strict=True))


def _by_name(path: Path, names: Mapping[Any, str], own: Mapping[int, str]) -> dict[Any, int]:
    places: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number, name in own.items():
        for level in enumerate(_forms(name)):
            places[level].append(number)
    found: dict[Any, int] = {}
    taken: dict[int, str] = {}
    for number, name in names.items():
        meant = next((places[form] for form in enumerate(_forms(name)) if form in places), [])
        if len(meant) > 1:
            raise InputError(
                f"{path}: {name!r} may be {own[meant[0]]!r} or {own[meant[1]]!r} of the"
                " annotations, whose ids are others."
            )
        if meant and meant[0] in taken:
            raise InputError(
                f"{path}: {taken[meant[0]]!r} and {name!r} may both be {own[meant[0]]!r} of the"
                " annotations, whose ids are others."
            )
        if meant:
            found[number] = meant[0]
            taken[meant[0]] = name
    return found


def _forms(name: str) -> tuple[str, str, str]:
    """Return a name whole, its last part, and that without its suffix."""
    path = PurePosixPath(plain_name(name))
    return str(path), path.name, path.stem

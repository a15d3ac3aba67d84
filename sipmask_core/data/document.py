"""An annotation file in JSON whose entries are checked when they are read.

COCO's and YouTube-VIS's files are read here alike: what tools export in many ways is understood in
one place, and what cannot be used is told in one go.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sipmask_core.data.box_agreement import BoxAgreement
from sipmask_core.data.fields import as_whole_number, numbers_for_texts, text, whole_number
from sipmask_core.data.file_kinds import other_kind
from sipmask_core.data.json_files import read_json
from sipmask_core.data.problems import Invalid, Problems, brief
from sipmask_core.data.shapes import read_shape
from sipmask_core.errors import AvoidableError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from sipmask_core.data.fields import Entry, Field, Size
    from sipmask_core.data.shapes import Shape

T = TypeVar("T")
Owner = TypeVar("Owner")

_NAMED_KEYS = 8
_ROOT_PARENTS = (None, "", "none")  # what Roboflow says to be above its root


class OtherFormatError(InputError):
    """A file of videos if one of images was expected, or the other way round."""


class Document:
    """What COCO's and YouTube-VIS's files have in common; messages begin with the file's path.

    path: from where it was read; sha256: of its bytes; description: what the file says about
    itself, licence included, "" if it says nothing. notes: sentences about what was found while it
    was read and is no error. numbers: by section, what stands here for ids that are texts.

    The constructor and the methods raise InputError that names file, entries and what is wrong;
    `shape` raises Invalid, as what `by_id` and `annotated` call may.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._content, self.sha256 = read_json(self.path, "annotations")
        kind = other_kind(self._content)
        if kind is not None:
            raise InputError(f"{self.path} is {kind}.")
        if not isinstance(self._content, dict):
            raise InputError(
                f"{self.path} holds {brief(self._content)}; expected an object with 'images' or"
                " 'videos', 'annotations' and 'categories'."
            )
        info = self._content.get("info")
        description = info.get("description") if isinstance(info, dict) else None
        self.description = description if isinstance(description, str) else ""
        self.notes: list[str] = []
        self.numbers: dict[str, dict[str, int]] = {}
        self._agreement = BoxAgreement()

    def has(self, section: str) -> bool:
        """Return whether the document has this section and it is not null."""
        return self._content.get(section) is not None

    @property
    def is_of_videos(self) -> bool:
        """Whether this is a YouTube-VIS file, whose annotations are about videos, not images."""
        return self.has("videos") and not self.has("images")

    def entries(self, section: str, may_be_empty: bool = False) -> list[Entry]:
        """Return the entries of one of the document's lists."""
        value = self._content.get(section)
        if value is None:
            has = ", ".join(map(brief, list(self._content)[:_NAMED_KEYS])) or "nothing"
            raise InputError(f"{self.path}: {section!r} is missing; the file has {has}.")
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f"{self.path}: {section!r} is {brief(value)}, not a list of objects.")
        if not value and not may_be_empty:
            raise InputError(f"{self.path}: {section!r} is empty.")
        return value

    def by_id(self, section: str, read: Callable[[int, Entry], T]) -> dict[int, T]:
        """Return, by its id, what `read` makes of each entry's id and the entry itself."""
        items: dict[int, T] = {}
        problems = Problems(self.path, section)
        entries = self.entries(section)
        self.numbers[section] = numbers_for_texts([entry.get("id") for entry in entries])
        for place, entry in enumerate(entries):
            with problems.noting(place, entry):
                number = self._id(entry, "id", section)
                if number in items:
                    raise Invalid("twice", " is listed twice")
                items[number] = read(number, entry)
        if problems:
            raise InputError(problems.sentence(len(entries)))
        if self.numbers[section]:
            first, number = next(iter(self.numbers[section].items()))
            count = f"{len(self.numbers[section])} of {len(entries)}"
            self.notes.append(
                f"Ids of {section} that are texts stand for numbers here,"
                f" {brief(first)} for {number}: {count}."
            )
        return items

    def _id(self, entry: Entry, field: str, section: str) -> int:
        """Read the id of an entry of the section, as a number even if it is a text."""
        number = self._known_text(entry.get(field), section)
        return whole_number(entry, field) if number is None else number

    def _known_text(self, value: Any, section: str) -> int | None:
        return self.numbers.get(section, {}).get(value) if isinstance(value, str) else None

    def categories(self) -> dict[int, str]:
        """Return names by category id, ids rising: label i is the i-th. No name comes twice.

        A category without objects is left out if it is the root that Roboflow puts above the
        others, or if another one of its name has objects.
        """
        parents: dict[int, Any] = {}

        def name(number: int, entry: Entry) -> str:
            parents[number] = entry.get("supercategory")
            return text(entry, "name")

        names = self.by_id("categories", name)
        annotations = self.entries("annotations", True) if self.has("annotations") else []
        references = [entry.get("category_id") for entry in annotations]
        used = {as_whole_number(value) for value in references}
        if self.numbers["categories"]:
            used |= {self._known_text(value, "categories") for value in references}
        used_names = {names[number] for number in names.keys() & used}

        def is_superfluous(number: int) -> bool:
            is_root = parents[number] in _ROOT_PARENTS and names[number] in parents.values()
            return number not in used and (is_root or names[number] in used_names)

        kept = {number: names[number] for number in sorted(names) if not is_superfluous(number)}
        for number in sorted(names.keys() - kept.keys()):
            self.notes.append(
                f"The category {names[number]!r} (id {number}) stands for others and has no object;"
                " it is left out."
            )
        twice = [shared for shared, count in Counter(kept.values()).items() if count > 1]
        if twice:
            number = next(number for number in reversed(kept) if kept[number] == twice[0])
            raise InputError(
                f"{self.where(number, 'categories', 'name')} is {twice[0]!r}, which another"
                " category has, too; names must differ, because classes correspond by name."
            )
        return kept

    def where(self, number: int, section: str, field: str) -> str:
        """Return how messages name a field of the entry with that id."""
        return f"{self.path}: {section}[id={number}].{field}"

    def annotated(
        self,
        section: str,
        owners: Mapping[int, Owner],
        categories: Mapping[int, str],
        read: Callable[[int, Entry, Owner, int], T | None],
        skip_invalid: bool,
    ) -> dict[int, list[T]]:
        """Read all annotations; return those of each owner, an image or video, by the owner's id.

        section: where the owners stand, "images" or "videos". read: makes an object of its number
        (from 1, over the file), its entry, its owner and its label; None if there is none. Ids of
        annotations need not be there, nor differ. skip_invalid: leave out what cannot be used and
        note its number and kinds, instead of raising an error about it.
        """
        field = f"{section.removesuffix('s')}_id"
        labels = {category_id: label for label, category_id in enumerate(categories)}
        found: dict[int, list[T]] = {number: [] for number in owners}
        seen: dict[Any, Entry] = {}
        empty = 0
        problems = Problems(self.path, "annotations")
        entries = self.entries("annotations", may_be_empty=True)
        for place, entry in enumerate(entries):
            with problems.noting(place, entry):
                owner = self._reference(entry, field, owners, section)
                label = labels[self._reference(entry, "category_id", labels, "categories")]
                own_id = entry.get("id")
                if type(own_id) in (int, str):
                    first = seen.setdefault(own_id, entry)
                    if first is not entry and first == entry:
                        raise Invalid("twice", " is listed twice")
                item = read(place + 1, entry, owners[owner], label)
                if item is None:
                    empty += 1
                else:
                    found[owner].append(item)
        if problems and not skip_invalid:
            problem = problems.sentence(len(entries))
            raise AvoidableError(problem, "skip_invalid", "leaves such objects out")
        if problems:
            left_out = f"{len(problems)} of {len(entries)}"
            self.notes.append(f"Annotations left out: {left_out}: {problems.kinds()}.")
        if empty:
            self.notes.append(f"Annotations without box and mask, which are no objects: {empty}.")
        if self._agreement.warning:
            self.notes.append(f"{self._agreement.warning}.")
        return found

    def _reference(self, entry: Entry, field: str, known: Container[int], section: str) -> int:
        """Read the id of an entry of another section, which must be among the known ones."""
        number = self._id(entry, field, section)
        if number not in known:
            raise Invalid(f"{field} unknown", f".{field} is {number}, which {section!r} lacks")
        return number

    def shape(self, mask: Field, bbox: Field, area: Field, size: Size) -> Shape | None:
        """Read a shape as `read_shape` does, and note whether its box and mask agree."""
        return read_shape(mask, bbox, area, size, self._agreement)

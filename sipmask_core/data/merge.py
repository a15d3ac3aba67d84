"""Merge several annotation files to one that keeps what each of them does not know."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.data.classes import category_ids
from sipmask_core.data.coco import CocoAnnotations, CocoImage
from sipmask_core.data.file_names import image_path

if TYPE_CHECKING:
    from collections.abc import Sequence


def merged(parts: Sequence[tuple[CocoAnnotations, Path]]) -> CocoAnnotations:
    """Merge the annotations of several files, each with the folder of its images.

    Classes correspond by name, in the order in which the files first name them. A file is taken to
    annotate all objects of the classes that it has and to know nothing of others: see
    `CocoImage.known_labels`. If several files list an image, each class comes from the first of
    them that has it. File names of images are the paths at which they are found, see `image_path`;
    ids are given anew.
    """
    names = tuple(dict.fromkeys(name for part, _ in parts for name in part.class_names))
    images: dict[Path, CocoImage] = {}
    for part, folder in parts:
        for image in with_classes(part, names).images:
            path = image_path(folder, image.file_name)
            image = replace(image, file_name=str(path))
            key = path.resolve()
            images[key] = _united(images[key], image, len(names)) if key in images else image
    numbers = count(1)
    return CocoAnnotations(
        path=Path(" + ".join(str(part.path) for part, _ in parts)),
        sha256=hashlib.sha256("".join(part.sha256 for part, _ in parts).encode()).hexdigest(),
        description="; ".join(part.description for part, _ in parts if part.description),
        class_names=names,
        category_ids=tuple(category_ids(names)),
        images=tuple(
            replace(
                image,
                id=image_id,
                objects=tuple(replace(o, id=next(numbers)) for o in image.objects),
            )
            for image_id, image in enumerate(images.values(), 1)
        ),
    )


def with_classes(annotations: CocoAnnotations, names: Sequence[str]) -> CocoAnnotations:
    """Return the annotations with the classes `names`, in this order.

    Nothing is known of classes that the file lacks; objects of classes that are not among the names
    are left out.
    """
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of.get(name) for name in annotations.class_names]

    def renamed(image: CocoImage) -> CocoImage:
        objects = [
            replace(o, label=label) for o in image.objects if (label := labels[o.label]) is not None
        ]
        known = frozenset(
            label for own, label in enumerate(labels) if label is not None and image.knows(own)
        )
        return replace(image, objects=tuple(objects), known_labels=_unless_all(known, len(names)))

    return replace(
        annotations,
        class_names=tuple(names),
        category_ids=tuple(category_ids(names)),
        images=tuple(renamed(image) for image in annotations.images),
    )


def _united(first: CocoImage, second: CocoImage, classes: int) -> CocoImage:
    """Unite what both know of an image; for a class that both have, the first one counts."""
    if first.known_labels is None:
        return first
    added = tuple(o for o in second.objects if not first.knows(o.label))
    known = first.known_labels | (second.known_labels or frozenset())
    return replace(
        first,
        objects=first.objects + added,
        known_labels=None if second.known_labels is None else _unless_all(known, classes),
    )


def _unless_all(labels: frozenset[int], classes: int) -> frozenset[int] | None:
    return None if len(labels) == classes else labels

"""Write the messages of contents.py: NAME.cdr, as it travels, and NAME.json, what it says.

`python tests/vectors/make.py` does so anew from the definitions in msg/, without ROS. A field that
contents.py does not give is zero or empty. The same definitions give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from contents import all_contents
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

FOLDER = Path(__file__).resolve().parent


def typestore() -> Any:
    """Return ROS 2's message types and those in msg/."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own: dict[str, Any] = {}
    for path in sorted((FOLDER.parents[1] / "msg").glob("*.msg")):
        own |= get_types_from_msg(path.read_text("utf-8"), f"sipmask_ros/msg/{path.stem}")
    store.register(own)
    return store


def to_message(store: Any, type_name: str, fields: dict[str, Any]) -> Any:
    """Return a message of rosbags with these fields, and zero or empty in all others."""
    definition = store.get_msgdef(type_name)
    if unknown := set(fields) - {name for name, _ in definition.fields}:
        raise KeyError(f"{type_name} has no {', '.join(sorted(unknown))}.")
    return definition.cls(
        **{name: _to_value(store, kind, fields.get(name)) for name, kind in definition.fields}
    )


def _to_value(store: Any, kind: Any, given: Any) -> Any:
    node, of = kind
    if node == Nodetype.NAME:
        return to_message(store, of, given or {})
    if node == Nodetype.BASE:
        return {"string": "", "bool": False}.get(of[0], 0) if given is None else given
    element, count = of  # an array of `count`, or a sequence, whose count is 0 or its bound
    empty = [None] * count if node == Nodetype.ARRAY else []
    values = [_to_value(store, element, item) for item in (given or empty)]
    numbers = element[0] == Nodetype.BASE and element[1][0] != "string"
    return np.array(values, element[1][0]) if numbers else values


def to_json(store: Any, kind: Any, value: Any) -> Any:
    """Return a value as JSON can say it: NaN is null.

    A float32 is written with the digits of the double that equals it.
    """
    node, of = kind
    if node == Nodetype.NAME:
        fields = store.get_msgdef(of).fields
        return {name: to_json(store, inner, getattr(value, name)) for name, inner in fields}
    if node != Nodetype.BASE:
        return [to_json(store, of[0], item) for item in value]
    if of[0].startswith("float"):
        number = float(np.dtype(of[0]).type(value))
        return None if math.isnan(number) else number
    return value if of[0] in ("string", "bool") else int(value)


def write(folder: Path) -> None:
    """Write all messages into a folder."""
    store = typestore()
    for name, (short_name, fields, masks) in all_contents().items():
        type_name = f"sipmask_ros/msg/{short_name}"
        message = to_message(store, type_name, fields)
        document = {
            "type": type_name,
            "type_hash": store.hash_rihs01(type_name),
            "message": to_json(store, (Nodetype.NAME, type_name), message),
        }
        if masks is not None:
            document["masks"] = masks
        (folder / f"{name}.cdr").write_bytes(bytes(store.serialize_cdr(message, type_name)))
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / f"{name}.json").write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the messages of contents.py.")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder to write to")
    write(parser.parse_args().output)

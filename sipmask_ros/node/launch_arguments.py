"""What the launch file is told, read and checked before anything starts.

If a launch file raises once its first process runs, ROS's launch leaves that process behind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# What a name of nodes in a parameter file may have in place of one name, or of any number of them.
_ANY_NAMES = {"*": r"/\w+", "**": r"(/\w+)*"}


def require_known(command: Sequence[str], launch_file: str, names: Collection[str]) -> None:
    """Raise InputError for an argument of `ros2 launch` that the launch file does not have.

    ROS's launch says nothing of it. command: that of the process. If it names another launch file,
    which includes this one, the arguments are that one's.
    """
    if not {"launch", "sipmask_ros", launch_file} <= set(command):
        return
    given = [part.partition(":=")[0] for part in command if ":=" in part]
    for name in given:
        if name not in names and not name.startswith("launch-prefix"):
            raise InputError(
                f"{launch_file} has no argument {name!r}; it has {', '.join(sorted(names))}."
            )


def truth(name: str, text: str) -> bool:
    """Return what an argument says, however it is spelled. Raise InputError for other words."""
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise InputError(f"{name} is {text!r}; it must be true or false.")


def node_name(namespace: str, name: str) -> str:
    """Return a node's full name, with one slash before each part. Raise InputError for no name."""
    parts = _parts(namespace)
    for argument, value, names in (("name", name, [name]), ("namespace", namespace, parts)):
        if not all(_NAME.fullmatch(each) for each in names):
            raise InputError(
                f"{argument} is {value!r}; a name has letters, digits and underscores, and begins"
                " with no digit."
            )
    return "".join(f"/{part}" for part in (*parts, name))


def parameter_file(argument: str, file: str) -> dict[str, Any]:
    """Return what a parameter file holds. Raise InputError if it is not there or is none."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{argument} is {file!r}, which cannot be read: {error.strerror}."
        ) from error
    except yaml.MarkedYAMLError as error:
        line = 1 + error.problem_mark.line if error.problem_mark else 1
        raise InputError(
            f"{argument} is {file!r}, which is not YAML: line {line}: {error.problem}."
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{argument} is {file!r}, which is no text in UTF-8.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(
            f"{argument} is {file!r}, which holds no parameters; a parameter file holds names of"
            " nodes, and below each `ros__parameters:`."
        )
    return content


def in_file(content: Any, name: str) -> Any:
    """Return the value of a parameter in what a parameter file holds; None if it is not there."""
    # The last one that is not the default, whatever node it is meant for.
    defaults = (["image"], "")
    named = [each[name] for _, each in _parameter_sets(content) if name in each]
    return next((value for value in reversed(named) if value not in defaults), None)


def passed_over(content: Any, node: str) -> str | None:
    """Return the names of nodes in a parameter file, if there are some, and none is that node's."""
    nodes = ["".join(f"/{part}" for part in names) for names, _ in _parameter_sets(content)]
    if not nodes or any(re.fullmatch(_pattern(each), node) for each in nodes):
        return None
    return ", ".join(dict.fromkeys(nodes))


def _parameter_sets(
    content: Any, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield each node's parameters in what a parameter file holds, after the parts of its name."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == "ros__parameters" and isinstance(value, dict):
            yield names, value
        else:
            yield from _parameter_sets(value, (*names, *_parts(str(key))))


def _pattern(name: str) -> str:
    return "".join(_ANY_NAMES.get(part, re.escape(f"/{part}")) for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part]

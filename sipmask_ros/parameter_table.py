"""Parameters of a node as one table that declares, checks and documents them.

A table is a frozen dataclass of `parameter` fields that derives from `ParameterTable`; an object of
it holds values that were checked.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from sipmask_core.errors import InputError, first_of, nearest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.node import Node

MOST_UNKNOWN = 8  # parameters that one warning names
# Of topics, which rclpy declares as these are created.
_DECLARED_LATER = "qos_overrides."

T = TypeVar("T", bool, int, float, str, tuple[str, ...])

_IN_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    tuple: "a list of texts",
}
# The types that a value may have, if not only that of the default. ROS has lists and, of numbers,
# arrays; an empty list may arrive as an array of numbers, because YAML does not say its type.
_TAKES = {float: (float, int), tuple: (tuple, list, array)}


class Effect(Enum):
    """When a change to a running node takes effect; the value says it in words."""

    LIVE = "at once"
    RELOAD = "at the next configure or ~/reload_model"
    CONFIGURE = "at the next configure"
    START = "only when the node starts"


@dataclass(frozen=True)
class Row:
    """One parameter: its type is the default's, its range (for numbers) is inclusive."""

    name: str
    default: Any
    description: str
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    effect: Effect

    def accepted(self) -> str:
        """Say in words what the parameter accepts."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = _IN_WORDS[type(self.default)]
        if self.maximum is not None:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        return kind if self.minimum is None else f"{kind} from {self.minimum:g} up"

    def checked(self, value: Any) -> Any:
        """Return the value as the parameter's type; take an integer as a number, a list as a tuple.

        Raise InputError if its type or range is wrong, or if it is none of the choices.
        """
        kind = type(self.default)
        if (
            type(value) not in _TAKES.get(kind, (kind,))
            or (kind is float and not math.isfinite(value))
            or (kind is tuple and not all(type(each) is str for each in value))
            or (self.choices and value not in self.choices)
            or (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        ):
            shown = list(value) if isinstance(value, (tuple, array)) else value
            raise InputError(
                f"The parameter {self.name} is {shown!r}; accepted is {self.accepted()}."
            )
        return kind(value)


def parameter(
    default: T,
    description: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    effect: Effect = Effect.CONFIGURE,
) -> T:
    """Return a field of a table. A maximum needs a minimum."""
    return field(
        default=default,
        metadata={
            "description": description,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
            "effect": effect,
        },
    )


@dataclass(frozen=True)
class ParameterTable:
    """Values of a node's parameters.

    What must hold between several values is checked in a table's own `__post_init__`, after this
    one. Raises InputError, naming the first value that is wrong.
    """

    def __post_init__(self) -> None:
        for row in rows(type(self)):
            object.__setattr__(self, row.name, row.checked(getattr(self, row.name)))


Table = TypeVar("Table", bound=ParameterTable)


def rows(table: type[ParameterTable]) -> list[Row]:
    """Return what a table declares, in its order."""
    return [Row(declared.name, declared.default, **declared.metadata) for declared in fields(table)]


def declare(node: Node, table: type[ParameterTable]) -> None:
    """Declare a table's parameters on a node, and refuse wrong values from then on.

    It warns of values that the node was started with for parameters that it does not have: ROS says
    nothing of a name that is misspelt.

    ROS is told no types, and ranges only in words: it would check both with an exception while a
    node is constructed, and before any callback. Instead, a wrong value in a launch file becomes a
    sentence of `read`, and a later one a sentence of the refusal. What must hold between several
    values is left to `read`, since they may be set one after the other.
    """
    declared = {row.name: row for row in rows(table)}

    def refuse_wrong_values(changes: Iterable[Parameter]) -> SetParametersResult:
        try:
            for change in changes:
                if change.name in declared:
                    declared[change.name].checked(change.value)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    for row in declared.values():
        descriptor = ParameterDescriptor(
            description=row.description,
            additional_constraints=f"{row.accepted()}; a change takes effect {row.effect.value}",
            read_only=row.effect is Effect.START,
            dynamic_typing=True,
        )
        value = node.declare_parameter(row.name, row.default, descriptor).value
        if type(row.default) is tuple and value in (None, ()):
            # An empty list has no type in YAML, from which it arrives as nothing, nor in Python.
            node.set_parameters([Parameter(row.name, Parameter.Type.STRING_ARRAY, [])])
    node.add_on_set_parameters_callback(refuse_wrong_values)
    _warn_of_unknown(node, declared)


def _warn_of_unknown(node: Node, declared: Iterable[str]) -> None:
    with node.handle:
        given = node.handle.get_parameters(Parameter)
    unknown = []
    for name in sorted(given):
        if not node.has_parameter(name) and not name.startswith(_DECLARED_LATER):
            near = nearest_of(name, declared)
            unknown.append(f"{name} ({near})" if near else name)
    if unknown:
        node.get_logger().warning(
            f"This node has no parameter {first_of(unknown, MOST_UNKNOWN)}; what was given for it"
            " changes nothing."
        )


def read(node: Node, table: type[Table]) -> Table:
    """Return the node's present parameters. Raise InputError, naming the first that is wrong."""
    return table(**{row.name: node.get_parameter(row.name).value for row in rows(table)})


def changed(now: Table, changes: Iterable[Parameter]) -> Table:
    """Return the values with those of the changes that take effect at once.

    Raise InputError, naming the first of these that is wrong.
    """
    live = _names(now, Effect.LIVE)
    return replace(now, **{each.name: each.value for each in changes if each.name in live})


def reloaded(now: Table, wanted: Table) -> Table:
    """Return the values with those wanted that take effect once the model is loaded anew."""
    return replace(now, **{name: getattr(wanted, name) for name in _names(now, Effect.RELOAD)})


def delays(table: type[ParameterTable], names: Iterable[str]) -> str:
    """Say when changes to these parameters take effect; empty for those that do at once."""
    effects = {row.name: row.effect for row in rows(table)}
    return " ".join(
        f"{name} takes effect {effects[name].value}."
        for name in names
        if effects.get(name, Effect.LIVE) is not Effect.LIVE
    )


def _names(table: ParameterTable, effect: Effect) -> set[str]:
    return {row.name for row in rows(type(table)) if row.effect is effect}

"""Fields of a dataclass that say, each in one place, what they are and which values they accept."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound=float | None)


@dataclass(frozen=True)
class Setting:
    """What a field is and accepts; ranges are inclusive, but for `above`. None: no limit."""

    name: str
    default: Any
    description: str
    minimum: float | None
    maximum: float | None
    above: float | None

    @property
    def accepted(self) -> str:
        """The range in words."""
        if self.above is not None:
            upper = "" if self.maximum is None else f" and at most {self.maximum:g}"
            return f"above {self.above:g}{upper}"
        if self.maximum is None:
            return f"{self.minimum:g} or more"
        return f"from {self.minimum:g} to {self.maximum:g}"

    def accepts(self, value: float) -> bool:
        """Return whether the value is in the range; NaN and infinity never are."""
        return (
            abs(value) < float("inf")
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
        )


def setting(
    default: T,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> T:
    """Return a dataclass's field; None, if that is the default, stands for no choice.

    Give a minimum or what the value must be above, and a maximum if there is one.
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above}
    return field(default=default, metadata={"description": description, **limits})


def settings_of(kind: type[DataclassInstance]) -> dict[str, Setting]:
    """Return the settings of a dataclass by name."""
    return {
        declared.name: Setting(declared.name, declared.default, **declared.metadata)
        for declared in fields(kind)
    }


def check_settings(values: DataclassInstance) -> None:
    """Raise InputError, naming the first field whose value is out of its range."""
    for name, rule in settings_of(type(values)).items():
        value = getattr(values, name)
        if not (value is None and rule.default is None) and not rule.accepts(value):
            raise InputError(f"{name} is {value}; it must be {rule.accepted}.")

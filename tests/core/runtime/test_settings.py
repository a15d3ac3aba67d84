"""Settings: fields that know what they accept."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sipmask_core.errors import InputError
from sipmask_core.runtime.settings import check_settings, setting, settings_of


@dataclass(frozen=True)
class Lamp:
    brightness: float = setting(0.5, "How bright.", minimum=0, maximum=1)
    bulbs: int = setting(1, "How many.", minimum=1)
    period: float | None = setting(None, "Of blinking, seconds.", above=0, maximum=9)

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"brightness": 1.01}, "brightness is 1.01; it must be from 0 to 1."),
        ({"brightness": float("nan")}, "brightness is nan; it must be from 0 to 1."),
        ({"bulbs": 0}, "bulbs is 0; it must be 1 or more."),
        ({"bulbs": float("inf")}, "bulbs is inf; it must be 1 or more."),
        ({"period": 0}, "period is 0; it must be above 0 and at most 9."),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_accepted(values, sentence) -> None:
    with pytest.raises(InputError) as error:
        Lamp(**values)
    assert str(error.value) == sentence


def test_limits_are_accepted_and_none_if_it_is_the_default() -> None:
    assert Lamp(brightness=1, bulbs=1, period=9).period == 9
    assert Lamp(brightness=0).period is None


def test_a_setting_carries_its_description() -> None:
    assert settings_of(Lamp)["bulbs"].description == "How many."

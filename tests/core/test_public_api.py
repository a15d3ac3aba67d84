"""The names that other people's scripts import."""

from __future__ import annotations

import pytest

import sipmask_core as sm


@pytest.mark.parametrize("name", sm.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(sm, name) is not None
    assert name in dir(sm)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'yolo'"):
        _ = sm.yolo  # type: ignore[attr-defined]

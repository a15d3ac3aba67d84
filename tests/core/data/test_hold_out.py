import unicodedata

import pytest

from sipmask_core.data.hold_out import hold_out
from sipmask_core.errors import InputError


def test_the_held_out_names_depend_neither_on_order_nor_folder():
    names = [f"{i:012}.jpg" for i in range(50)]
    held = hold_out(names, 10)
    assert len(held) == 10
    assert hold_out(reversed(names), 10) == held
    assert {name.removeprefix("x/") for name in hold_out([f"x/{n}" for n in names], 10)} == held
    assert hold_out(names, 5) < held


def test_the_rule_of_the_hold_out_is_pinned():
    # sha256sum of "a", "b", "c": ca97..., 3e23..., 2e7d...
    assert hold_out(["a", "b", "c"], 1) == {"c"}
    assert hold_out(["a", "b", "c"], 2) == {"b", "c"}


def test_a_share_holds_out_the_same_images_whatever_else_a_file_lists():
    # 0x2e, 0x3e and 0xca of 0x100, see above
    assert hold_out(["a", "b", "c"], 0.2) == {"c"}
    assert hold_out(["a", "b"], 0.2) == frozenset()
    assert hold_out(["a", "b", "c"], 0.5) == {"b", "c"}
    names = [f"{i:012}.jpg" for i in range(500)]
    held = hold_out(names, 0.1)
    assert 30 < len(held) < 70
    assert hold_out(names[::2], 0.1) == held & set(names[::2])


@pytest.mark.parametrize("count", [-1, 3, 1.5, 0.9])
def test_a_hold_out_that_leaves_nothing_is_refused(count):
    with pytest.raises(InputError, match="a number from 0 to 2 is accepted"):
        hold_out(["a", "b", "c"], count)


def test_a_name_written_on_windows_or_macos_is_the_same_name():
    names = [f"{letter}é.jpg" for letter in "abcdef"]
    held = hold_out(names, 3)
    for other in (r"C:\photos\{}", "photos/{}"):
        assert hold_out([other.format(n) for n in names], 3) == {other.format(n) for n in held}
    apart = {unicodedata.normalize("NFD", name): name for name in names}
    assert {apart[name] for name in hold_out(apart, 3)} == held

from array import array
from dataclasses import dataclass

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from hypothesis import given
from hypothesis import strategies as st
from rclpy.node import Node
from rclpy.parameter import Parameter

from sipmask_core.errors import InputError
from sipmask_ros.parameter_table import (
    Effect,
    ParameterTable,
    changed,
    declare,
    parameter,
    read,
    reloaded,
    rows,
)

pytestmark = pytest.mark.usefixtures("ros")


@dataclass(frozen=True)
class Kettle(ParameterTable):
    lid: bool = parameter(True, "Closed.", effect=Effect.START)
    cups: int = parameter(2, "How many.", minimum=1, maximum=8)
    heat: float = parameter(0.5, "Of the most.", minimum=0.0, maximum=1.0, effect=Effect.LIVE)
    wait: float = parameter(0.0, "Seconds.", minimum=0.0)
    tea: str = parameter("", "Whose.", effect=Effect.RELOAD)
    kind: str = parameter("green", "Of tea.", choices=("green", "black"), effect=Effect.LIVE)
    herbs: tuple[str, ...] = parameter((), "In it.", effect=Effect.LIVE)
    pots: tuple[str, ...] = parameter(("big",), "To pour into.")


ROWS = {row.name: row for row in rows(Kettle)}


@pytest.fixture
def kettle():
    """Return what makes nodes that declare the table, started with these arguments of ROS."""
    nodes = []

    def kettle(*arguments):
        nodes.append(Node("kettle", cli_args=["--ros-args", *arguments]))
        declare(nodes[-1], Kettle)
        return nodes[-1]

    yield kettle
    for node in nodes:
        node.destroy_node()


def test_a_node_that_is_told_nothing_has_the_defaults(kettle):
    assert read(kettle(), Kettle) == Kettle()


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_default_passes_its_own_check(row):
    assert row.checked(row.default) == row.default


@pytest.mark.parametrize(
    ("argument", "herbs"),
    [
        ("herbs:=[]", ()),
        ("herbs:=[mint]", ("mint",)),
        ("herbs:=['lemon balm', mint]", ("lemon balm", "mint")),
    ],
)
def test_a_list_on_the_command_line_arrives(kettle, argument, herbs):
    assert read(kettle("-p", argument), Kettle).herbs == herbs


def test_an_empty_list_on_the_command_line_empties_one_that_is_not(kettle):
    assert read(kettle("-p", "pots:=[]"), Kettle).pots == ()


@pytest.mark.parametrize(
    ("written", "herbs"), [("[]", ()), ("[mint]", ("mint",)), ("\n    - mint", ("mint",))]
)
def test_a_list_in_a_parameter_file_arrives(kettle, tmp_path, written, herbs):
    file = tmp_path / "kettle.yaml"
    file.write_text(f"kettle:\n  ros__parameters:\n    herbs: {written}\n    cups: 3\n")
    assert read(kettle("--params-file", str(file)), Kettle) == Kettle(herbs=herbs, cups=3)


@pytest.mark.parametrize("empty", [[], (), array("q"), array("d")])
def test_an_empty_list_of_any_type_is_an_empty_list(empty):
    assert Kettle(pots=empty).pots == ()


def test_a_list_that_is_empty_is_one_of_texts_to_other_tools(kettle):
    assert kettle().get_parameter("herbs").type_ == Parameter.Type.STRING_ARRAY


def test_a_list_can_be_set_and_emptied_while_the_node_runs(kettle):
    node = kettle()
    for herbs in (("mint", "sage"), ()):
        (answer,) = node.set_parameters([Parameter("herbs", value=herbs)])
        assert answer.successful, answer.reason
        assert read(node, Kettle).herbs == herbs


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["cup:=3"], "cup (the nearest is cups)"),
        (["cups:=3", "lidd:=true", "xyz.w:=1"], "lidd (the nearest is lid), xyz.w"),
        ([f"{name}0:=1" for name in "abcdefghi"], "a0, b0, c0, d0, e0, f0, g0, h0 and 1 more"),
        (["cups:=3", "use_sim_time:=false", "qos_overrides./tea.publisher.depth:=2"], None),
    ],
)
def test_a_parameter_that_the_node_does_not_have_is_warned_of(kettle, capfd, given, named):
    kettle(*(word for each in given for word in ("-p", each)))
    said = capfd.readouterr().err
    sentence = f"This node has no parameter {named}; what was given for it changes nothing."
    assert (sentence in said) if named else ("no parameter" not in said)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("cups:=many", "The parameter cups is 'many'; accepted is an integer from 1 to 8."),
        ("cups:=9", "The parameter cups is 9; accepted is an integer from 1 to 8."),
        ("heat:=1.5", "The parameter heat is 1.5; accepted is a number from 0 to 1."),
        ("heat:=.nan", "The parameter heat is nan; accepted is a number from 0 to 1."),
        ("wait:=.inf", "The parameter wait is inf; accepted is a number from 0 up."),
        ("lid:=1", "The parameter lid is 1; accepted is true or false."),
        ("tea:=5", "The parameter tea is 5; accepted is a text."),
        ("kind:=red", "The parameter kind is 'red'; accepted is one of green, black."),
        ("herbs:=mint", "The parameter herbs is 'mint'; accepted is a list of texts."),
        ("herbs:=[1, 2]", "The parameter herbs is [1, 2]; accepted is a list of texts."),
    ],
)
def test_a_wrong_value_at_the_start_is_a_sentence_when_it_is_read(kettle, argument, sentence):
    node = kettle("-p", argument)
    with pytest.raises(InputError) as refused:
        read(node, Kettle)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.name != "lid"])
def test_a_wrong_value_later_is_refused_with_the_same_sentence_and_changes_nothing(kettle, row):
    node = kettle()
    wrong = 1 if isinstance(row.default, (str, tuple)) else "x"
    (answer,) = node.set_parameters([Parameter(row.name, value=wrong)])
    assert not answer.successful
    assert answer.reason == (
        f"The parameter {row.name} is {wrong!r}; accepted is {row.accepted()}."
    )
    assert read(node, Kettle) == Kettle()


@pytest.mark.parametrize("name", ["cups", "herbs"])
def test_a_parameter_cannot_be_deleted(kettle, name):
    node = kettle()
    (answer,) = node.set_parameters([Parameter(name)])
    assert not answer.successful
    assert read(node, Kettle) == Kettle()


def test_what_counts_only_at_the_start_is_read_only(kettle):
    node = kettle()
    (answer,) = node.set_parameters([Parameter("lid", value=False)])
    assert not answer.successful and "read-only" in answer.reason


def test_a_wrong_value_of_the_start_can_be_mended_beside_another_wrong_one(kettle):
    node = kettle("-p", "cups:=0", "-p", "heat:=2.0")
    for name, value in (("cups", 1), ("heat", 1.0)):
        assert node.set_parameters([Parameter(name, value=value)])[0].successful
    assert read(node, Kettle) == Kettle(cups=1, heat=1.0)


def test_a_parameter_is_described_with_what_it_accepts_and_when_it_counts(kettle):
    told = kettle().describe_parameter("heat")
    assert told.description == "Of the most."
    assert told.additional_constraints == "a number from 0 to 1; a change takes effect at once"


def test_of_a_change_only_what_is_live_counts():
    now = Kettle(cups=3)
    later = changed(
        now,
        [
            Parameter("heat", value=1),
            Parameter("herbs", value=["mint"]),
            Parameter("cups", value=4),
            Parameter("use_sim_time", value=True),
        ],
    )
    assert later == Kettle(cups=3, heat=1.0, herbs=("mint",))
    assert now == Kettle(cups=3)


def test_of_what_is_wanted_only_what_is_reloaded_counts_then():
    wanted = Kettle(tea="mine", heat=1.0, cups=4)
    assert reloaded(Kettle(cups=3), wanted) == Kettle(cups=3, tea="mine")


def test_a_change_that_is_wrong_is_refused():
    with pytest.raises(InputError, match="heat is -1"):
        changed(Kettle(), [Parameter("heat", value=-1.0)])


def test_an_integer_passes_for_a_number():
    assert type(Kettle(wait=1).wait) is float


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text()
    | st.binary()
)


@given(st.sampled_from(list(ROWS.values())), SCALARS | st.lists(SCALARS, max_size=3))
def test_any_value_is_accepted_as_its_type_or_refused_with_one_sentence(row, value):
    try:
        accepted = row.checked(value)
    except InputError as error:
        assert str(error) == (
            f"The parameter {row.name} is {value!r}; accepted is {row.accepted()}."
        )
    else:
        assert type(accepted) is type(row.default)
        # Not every integer is a float.
        same = float(value) if isinstance(accepted, float) else value
        assert accepted == (tuple(value) if isinstance(value, list) else same)
        assert row.checked(accepted) == accepted

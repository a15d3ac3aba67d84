"""The node's parameters: a value of the declared type, or a refusal in one sentence."""

import pytest
from fuzzing import STRANGE, fuzz, may_refuse
from hypothesis import strategies as st

pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sipmask_ros.node.parameters import Parameters
from sipmask_ros.parameter_table import rows

ROWS = rows(Parameters)
# What a ROS parameter can be.
values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=9),
    st.lists(st.one_of(st.text(max_size=3), st.integers(), st.floats()), max_size=3),
    st.sampled_from(STRANGE),
    st.sampled_from([row.default for row in ROWS]),
)


@fuzz(share=2, row=st.sampled_from(ROWS), value=values)
def test_a_parameter_has_its_type_or_is_refused(row, value):
    with may_refuse() as refusals:
        taken = row.checked(value)
    if refusals:
        assert row.name in refusals[0]
    else:
        assert type(taken) is type(row.default)

import sys
from importlib import import_module

import pytest

import sipmask_core as sm
from sipmask_core.cli.options import importing_bags


@pytest.mark.parametrize("name", ["rclpy", "rosbags", "ruamel.yaml", "sipmask_ros.msg"])
def test_bags_without_a_module_name_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(sm.InputError, match=f"\\[bag\\]'`: the module {name} is missing\\.$"),
        importing_bags(),
    ):
        import_module(name)


def test_bags_with_a_module_that_does_not_load_say_why():
    with (
        pytest.raises(sm.InputError, match=r"librcl\.so: no such file\.$"),
        importing_bags(),
    ):
        raise ImportError("librcl.so: no such file")

"""How the executables start and end."""

import signal
import sys
from types import ModuleType

import pytest

from sipmask_ros import start

ENDING = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def handlers():
    """Give the signals back to the tests afterwards."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_python_ends_does_not_kill_a_node_that_is_done(monkeypatch, handlers):
    kettle = ModuleType("kettle")
    kettle.main = lambda: 3
    monkeypatch.setitem(sys.modules, "kettle", kettle)
    monkeypatch.setitem(start.MODULES, "kettle", "kettle")
    assert start.start("kettle") == 3
    assert [signal.getsignal(number) for number in ENDING] == [signal.SIG_IGN] * 2

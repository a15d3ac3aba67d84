"""What the fuzz tests share: how many cases, how long one may take, and what a refusal is.

`make fuzz` sets SIPMASK_FUZZ_CASES, the number of cases of a test whose `share` is 1, and each run
tries new ones; what failed is kept in .hypothesis and tried first the next time. Without the
variable each test has a few cases, always the same.
"""

from __future__ import annotations

import copy
import faulthandler
import os
import resource
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from functools import wraps

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipmask_core.errors import InputError

CASES = int(os.environ.get("SIPMASK_FUZZ_CASES", "0"))
NIGHTLY = CASES > 0
FEW = 10  # cases of a test in the suite
AT_LEAST = 10_000  # cases of a night, all tests together
PATIENCE = 60  # seconds that one case of a night may take
MOST_MEMORY = 12 << 30  # bytes of address space of a night; PyTorch and ROS reserve a part of it

cases: Counter[str] = Counter()  # by test file
stuck = sys.stderr  # where the stack of a case without end goes


def fuzz(share: float = 1.0, **strategies):
    """Return `given`, with as many cases as the run asks for, counted and, at night, watched."""

    def decorate(test):
        surface = test.__module__.removeprefix("test_fuzz_")

        @wraps(test)
        def case(*args, **values):
            cases[surface] += 1
            with _watched():
                test(*args, **values)

        return settings(
            max_examples=max(1, round((CASES or FEW) * share)),
            derandomize=not NIGHTLY,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **({} if NIGHTLY else {"database": None}),
        )(given(**strategies)(case))

    return decorate


@contextmanager
def may_refuse():
    """Let an InputError of one line pass; yield a list that then holds its text."""
    refusals = []
    try:
        yield refusals
    except InputError as error:
        assert str(error).strip() and "\n" not in str(error), repr(str(error))
        refusals.append(str(error))


@st.composite
def damaged(draw, originals):
    """Draw bytes of which some are others, are missing, or come twice."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["flip", "set", "cut", "remove", "repeat", "insert"]))
        if kind == "flip":
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            data[start] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif kind == "cut":
            del data[start:]
        elif kind == "remove":
            del data[start : start + draw(st.integers(1, 16))]
        elif kind == "repeat":
            data[start:start] = data[start : start + draw(st.integers(1, 64))]
        else:
            data[start:start] = draw(st.binary(max_size=16))
    return bytes(data)


STRANGE = [None, True, -1, 0, 0.5, 2**31, 2**64, -(2**63), 1e308, float("nan"), float("inf")]
STRANGE += [
    "",
    "0",
    "a\nb",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"id": 1},
    [1, 2, 3, 4, 5, 6],
    "9" * 5000,
]


@st.composite
def mutated(draw, document):
    """Draw a JSON document with up to four parts missing, of another type, or repeated."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 4))):
        place, key, containers = None, None, [document]
        while containers:  # go down to any part
            place = containers[0]
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            deeper = isinstance(place[key], dict | list) and draw(
                st.sampled_from([True, True, False])
            )
            containers = [place[key]] if deeper else []
        if not place:
            continue
        kind = draw(st.sampled_from(["replace", "remove", "repeat", "nudge"]))
        if kind == "remove":
            del place[key]
        elif kind == "repeat" and isinstance(place, list):
            place.insert(key, copy.deepcopy(place[key]))
        elif kind == "nudge" and type(place[key]) in (int, float):
            place[key] += draw(st.sampled_from([-1, 1, 0.5, 2**31, 2**32, -(2**31), 1e9, 1e300]))
        elif kind == "nudge" and isinstance(place[key], str) and place[key]:
            at = draw(st.integers(0, len(place[key]) - 1))
            place[key] = place[key][:at] + draw(st.characters()) + place[key][at + 1 :]
        else:
            place[key] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
    return document


def prepare_for_the_night():
    """Let what allocates without bound fail, and keep a stderr that pytest does not capture."""
    global stuck
    stuck = os.fdopen(os.dup(2), "w")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, hard))


@contextmanager
def _watched():
    """Let a case that does not end at night fail; end the process if it is stuck in C code."""
    if not NIGHTLY:
        yield
        return
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True, file=stuck)
    signal.signal(signal.SIGALRM, _no_end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def _no_end(number, frame):
    raise AssertionError(f"No end within {PATIENCE} s.")

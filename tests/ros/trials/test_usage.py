import os
import subprocess
import threading

import numpy as np
import pytest

from sipmask_ros.trials.usage import usage_of


def test_what_is_allocated_opened_and_started_is_seen(tmp_path):
    before = usage_of(os.getpid())
    allocated = np.ones(64 << 20, np.uint8)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with (tmp_path / "file").open("w"):
        after = usage_of(os.getpid())
    end.set()
    thread.join()
    assert after.anonymous - before.anonymous > 0.9 * allocated.nbytes
    assert after.handles == before.handles + 1
    assert after.threads == before.threads + 1
    assert after.anonymous <= after.rss and after.pss <= after.rss


def test_a_process_that_has_ended_is_an_error():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # but is not yet cleared away
    with pytest.raises(OSError):
        usage_of(process.pid)
    process.wait()
    with pytest.raises(OSError):
        usage_of(process.pid)

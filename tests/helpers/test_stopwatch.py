"""A stopwatch doesn't count the time in which other processes use the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.helpers.stopwatch import Stopwatch


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_waiting_for_a_processor_does_not_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    try:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            began, stopwatch = time.monotonic(), Stopwatch()
            while time.monotonic() - began < 0.5:
                pass
            seconds = stopwatch.seconds
            other.kill()
    finally:
        os.sched_setaffinity(0, before)
    assert seconds < 0.4


def test_other_waiting_counts() -> None:
    stopwatch = Stopwatch()
    time.sleep(0.1)
    assert stopwatch.seconds > 0.05

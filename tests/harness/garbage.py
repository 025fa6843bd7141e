"""Fewer passes of the garbage collector over objects that live as long as the tests."""

from __future__ import annotations

import gc

import pytest

THRESHOLD = 20_000
"""New objects until a pass over the youngest; Python's default is 700."""


def pytest_configure() -> None:
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exclude modules and collected tests, millions of objects, from all later passes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
    gc.enable()

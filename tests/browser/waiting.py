"""Timeouts for pages on a busy machine."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.helpers.wait import wait_for

PATIENCE = 20_000
"""Maximum wait for an expected change, in milliseconds."""


def evaluates(page: Page, script: str, wanted: Any = True) -> None:
    """Wait until the script returns the wanted value.

    `Page.wait_for_function` uses `eval`, which the content security policy of the pages forbids.
    """
    wait_for(lambda: page.evaluate(script) == wanted, f"{wanted} of {script}", PATIENCE / 1000, 0.1)

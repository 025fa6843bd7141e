"""How long a page may take to show what is expected, on a machine that has much else to do."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.helpers.wait import wait_for

PATIENCE = 20_000
"""Milliseconds."""


def evaluates(page: Page, script: str, wanted: Any = True) -> None:
    """Playwright's own waiting evaluates texts, which the pages' policy forbids."""
    wait_for(lambda: page.evaluate(script) == wanted, f"{wanted} of {script}", PATIENCE / 1000, 0.1)

"""Destroying can be undone for a few seconds, and happens immediately on leaving the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandboxes.models import Sandbox, State
from tests.browser.conftest import Watch, sign_in
from tests.browser.test_polling import poll
from tests.helpers.scenarios import launch, reload

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

UNDO_MILLISECONDS = 6000
"""Delay before the request is sent, as in `portal.js`."""


@pytest.fixture
def context(own_context: BrowserContext) -> BrowserContext:
    """Return a new context, because the clock of a context stays installed."""
    return own_context


@pytest.fixture
def sandbox(page: Page, alice: User, runtime: MemoryRuntime, watch: Watch) -> Sandbox:
    """Launch a sandbox and destroy it in the browser."""
    page.clock.install()
    running = launch(alice, name="checkout")
    sign_in(page, alice)
    page.get_by_role("link", name="Destroy").click()
    expect(page.get_by_text("checkout will be destroyed.")).to_be_visible()
    return running


def test_undo_is_focused_and_cancels_the_destruction(page: Page, sandbox: Sandbox) -> None:
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    poll(page, sandbox)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    expect(page.get_by_role("link", name="Destroy")).to_be_focused()
    with page.expect_response(lambda answer: "/overview/" in answer.url):
        page.clock.fast_forward(2 * UNDO_MILLISECONDS)
    assert reload(sandbox).state == State.RUNNING


def test_leaving_the_page_destroys_immediately(page: Page, sandbox: Sandbox) -> None:
    page.get_by_role("link", name="API tokens").click()
    expect(page.get_by_role("heading", name="API tokens")).to_be_visible()
    page.get_by_role("link", name="Sandboxes").first.click()
    expect(page.get_by_text("Destroyed by its owner")).to_be_visible()
    assert reload(sandbox).state == State.DESTROYED

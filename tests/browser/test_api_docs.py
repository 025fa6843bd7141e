"""The API documentation page under the portal's content security policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from playwright.sync_api import expect

from sandboxes.models import Sandbox
from tests.browser.conftest import sign_in
from tests.browser.test_page_states import APPEARANCES

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Page

    from tests.browser.test_page_states import Appearance

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watch")]


def test_docs_show_every_operation(page: Page) -> None:
    page.goto("/api/v1/docs")
    page.get_by_role("button", name="Authorize").wait_for()
    described = Client().get("/api/v1/openapi.json").json()
    described_parts = [*described["paths"].values(), *described["webhooks"].values()]
    operations = sum(len(part) for part in described_parts)
    expect(page.locator(".opblock")).to_have_count(operations)


@pytest.mark.parametrize(
    "appearances",
    [APPEARANCES[1:], pytest.param(APPEARANCES, marks=pytest.mark.exhaustive)],
    ids=["dark and narrow", "every"],
)
def test_the_reference_is_accessible_in_its_appearances(
    page: Page, appearances: list[Appearance]
) -> None:
    page.goto("/api/v1/docs")
    page.locator("#operations-Sandboxes-launch_sandbox").get_by_role("button").first.click()
    page.get_by_role("button", name="Try it out").wait_for()
    for appearance in appearances:
        assert appearance.severe_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= appearance.width


def test_signed_in_user_executes_a_launch(page: Page, alice: User) -> None:
    sign_in(page, alice)
    page.goto("/api/v1/docs")
    launch = page.locator("#operations-Sandboxes-launch_sandbox")
    launch.get_by_role("button").first.click()
    launch.get_by_role("button", name="Try it out").click()
    launch.locator("textarea.body-param__text").fill('{"name": "from the page"}')
    launch.get_by_role("button", name="Execute").click()
    launch.locator(".live-responses-table .response-col_status", has_text="201").wait_for()
    sandbox = Sandbox.objects.get()
    assert (sandbox.owner, sandbox.name) == (alice, "from the page")

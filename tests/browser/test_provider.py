"""Sign-in with a real OAuth provider under the content security policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("server", "provider")]


@pytest.mark.parametrize("javascript", ["with JavaScript", "without"])
def test_provider_sign_in_returns_to_the_dashboard(new_context, server, javascript) -> None:
    page: Page = new_context(
        base_url=str(server), java_script_enabled=javascript == "with JavaScript"
    ).new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Continue with Example Inc.").click()
    page.get_by_label("Account menu (carol@example.com)").wait_for()

    assert messages == []

"""Steps before the click on a button and expectations after it, for `button_inventory.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from sandboxes.models import Sandbox
from sandboxes.runtime import get_runtime
from tests.browser.page_states import show_credentials
from tests.browser.scenarios import TOTP_KEY
from tests.browser.waiting import PATIENCE, evaluates
from tests.helpers.scenarios import totp_code
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Act = Callable[[Page], None]

DOWNLOADED: list[str] = []
"""Names of the files downloaded since the last step that listens for downloads."""


def sees(text: str) -> Act:
    def then(page: Page) -> None:
        expect(page.get_by_text(text).locator("visible=true").first).to_be_visible()

    return then


def misses(text: str) -> Act:
    def then(page: Page) -> None:
        expect(page.get_by_text(text).locator("visible=true")).to_have_count(0)

    return then


def lands(path: str) -> Act:
    def then(page: Page) -> None:
        expect(page).to_have_url(re.compile(rf"^https?://[^/]+{path}"))

    return then


def fills(**fields: str) -> Act:
    def first(page: Page) -> None:
        for label, value in fields.items():
            page.get_by_label(label.replace("_", " "), exact=True).fill(value)

    return first


def clicks(role: str, name: str) -> Act:
    def first(page: Page) -> None:
        found = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        found.locator("visible=true").first.click()

    return first


def says_yes(page: Page) -> None:
    """Grant notifications when asked, as a user would; headless Chromium always denies them."""
    page.evaluate(
        """() => {
            let answer = "default";
            Notification.requestPermission = async () => (answer = "granted");
            Object.defineProperty(Notification, "permission", { get: () => answer });
            const place = document.getElementById("warnings");
            htmx.trigger(place, "htmx:afterSwap", { elt: place });
        }"""
    )


def still_runs(page: Page) -> None:
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert set(Sandbox.objects.live().values_list("state", flat=True)) == {"running"}


def copied(page: Page) -> None:
    copied_text = page.locator("[data-copy]").first.get_attribute("data-copy")
    evaluates(page, "navigator.clipboard.readText()", copied_text)


def hears_more(page: Page) -> None:
    clicks("link", "api")(page)
    sees("api started")(page)
    get_runtime().write_log(Sandbox.objects.get().public_id, "api", "one line more")  # type: ignore[attr-defined]


def downloads(end: str) -> Act:
    def then(page: Page) -> None:
        wait_for(
            lambda: DOWNLOADED or page.wait_for_timeout(100),
            "a file is downloaded",
            PATIENCE / 1000,
        )
        assert [name.endswith(end) for name in DOWNLOADED] == [True]

    return then


def tab(name: str) -> Act:
    def first(page: Page) -> None:
        DOWNLOADED.clear()
        page.on("download", lambda file: DOWNLOADED.append(file.suggested_filename))
        show_credentials(page)
        page.get_by_text(name, exact=True).click()

    return first


def listens(page: Page) -> None:
    DOWNLOADED.clear()
    page.on("download", lambda file: DOWNLOADED.append(file.suggested_filename))


def narrow(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 820})


def to_the_dashboard(page: Page) -> None:
    page.goto("/")


def on_the_card(name: str) -> Act:
    def first(page: Page) -> None:
        to_the_dashboard(page)
        tab(name)(page)

    return first


def at_github(page: Page) -> None:
    """Answer requests to GitHub without calling it."""
    page.route("https://github.com/**", lambda route: route.fulfill(body="GitHub asks who you are"))


def runs_now(page: Page) -> None:
    expect(page.get_by_role("article").get_by_text("Running", exact=True).first).to_be_visible()


def enters_the_code(page: Page) -> None:
    key = page.get_by_label("Can't scan?").input_value()
    page.get_by_label("Authenticator code").fill(totp_code(key))


def enters_the_code_of_two_factors(page: Page) -> None:
    page.get_by_label("Code").fill(totp_code(TOTP_KEY))

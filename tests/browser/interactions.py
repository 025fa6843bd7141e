"""Steps before the click on a button and expectations after it, for `button_inventory.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from playwright.sync_api import expect

from sandboxes.models import Sandbox
from sandboxes.runtime import get_runtime
from tests.browser.scenarios import TOTP_KEY
from tests.browser.waiting import PATIENCE, evaluates
from tests.helpers.scenarios import totp_code
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Interaction = Callable[[Page], None]

DOWNLOADED: list[str] = []
"""Names of the files downloaded since recording started."""
RECORDED_PAGES: WeakSet[Page] = WeakSet()
"""Pages that have a listener; pages are reused."""


def expect_text(text: str) -> Interaction:
    def interaction(page: Page) -> None:
        expect(page.get_by_text(text).locator("visible=true").first).to_be_visible()

    return interaction


def expect_no_text(text: str) -> Interaction:
    def interaction(page: Page) -> None:
        expect(page.get_by_text(text).locator("visible=true")).to_have_count(0)

    return interaction


def expect_path(path: str) -> Interaction:
    def interaction(page: Page) -> None:
        expect(page).to_have_url(re.compile(rf"^https?://[^/]+{path}"))

    return interaction


def fill(**fields: str) -> Interaction:
    def interaction(page: Page) -> None:
        for label, value in fields.items():
            page.get_by_label(label.replace("_", " "), exact=True).fill(value)

    return interaction


def click(role: str, name: str) -> Interaction:
    def interaction(page: Page) -> None:
        found = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        found.locator("visible=true").first.click()

    return interaction


def allow_notifications(page: Page) -> None:
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


def expect_not_destroyed(page: Page) -> None:
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert set(Sandbox.objects.live().values_list("state", flat=True)) == {"running"}


def expect_copied(page: Page) -> None:
    copied_text = page.locator("[data-copy]").first.get_attribute("data-copy")
    evaluates(page, "navigator.clipboard.readText()", copied_text)


def open_log_and_add_line(page: Page) -> None:
    click("link", "api")(page)
    expect_text("api started")(page)
    get_runtime().write_log(Sandbox.objects.get().public_id, "api", "one line more")  # type: ignore[attr-defined]


def expect_download(end: str) -> Interaction:
    def interaction(page: Page) -> None:
        wait_for(
            lambda: DOWNLOADED or page.wait_for_timeout(100),
            "a file is downloaded",
            PATIENCE / 1000,
        )
        assert [name.endswith(end) for name in DOWNLOADED] == [True]

    return interaction


def open_summary(text: str) -> Interaction:
    def interaction(page: Page) -> None:
        page.locator("summary", has_text=text).first.click()

    return interaction


def name_save_point(page: Page) -> None:
    open_summary("Save points")(page)
    page.get_by_label("Save the present data as").first.fill("invoice-export")


def click_text(text: str) -> Interaction:
    def interaction(page: Page) -> None:
        record_downloads(page)
        page.get_by_text(text, exact=True).click()

    return interaction


def record_downloads(page: Page) -> None:
    DOWNLOADED.clear()
    if page not in RECORDED_PAGES:
        RECORDED_PAGES.add(page)
        page.on("download", lambda file: DOWNLOADED.append(file.suggested_filename))


def use_phone_width(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 820})


def stub_github(page: Page) -> None:
    """Answer requests to GitHub without calling it."""
    page.route("https://github.com/**", lambda route: route.fulfill(body="The stub of GitHub"))


def stub_gateway(page: Page) -> None:
    """Answer requests to sandboxes' host names without a gateway."""
    page.route("https://*.sandboxes.example.net/**", lambda route: route.fulfill(body="Opened"))


def expect_launched(page: Page) -> None:
    expect(page.get_by_role("article").get_by_text("Running", exact=True).first).to_be_visible()


def fill_setup_code(page: Page) -> None:
    key = page.get_by_label("Can't scan?").input_value()
    page.get_by_label("Authenticator code").fill(totp_code(key))


def fill_second_factor_code(page: Page) -> None:
    page.get_by_label("Code").fill(totp_code(TOTP_KEY))

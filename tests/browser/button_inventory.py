"""Every button of the portal's pages, and what it does.

A test fails if a page (`page_states.py`) has a button that isn't listed here, or if a listed button
isn't on its page. An entry consists of the visible label, the page state in which the button is
clicked, and the expectation after the click. `Button.prepare` runs before the click, for example to
fill in a form or open a menu.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.browser.interactions import (
    allow_notifications,
    click,
    click_text,
    expect_copied,
    expect_download,
    expect_launched,
    expect_no_text,
    expect_not_destroyed,
    expect_path,
    expect_text,
    fill,
    fill_second_factor_code,
    fill_setup_code,
    name_save_point,
    open_log_and_add_line,
    open_summary,
    record_downloads,
    stub_gateway,
    stub_github,
    use_phone_width,
)
from tests.browser.page_states import open_extend, open_menu, open_rename
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.interactions import Interaction

FIND_BUTTONS = """() => [...document.querySelectorAll(
    "button, summary, input[type=submit], a.button, a.link-button, a.tab, a[data-dialog]"
)].map(element => [
    element.tagName === "A" ? "link" : element.tagName === "SUMMARY" ? "summary" : "button",
    (element.getAttribute("aria-label") || element.textContent).replace(/\\s+/g, " ").trim(),
])"""
IS_SCRIPTED = """button => [button, button.closest("form")].some(
    element => element?.getAttributeNames().some(name => /^(hx|data)-/.test(name))
)"""
"""Whether the portal's scripts handle the element; a plain link or form needs none."""
NAMES = r"\b(checkout-tests|webhook-spike|invoice-export|plan-migration|ci-pipeline|amber-falcon)\b"
PLACEHOLDERS = [
    (r"\d\d:\d\d", "TIME"),
    (NAMES, "NAME"),
    (r"\bplan_\d+\b", "ROW"),
    # Operators have the same menu as users.
    (r"olga@example", "alice@example"),
    (r"^(Copy|Last log lines|invoice\.paid|\d{3} [A-Z]+) .+", r"\1 …"),
]
"""Patterns for the variable parts of labels, and their placeholders in the list."""
PLACEHOLDER_PATTERNS = {
    ":": r"\s?:",
    "TIME": r"\d\d:\d\d( UTC)?",
    "NAME": r"[\w-]+",
    "ROW": r"plan_\d+",
    r"\ …": r"[\s\S]+",
}


def label_of(kind: str, text: str) -> str:
    for pattern, word in PLACEHOLDERS:
        text = re.sub(pattern, word, text)
    return f"{kind} {text}"


def find_labels(page: Page) -> set[str]:
    """Return the labels of all buttons of the page, hidden ones included, as in the list."""
    return {label_of(kind, text) for kind, text in page.evaluate(FIND_BUTTONS)}


def change_nothing(page: Page) -> None:
    """Leave the page as it was opened."""


@dataclass(frozen=True)
class Button:
    label: str
    state: str
    expectation: Interaction
    prepare: Interaction = change_nothing
    script: bool | None = None
    """Whether the button needs JavaScript (True), appears only without it (False), or works in both
    cases (None)."""
    page: str = ""
    """The page state that has the button without JavaScript, if it differs from `state`."""
    downloads: bool = False
    """Whether the click downloads a file and leaves the page as it is."""

    @property
    def keeps_page(self) -> bool:
        """Whether other buttons can be clicked afterwards, without opening the page again."""
        return self.downloads or self.label.startswith("summary ")

    def locate(self, page: Page) -> Locator:
        kind, _, text = self.label.partition(" ")
        pattern = re.escape(text)
        for word, placeholder_pattern in PLACEHOLDER_PATTERNS.items():
            pattern = pattern.replace(word, placeholder_pattern)
        if kind == "summary":
            by_aria_label = page.locator(f'summary[aria-label="{text}"]')
            return page.locator("summary", has_text=re.compile(pattern)).or_(by_aria_label)
        return page.get_by_role(kind, name=re.compile(f"^{pattern}$"))  # type: ignore[arg-type]

    def check(self, page: Page) -> bool:
        """Click the button, check the result, and return whether a script handles the click."""
        self.prepare(page)
        button = self.locate(page).locator("visible=true").first
        scripted = bool(button.evaluate(IS_SCRIPTED))
        button.click()
        self.expectation(page)
        return scripted


NEW_PASSWORD = {"New password": f"{PASSWORD}!", "Confirm new password": f"{PASSWORD}!"}
NEW_ACCOUNT = {"Email": "bob@example.com", "Password": PASSWORD}
DETAIL_PAGE = r"/sandboxes/sbx_\w+/$"

BUTTONS = [
    # Sign-in and account
    Button(
        "button Sign in",
        "login",
        expect_path("/$"),
        fill(Email="alice@example.com", Password=PASSWORD),
    ),
    Button("button Create account", "signup", expect_path("/$"), fill(**NEW_ACCOUNT)),
    Button(
        "button Send reset link",
        "password-reset",
        expect_text("mail"),
        fill(Email="alice@example.com"),
    ),
    Button("summary Account menu (alice@example.com)", "first-run", expect_text("Sign out")),
    Button("button Sign out", "first-run", expect_path("/accounts/login/"), open_menu),
    Button(
        "button Add",
        "account-email",
        expect_text("bob@example.com"),
        fill(Email="bob@example.com"),
    ),
    Button("button Make primary", "account-email", expect_text("rimary")),
    Button("button Resend verification", "account-email", expect_text("alice@example.com")),
    Button("button Remove", "account-email", expect_text("cannot remove")),
    Button(
        "button Update password",
        "account-password",
        expect_text("changed"),
        fill(Current_password=PASSWORD, **NEW_PASSWORD),
    ),
    Button("button Confirm", "account-confirm", expect_path("/$"), fill(Password=PASSWORD)),
    Button("link Set up", "account-2fa", expect_text("Confirm it's you")),
    Button("button Turn on", "account-2fa-setup", expect_text("Recovery codes"), fill_setup_code),
    Button(
        "button Send verification email to alice@example.com",
        "account-2fa-unverified",
        expect_text("alice@example.com"),
    ),
    Button("link View", "account-2fa-on", expect_text("Confirm it's you")),
    Button("link Turn off", "account-2fa-on", expect_text("Confirm it's you")),
    Button("button Turn off", "account-2fa-off", expect_text("Set up")),
    Button("link Cancel", "account-2fa-off", expect_path("/accounts/2fa/$")),
    Button(
        "link Download",
        "account-2fa-codes",
        expect_download(".txt"),
        record_downloads,
        downloads=True,
    ),
    Button(
        "link Generate new codes", "account-2fa-codes", expect_text("Generate new recovery codes?")
    ),
    Button("button Generate new codes", "account-2fa-new-codes", expect_text("Remaining codes")),
    Button("button Sign in", "login-second-step", expect_path("/$"), fill_second_factor_code),
    Button("button Use a different account", "login-second-step", expect_path("/accounts/login/")),
    Button("button Sign out", "logout", expect_path("/accounts/login/")),
    Button("button Create account", "invitation", expect_path("/$"), fill(Password=PASSWORD)),
    Button("button Confirm", "confirm-email", expect_path("/accounts/login/")),
    Button("link Go to email addresses", "confirm-email-invalid", expect_path("/accounts/login/")),
    Button(
        "button Set new password",
        "password-reset-key",
        expect_text("changed"),
        fill(**NEW_PASSWORD),
    ),
    Button(
        "link Request a new link",
        "password-reset-invalid",
        expect_path("/accounts/password/reset/$"),
    ),
    Button(
        "button Continue with GitHub",
        "login-providers",
        expect_text("The stub of GitHub"),
        stub_github,
    ),
    Button(
        "button Connect GitHub",
        "account-connections",
        expect_text("The stub of GitHub"),
        stub_github,
    ),
    Button("button Disconnect", "account-connections", expect_text("has been disconnected")),
    Button("link Sign in", "invitation-invalid", expect_path("/accounts/login/")),
    Button(
        "button Sign out all other sessions",
        "account-sessions",
        expect_no_text("Sign out all other sessions"),
    ),
    Button("link Back to sandboxes", "404", expect_path("/$")),
    # Dashboard
    Button("button Launch sandbox", "first-run", expect_launched),
    Button("link See why NAME failed", "failed-below-running", expect_path(DETAIL_PAGE)),
    Button(
        "link Destroy the oldest (NAME)",
        "limit",
        expect_text("webhook-spike will be destroyed."),
        script=True,
    ),
    Button(
        "link Destroy the oldest (NAME)",
        "limit",
        expect_text("Destroy webhook-spike?"),
        script=False,
    ),
    Button("link View all in History", "dashboard", expect_path("/history/$")),
    Button(
        "button Dismiss", "none-running", expect_text("Dismissed. Ended sandboxes stay in History.")
    ),
    Button("button Undo", "dismissed", expect_text("Recently ended")),
    Button("button Launch again", "none-running", expect_launched),
    # One sandbox
    Button("link Details: NAME", "dashboard", expect_path(DETAIL_PAGE)),
    Button(
        "link Cancel",
        "provisioning",
        expect_text("The launch of checkout-tests will be canceled."),
        script=True,
    ),
    Button("link Cancel", "provisioning", expect_text("Destroy checkout-tests?"), script=False),
    Button("button Show credentials", "dashboard", expect_text("Authorization: Bearer sk_test_")),
    Button("link Hide credentials", "first-call", expect_no_text("GET /v1/plans")),
    Button(
        "button Download .env",
        "first-call",
        expect_download(".env"),
        click_text(".env"),
        downloads=True,
    ),
    Button("link Try the API", "first-call", expect_path(r"/sandboxes/sbx_\w+/api/$")),
    Button("button Copy …", "dashboard", expect_copied, script=True),
    Button("button Open", "open-endpoint", expect_text("Opened"), stub_gateway),
    Button("button Search", "docs-own", expect_path("/docs/search/")),
    Button("button Fill in its URL and key", "docs-own", expect_text("Bearer sk_test_")),
    Button("summary On this page", "docs-page", expect_text("Idempotency and waiting")),
    Button("button Keep alive", "dashboard", expect_text("Idle timer reset to 30 minutes.")),
    Button("summary Extend", "dashboard", expect_text("Extend by (one time)")),
    Button(
        "button 30 min until TIME", "dashboard", expect_text("Extended by 30 minutes."), open_extend
    ),
    Button(
        "button 1 h until TIME", "dashboard", expect_text("Extended by 60 minutes."), open_extend
    ),
    Button(
        "button 2 h until TIME", "dashboard", expect_text("Extended by 120 minutes."), open_extend
    ),
    Button("button Extend to TIME", "warning", expect_text("Extended by 120 minutes.")),
    Button("button Retry funding", "sandbox-unfunded", expect_text("Retrying funding…")),
    Button("link Reset data", "dashboard", expect_text("Reset data in checkout-tests?")),
    Button(
        "button Reset data",
        "dashboard",
        expect_text("Resetting data…"),
        click("link", "Reset data"),
        script=True,
    ),
    Button(
        "button Reset data",
        "dashboard",
        expect_text("Reset finished in"),
        click("link", "Reset data"),
        script=False,
    ),
    Button(
        "link Destroy", "dashboard", expect_text("checkout-tests will be destroyed."), script=True
    ),
    Button("link Destroy", "dashboard", expect_text("Destroy checkout-tests?"), script=False),
    Button("button Destroy", "confirm", expect_text("Destroyed by its owner")),
    Button("summary Rename", "sandbox-ended", expect_text("Save")),
    Button("button Save", "sandbox-ended", expect_text("Renamed to plan-migration."), open_rename),
    Button("button Undo", "undo", expect_not_destroyed, script=True),
    Button("button Cancel", "reset", expect_no_text("Reset data in checkout-tests?"), script=True),
    Button("link Cancel", "confirm", expect_path(r"/#card-sbx_\w+$")),
    Button("summary Last log lines …", "failed", expect_no_text("Traceback")),
    Button("link api", "sandbox-unfunded", expect_text("api started")),
    Button("link db", "sandbox-unfunded", expect_text("db started")),
    Button(
        "button Refresh", "sandbox-unfunded", expect_text("one line more"), open_log_and_add_line
    ),
    Button(
        "link Download",
        "sandbox-unfunded",
        expect_download(".log"),
        record_downloads,
        downloads=True,
    ),
    Button(
        "summary Show as table",
        "sandbox-out-of-memory",
        expect_text("Traffic is everything sent"),
    ),
    Button("button Retry", "failed", expect_text("checkout-tests")),
    # The API explorer
    Button(
        "button Postman collection",
        "first-call",
        expect_download(".json"),
        click_text("Postman"),
        downloads=True,
    ),
    Button(
        "link OpenAPI file",
        "first-call",
        expect_download(".json"),
        click_text("Postman"),
        downloads=True,
    ),
    *(
        Button(f"summary {group.capitalize()}", "explorer", expect_text(f"List {group}"))
        for group in (
            "subscribers",
            "subscriptions",
            "invoices",
            "payments",
            "payment methods",
            "refunds",
            "events",
            "webhook endpoints",
            "webhook deliveries",
            "faults",
            "requests",
            "stellar payments",
            "stellar transfers",
        )
    ),
    Button("summary Test clock", "explorer", expect_text("Change the test clock")),
    Button("summary Plans", "explorer", expect_no_text("List plans")),
    Button("button Send", "explorer-start", expect_text("200 OK")),
    Button("button Show as curl", "explorer-start", expect_text("Bearer sk_test_")),
    Button("summary Headers", "explorer", expect_text("content-type")),
    Button("summary Equivalent curl command", "explorer", expect_no_text("Bearer $API_KEY")),
    Button(
        "button Open",
        "explorer",
        expect_path(".+operation=getPlan"),
        use_phone_width,
        script=False,
    ),
    Button("link Plans", "explorer-start", expect_text("10 of 12")),
    *(
        Button(f"link {kind}", "explorer-start", expect_text("No rows."))
        for kind in (
            "Subscribers",
            "Subscriptions",
            "Invoices",
            "Payments",
            "Payment methods",
            "Refunds",
            "Events",
            "Webhook endpoints",
            "Webhook deliveries",
            "Faults",
            "Requests",
            "Stellar payments",
            "Stellar transfers",
        )
    ),
    Button("link ROW", "explorer-start", expect_text('"id": "plan_0"')),
    Button("link Use in a request", "explorer-row", expect_text("/v1/plans/{id}"), script=True),
    Button("button Close", "explorer-row", expect_no_text('"id": "plan_1"'), script=True),
    Button("link Try again", "explorer-unreachable", expect_text("can't reach the sandbox")),
    # History and tokens
    Button("button Filter", "history", expect_text("checkout-tests")),
    Button("link Older", "history", expect_text("Newest")),
    Button("link Newest", "history-older", expect_path("/history/$")),
    Button("button Create token", "tokens", expect_text("see it again"), fill(Name="ci-pipeline")),
    Button("link Revoke NAME", "tokens-new", expect_text("Revoke ci-pipeline?")),
    Button(
        "button Revoke", "tokens-revoke", expect_text("Token ci-pipeline revoked."), page="revoke"
    ),
    Button("button Cancel", "tokens-revoke", expect_no_text("Revoke ci-pipeline?"), script=True),
    Button("link Cancel", "revoke", expect_path("/tokens/$")),
    # Command line
    Button("link Create a token", "client", expect_path("/tokens/$")),
    Button("button Continue", "device", expect_text("No sign-in waits"), fill(Code="BCDF-GHJK")),
    Button("button Approve", "device-code", expect_text("Approved. Return to the terminal.")),
    Button("button Deny", "device-code", expect_text("Denied. The client gets no access.")),
    # Save points
    Button("summary Save points", "dashboard", expect_text("Save the present data as")),
    Button("button Save data", "dashboard", expect_path("/save-points/$"), name_save_point),
    Button("button Launch from NAME", "save-points", expect_path(r"/#card-sbx_\w+$")),
    Button("summary Restore NAME", "save-points", expect_text("Replaces the present data")),
    Button("button Restore data", "save-points", expect_path(DETAIL_PAGE), open_summary("Restore")),
    Button("summary Rename NAME", "save-points", expect_text("Save name")),
    Button("button Save name", "save-points", expect_text("Renamed to"), open_summary("Rename")),
    Button("summary Delete NAME", "save-points", expect_text("Deletes the saved data.")),
    Button(
        "button Delete save point", "save-points", expect_text("Deleted"), open_summary("Delete")
    ),
    # The inbox
    Button("link Events", "sandbox", expect_path(r"/sandboxes/sbx_\w+/inbox/$")),
    Button("summary invoice.paid …", "inbox", expect_text("evt_000000001")),
    Button("button Filter", "inbox", expect_path(r"/sandboxes/sbx_\w+/inbox/\?type=$")),
    Button("button Replay evt_000000001", "inbox-event", expect_text("Event queued again.")),
    Button(
        "button Send event",
        "inbox",
        expect_text("Event recorded."),
        fill(Type="invoice.paid", Object="inv_001"),
    ),
    *(
        Button(f"button {label}", "inbox", expect_text("Clock changed."))
        for label in (
            "Advance a day",
            "Advance a week",
            "Advance a month",
            "Freeze",
            "Advance to the next step",
        )
    ),
    Button("button Save whe_001", "inbox", expect_text("Changes saved.")),
    # The request log
    Button("link Requests", "sandbox", expect_path(r"/sandboxes/sbx_\w+/requests/$")),
    *(
        Button(f"summary {label} …", "requests", expect_text(request_id))
        for label, request_id in (
            ("201 POST", "req_1"),
            ("404 GET", "req_2"),
            ("422 POST", "req_3"),
        )
    ),
    Button(
        "button Filter",
        "requests",
        expect_path(r"/sandboxes/sbx_\w+/requests/\?method=&status=&path=&text=$"),
    ),
    Button("link Refresh", "requests", expect_text("/v1/plans/plan_x")),
    Button(
        "button Send again log_000000001",
        "requests",
        expect_text("201 Created"),
        lambda page: page.locator("summary", has_text="201").click(),
    ),
    Button("summary Headers", "requests-sent", expect_text("content-type")),
    Button(
        "button Send again log_000000002",
        "requests",
        expect_text("404 Not Found"),
        click_text("/v1/plans/plan_x"),
    ),
    # Webhooks, preferences and banners
    Button(
        "button Create webhook",
        "webhooks",
        expect_text("Copy the signing secret"),
        fill(Endpoint_URL="https://hooks.example.com/portal"),
    ),
    Button("link Open NAME", "webhooks-new", expect_text("Events to send")),
    Button("button Send test event", "webhook", expect_text("Test event sent.")),
    Button("button Disable", "webhook", expect_text("Webhook disabled.")),
    Button("button Enable", "webhook-disabled", expect_text("Webhook enabled.")),
    Button("link Rotate secret", "webhook", expect_text("Rotate the signing secret of")),
    Button("button Rotate secret", "webhook-secret", expect_text("Copy the new signing secret")),
    Button("link Delete webhook", "webhook", expect_text("Delete ci-pipeline?")),
    Button("button Delete", "webhook-delete", expect_text("Webhook ci-pipeline deleted.")),
    Button("button Save", "webhook", expect_text("Changes saved.")),
    Button("button Save", "preferences", expect_text("Preferences saved.")),
    Button(
        "button Allow notifications",
        "preferences",
        expect_no_text("Allow notifications"),
        allow_notifications,
        script=True,
    ),
    Button(
        "button Notify me",
        "warning-banner",
        expect_no_text("Notify me"),
        allow_notifications,
        script=True,
    ),
    Button("button Extend by 2 h", "warning-banner", expect_text("Extended by 120 minutes.")),
    # Links in emails
    Button("button Keep alive", "keep", expect_text("webhook-spike will keep running")),
    Button("button Extend by 2 h", "keep-extend", expect_text("checkout-tests will keep running")),
    Button("link Go to portal", "keep-done", expect_path("/accounts/login/")),
    Button("button Unsubscribe", "unsubscribe", expect_text("Unsubscribed")),
    Button("link Keep emails", "unsubscribe", expect_path("/accounts/login/")),
    Button("link Preferences", "unsubscribe-done", expect_path("/accounts/login/")),
]

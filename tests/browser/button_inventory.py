"""Every button of the portal's pages, and what it does.

A test fails if a page (`page_states.py`) has a button that isn't listed here, or if a listed button
isn't on its page. An entry consists of the visible label, the page state in which the button is
clicked, and the expectation after the click. `Button.first` prepares the click, such as by filling
a form or opening a menu.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.browser.interactions import (
    at_github,
    clicks,
    copied,
    downloads,
    enters_the_code,
    enters_the_code_of_two_factors,
    fills,
    hears_more,
    lands,
    listens,
    misses,
    narrow,
    on_the_card,
    runs_now,
    says_yes,
    sees,
    still_runs,
    tab,
    to_the_dashboard,
)
from tests.browser.page_states import open_extend, open_menu, show_credentials
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.interactions import Act

FOUND = """() => [...document.querySelectorAll(
    "button, summary, input[type=submit], a.button, a.link-button, a.tab, a[data-dialog]"
)].map(element => [
    element.tagName === "A" ? "link" : element.tagName === "SUMMARY" ? "summary" : "button",
    (element.getAttribute("aria-label") || element.textContent).replace(/\\s+/g, " ").trim(),
])"""
NAMES = r"\b(checkout-tests|webhook-spike|invoice-export|plan-migration|ci-pipeline)\b"
WRITTEN_ALIKE = [
    (r"\d\d:\d\d", "TIME"),
    (NAMES, "NAME"),
    (r"\bplan_\d+\b", "ROW"),
    (r"^(Copy|Last log lines) .+", r"\1 …"),
]
"""Patterns for the variable parts of labels, and their placeholders in the list."""
STANDS_FOR = {
    ":": r"\s?:",
    "TIME": r"\d\d:\d\d( UTC)?",
    "NAME": r"[\w-]+",
    "ROW": r"plan_\d+",
    r"\ …": r"[\s\S]+",
}


def label_of(kind: str, text: str) -> str:
    for pattern, word in WRITTEN_ALIKE:
        text = re.sub(pattern, word, text)
    return f"{kind} {text}"


def labels(page: Page) -> set[str]:
    """Return the labels of all buttons of the page, hidden ones included, as in the list."""
    return {label_of(kind, text) for kind, text in page.evaluate(FOUND)}


@dataclass(frozen=True)
class Button:
    label: str
    stop: str
    then: Act
    first: Act = lambda page: None
    script: bool | None = None
    """Whether the button needs JavaScript (True), appears only without it (False), or works in both
    cases (None)."""
    page: str = ""
    """The page state that has the button without JavaScript, if it differs from `stop`."""

    def locate(self, page: Page) -> Locator:
        kind, _, text = self.label.partition(" ")
        pattern = re.escape(text)
        for word, stands_for in STANDS_FOR.items():
            pattern = pattern.replace(word, stands_for)
        if kind == "summary":
            labelled = page.locator(f'summary[aria-label="{text}"]')
            return page.locator("summary", has_text=re.compile(pattern)).or_(labelled)
        return page.get_by_role(kind, name=re.compile(f"^{pattern}$"))  # type: ignore[arg-type]

    def try_it(self, page: Page) -> None:
        self.first(page)
        self.locate(page).locator("visible=true").first.click()
        self.then(page)


NEW_PASSWORD = {"New password": f"{PASSWORD}!", "Confirm new password": f"{PASSWORD}!"}
NEW_ACCOUNT = {"Email": "bob@example.com", "Password": PASSWORD}
OWN_PAGE = r"/sandboxes/sbx_\w+/$"

BUTTONS = [
    # Sign-in and account
    Button(
        "button Sign in", "login", lands("/$"), fills(Email="alice@example.com", Password=PASSWORD)
    ),
    Button("button Create account", "signup", lands("/$"), fills(**NEW_ACCOUNT)),
    Button(
        "button Send reset link", "password-reset", sees("mail"), fills(Email="alice@example.com")
    ),
    Button("summary Account menu (alice@example.com)", "first-run", sees("Sign out")),
    Button("button Sign out", "first-run", lands("/accounts/login/"), open_menu),
    Button(
        "button Add",
        "account-email",
        sees("bob@example.com"),
        fills(Email="bob@example.com"),
    ),
    Button("button Make primary", "account-email", sees("rimary")),
    Button("button Resend verification", "account-email", sees("alice@example.com")),
    Button("button Remove", "account-email", sees("cannot remove")),
    Button(
        "button Update password",
        "account-password",
        sees("changed"),
        fills(Current_password=PASSWORD, **NEW_PASSWORD),
    ),
    Button("button Confirm", "account-confirm", lands("/$"), fills(Password=PASSWORD)),
    Button("link Set up", "account-2fa", sees("Confirm it's you")),
    Button("button Turn on", "account-2fa-setup", sees("Recovery codes"), enters_the_code),
    Button("link View", "account-2fa-on", sees("Confirm it's you")),
    Button("link Turn off", "account-2fa-on", sees("Confirm it's you")),
    Button("button Turn off", "account-2fa-off", sees("Set up")),
    Button("link Cancel", "account-2fa-off", lands("/accounts/2fa/$")),
    Button("link Download", "account-2fa-codes", downloads(".txt"), listens),
    Button("link Generate new codes", "account-2fa-codes", sees("Generate new recovery codes?")),
    Button("button Generate new codes", "account-2fa-new-codes", sees("Remaining codes")),
    Button("button Sign in", "login-second-step", lands("/$"), enters_the_code_of_two_factors),
    Button("button Use a different account", "login-second-step", lands("/accounts/login/")),
    Button("button Sign out", "logout", lands("/accounts/login/")),
    Button("button Create account", "invitation", lands("/$"), fills(Password=PASSWORD)),
    Button("button Confirm", "confirm-email", lands("/accounts/login/")),
    Button("link Go to email addresses", "confirm-email-over", lands("/accounts/login/")),
    Button(
        "button Set new password",
        "password-reset-key",
        sees("changed"),
        fills(**NEW_PASSWORD),
    ),
    Button("link Request a new link", "password-reset-over", lands("/accounts/password/reset/$")),
    Button("button Continue with GitHub", "login-elsewhere", sees("GitHub asks"), at_github),
    Button("button Connect GitHub", "account-connections", sees("GitHub asks"), at_github),
    Button("button Disconnect", "account-connections", sees("has been disconnected")),
    Button("link Sign in", "invitation-over", lands("/accounts/login/")),
    Button(
        "button Sign out all other sessions",
        "account-sessions",
        misses("Sign out all other sessions"),
    ),
    Button("link Back to sandboxes", "404", lands("/$")),
    # Dashboard
    Button("button Launch sandbox", "first-run", runs_now),
    Button("link See why NAME failed", "failed-beside", lands(OWN_PAGE)),
    Button("link Destroy the oldest (NAME)", "limit", sees("Destroy webhook-spike?")),
    Button("link View all in History", "dashboard", lands("/history/$")),
    Button("button Dismiss", "nothing-runs", sees("Dismissed. Ended sandboxes stay in History.")),
    Button("button Undo", "cleared", sees("Recently ended")),
    Button("button Launch again", "nothing-runs", runs_now),
    # One sandbox
    Button("link Details: NAME", "dashboard", lands(OWN_PAGE)),
    Button("link Cancel", "provisioning", sees("Destroy checkout-tests?")),
    Button("button Show credentials", "dashboard", sees("Authorization: Bearer sk_test_")),
    Button("link Hide credentials", "dashboard", misses("Bearer sk_test_"), show_credentials),
    Button("button Download .env", "dashboard", downloads(".env"), tab(".env")),
    Button("link Try the API", "explorer", lands(r"/sandboxes/sbx_\w+/api/$"), to_the_dashboard),
    Button("button Copy …", "dashboard", copied, script=True),
    Button("button Keep alive", "dashboard", sees("Idle timer reset to 30 minutes.")),
    Button("summary Extend", "dashboard", sees("Extend by (one time)")),
    Button("button 30 min until TIME", "dashboard", sees("Extended by 30 minutes."), open_extend),
    Button("button 1 h until TIME", "dashboard", sees("Extended by 60 minutes."), open_extend),
    Button("button 2 h until TIME", "dashboard", sees("Extended by 120 minutes."), open_extend),
    Button("button Extend to TIME", "warning", sees("Extended by 120 minutes.")),
    Button("button Retry funding", "sandbox-unfunded", sees("Retrying funding…")),
    Button("link Reset data", "dashboard", sees("Reset data in checkout-tests?")),
    Button(
        "button Reset data",
        "dashboard",
        sees("Resetting data…"),
        clicks("link", "Reset data"),
    ),
    Button("link Destroy", "dashboard", sees("Destroy checkout-tests?")),
    Button("button Destroy", "destroy", sees("Destroyed by its owner"), page="confirm"),
    Button("button Undo", "undo", still_runs, script=True),
    Button("button Cancel", "destroy", misses("Destroy checkout-tests?"), script=True),
    Button("link Cancel", "confirm", lands(r"/#card-sbx_\w+$")),
    Button("summary Last log lines …", "failed", misses("Traceback")),
    Button("link api", "sandbox-unfunded", sees("api started")),
    Button("link db", "sandbox-unfunded", sees("db started")),
    Button("button Refresh", "sandbox-unfunded", sees("one line more"), hears_more),
    Button("link Download", "sandbox-unfunded", downloads(".log"), listens),
    Button(
        "summary Show as table",
        "sandbox-outgrown",
        sees("Traffic is everything sent"),
    ),
    Button("button Retry", "failed", sees("checkout-tests")),
    # The API explorer
    Button("button Postman collection", "explorer", downloads(".json"), on_the_card("Postman")),
    Button("link OpenAPI file", "explorer", downloads(".json"), on_the_card("Postman")),
    *(
        Button(f"summary {group.capitalize()}", "explorer", sees(f"List {group}"))
        for group in ("subscribers", "subscriptions", "invoices", "payments")
    ),
    Button("summary Plans", "explorer", misses("List plans")),
    Button("button Send", "explorer", sees("200 OK")),
    Button("button Show as curl", "explorer", sees("Bearer sk_test_")),
    Button("summary Headers", "explorer", sees("content-type")),
    Button("summary Equivalent curl command", "explorer", misses("Bearer $API_KEY")),
    Button("button Open", "explorer", lands(".+operation=get_a_plan"), narrow, script=False),
    Button("link Plans", "explorer", sees("10 of 12")),
    *(
        Button(f"link {kind}", "explorer", sees("No rows."))
        for kind in ("Subscribers", "Subscriptions", "Invoices", "Payments")
    ),
    Button("link ROW", "explorer", sees('"id": "plan_0"')),
    Button("link Use in a request", "explorer-row", sees("/v1/plans/{id}"), script=True),
    Button("button Close", "explorer-row", misses('"id": "plan_1"'), script=True),
    Button("link Try again", "explorer-unreachable", sees("can't reach the sandbox")),
    # History and tokens
    Button("button Filter", "history", sees("checkout-tests")),
    Button("link Older", "history", sees("Newest")),
    Button("link Newest", "history-older", lands("/history/$")),
    Button("button Create token", "tokens", sees("see it again"), fills(Name="ci-pipeline")),
    Button("link Revoke NAME", "tokens-new", sees("Revoke ci-pipeline?")),
    Button("button Revoke", "tokens-revoke", sees("Token ci-pipeline revoked."), page="revoke"),
    Button("button Cancel", "tokens-revoke", misses("Revoke ci-pipeline?"), script=True),
    Button("link Cancel", "revoke", lands("/tokens/$")),
    # Webhooks, preferences and banners
    Button(
        "button Create webhook",
        "webhooks",
        sees("Copy the signing secret"),
        fills(Endpoint_URL="https://hooks.example.com/portal"),
    ),
    Button("link Open NAME", "webhooks-new", sees("Events to send")),
    Button("button Send test event", "webhook", sees("Test event sent.")),
    Button("button Disable", "webhook", sees("Webhook disabled.")),
    Button("button Enable", "webhook-off", sees("Webhook enabled.")),
    Button("link Rotate secret", "webhook", sees("Rotate the signing secret of")),
    Button("button Rotate secret", "webhook-secret", sees("Copy the new signing secret")),
    Button("link Delete webhook", "webhook", sees("Delete ci-pipeline?")),
    Button("button Delete", "webhook-delete", sees("Webhook ci-pipeline deleted.")),
    Button("button Save", "webhook", sees("Changes saved.")),
    Button("button Save", "preferences", sees("Preferences saved.")),
    Button(
        "button Allow notifications",
        "preferences",
        misses("Allow notifications"),
        says_yes,
        script=True,
    ),
    Button("button Notify me", "told", misses("Notify me"), says_yes, script=True),
    Button("button Extend by 2 h", "told", sees("Extended by 120 minutes.")),
    # Links in emails
    Button("button Keep alive", "keep", sees("webhook-spike will keep running")),
    Button("button Extend by 2 h", "keep-extend", sees("checkout-tests will keep running")),
    Button("link Go to portal", "keep-done", lands("/accounts/login/")),
    Button("button Unsubscribe", "unsubscribe", sees("Unsubscribed")),
    Button("link Keep emails", "unsubscribe", lands("/accounts/login/")),
    Button("link Preferences", "unsubscribe-done", lands("/accounts/login/")),
]

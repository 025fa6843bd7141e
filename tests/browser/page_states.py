"""Every page of the portal in each of its relevant states.

Add a line here for a new page. Then tests check its accessibility and require its buttons to be
listed in `button_inventory.py`, and `make screenshots` takes screenshots of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.browser import paths, scenarios
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Page

    from sandboxes.models import Sandbox
    from sandboxes.runtime.memory import MemoryRuntime

    Scenario = Callable[[User, MemoryRuntime], Sandbox | None]


@dataclass(frozen=True)
class PageState:
    """A page, the data and user it is opened with, and interactions on it.

    In `path`, `{id}` is the public id of the sandbox that the scenario returns.
    """

    name: str
    path: str | Callable[[User], str] = "/"
    """A path, or a function that returns it for alice."""
    scenario: Scenario = scenarios.first_run
    interact: Callable[[Page], None] = lambda page: None
    user: str = "alice"
    """`alice`, a developer, `olga`, an operator, or `` for an anonymous visitor."""
    settings: dict[str, Any] = field(default_factory=dict)
    template: str = ""
    """Template that is rendered instead of a response, for errors that tests can't provoke."""


def show_credentials(page: Page) -> None:
    page.get_by_role("button", name="Show credentials").first.click()
    page.get_by_text("Authorization: Bearer sk_test_").first.wait_for()


def read_logs(page: Page) -> None:
    show_credentials(page)
    page.get_by_role("link", name="api", exact=True).click()
    page.get_by_text("GET /v1/plans 200").wait_for()


def filter_logs(page: Page) -> None:
    page.get_by_text("Show as table").click()
    page.get_by_label("Filter lines").fill("plans")
    page.get_by_label("Live tail").check()
    page.get_by_text("live", exact=True).wait_for()
    page.locator("mark").first.wait_for()


def ask_to_reset(page: Page) -> None:
    page.get_by_role("link", name="Reset data").first.click()
    page.get_by_role("dialog").wait_for()


def open_rename(page: Page) -> None:
    page.locator("summary", has_text="Rename").click()


def destroy(page: Page) -> None:
    page.get_by_role("link", name="Destroy").first.click()
    page.get_by_role("button", name="Undo").wait_for()


def dismiss_ended(page: Page) -> None:
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name="Undo").wait_for()


def create_token(page: Page) -> None:
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_role("button", name="Create token").click()
    page.get_by_text("see it again").wait_for()


def open_event(page: Page) -> None:
    page.locator("summary", has_text="invoice.paid").click()
    page.get_by_text("webhook-signature").wait_for()


def repeat_request(page: Page) -> None:
    page.locator("summary", has_text="POST").last.click()
    page.get_by_role("button", name="Send again log_000000001").click()
    page.get_by_text("201 Created", exact=True).wait_for()


def create_webhook(page: Page) -> None:
    page.get_by_label("Endpoint URL").fill("https://hooks.example.com/portal")
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_role("button", name="Create webhook").click()
    page.get_by_text("Copy the signing secret").wait_for()


def disable_webhook(page: Page) -> None:
    page.get_by_role("button", name="Disable").click()


def ask_to_rotate_secret(page: Page) -> None:
    page.get_by_role("link", name="Rotate secret").click()


def ask_to_delete_webhook(page: Page) -> None:
    page.get_by_role("link", name="Delete webhook").click()


def ask_to_revoke(page: Page) -> None:
    create_token(page)
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("dialog").wait_for()


def open_older_page(page: Page) -> None:
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newest").wait_for()


def open_menu(page: Page) -> None:
    page.locator(".menu summary").click()


def open_extend(page: Page) -> None:
    page.locator(".popover summary").first.click()


def ask_for_a_reason(page: Page) -> None:
    page.get_by_role("button", name="Retry removal…").click()
    page.get_by_label("Reason").wait_for()


def confirm_identity(page: Page) -> None:
    """Confirm the password, which pages about sign-in security ask for."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.get_by_text("Confirm it's you").wait_for(state="hidden")


def enter_the_password(page: Page) -> None:
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Two-factor authentication").wait_for()


def keep_alive(page: Page) -> None:
    page.get_by_role("button", name="Keep alive").click()
    page.get_by_text("will keep running").wait_for()


def unsubscribe(page: Page) -> None:
    page.get_by_role("button", name="Unsubscribe").click()
    page.get_by_text("Unsubscribed").wait_for()


def ask_to_extend(page: Page) -> None:
    page.get_by_role("button", name="Extend…").click()
    page.get_by_label("Minutes").wait_for()


def enter_wrong_password(page: Page) -> None:
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()


def send_a_request(page: Page) -> None:
    page.get_by_role("link", name="Get a plan").click()
    page.get_by_label("id").fill("plan_3")
    page.get_by_role("button", name="Send").click()
    page.locator("#response-status").wait_for()


def open_a_row(page: Page) -> None:
    page.get_by_role("link", name="plan_1", exact=True).click()
    page.get_by_role("dialog").wait_for()


SANDBOX = "/sandboxes/{id}/"
CODES = "/accounts/2fa/recovery-codes/"
GITHUB = {
    "SOCIALACCOUNT_PROVIDERS": {"github": {"APPS": [{"client_id": "portal", "secret": "none"}]}}
}
PORTAL = [
    PageState("login", "/accounts/login/", user=""),
    PageState("login-failed", "/accounts/login/", interact=enter_wrong_password, user=""),
    PageState("login-providers", "/accounts/login/", user="", settings=GITHUB),
    PageState(
        "login-second-step", "/accounts/login/", scenarios.two_factors, enter_the_password, user=""
    ),
    PageState("logout", "/accounts/logout/"),
    PageState("signup", "/accounts/signup/", user=""),
    PageState(
        "signup-closed", "/accounts/signup/", user="", settings={"ACCOUNT_SIGNUP_OPEN": False}
    ),
    PageState("invitation", paths.invitation, user=""),
    PageState("invitation-invalid", "/invitations/forged/", user=""),
    PageState("confirm-email", paths.confirmation, user=""),
    PageState("confirm-email-invalid", "/accounts/confirm-email/forged/", user=""),
    PageState("confirm-email-sent", "/accounts/confirm-email/", user=""),
    PageState("password-reset", "/accounts/password/reset/", user=""),
    PageState("password-reset-sent", "/accounts/password/reset/done/", user=""),
    PageState("password-reset-key", paths.password_reset_key, user=""),
    PageState("password-reset-invalid", "/accounts/password/reset/key/1-forged/", user=""),
    PageState("password-reset-done", "/accounts/password/reset/key/done/", user=""),
    PageState("suspended", "/accounts/inactive/", user=""),
    PageState("first-run"),
    PageState("provisioning", scenario=scenarios.provisioning),
    PageState("dashboard", scenario=scenarios.running),
    PageState("menu", scenario=scenarios.running, interact=open_menu),
    PageState("extend", scenario=scenarios.running, interact=open_extend),
    PageState("warning", scenario=scenarios.warned),
    PageState("limit", scenario=scenarios.at_the_limit),
    PageState("portal-full", scenario=scenarios.no_free_slot, settings={"SANDBOX_MAX_SITE": 1}),
    PageState("failed", scenario=scenarios.failed),
    PageState("failed-below-running", scenario=scenarios.failed_below_running),
    PageState("removal-failed", scenario=scenarios.removal_failed),
    PageState("maintenance", scenario=scenarios.maintenance),
    PageState("none-running", scenario=scenarios.ended),
    PageState("dismissed", scenario=scenarios.ended, interact=dismiss_ended),
    PageState("trial", scenario=scenarios.running, settings={"SANDBOX_RUNTIME": "process"}),
    PageState("sandbox", SANDBOX, scenarios.with_logs, read_logs),
    PageState("sandbox-provisioning", SANDBOX, scenarios.provisioning),
    PageState("sandbox-estimate", SANDBOX, scenarios.provisioning_with_estimate),
    PageState("sandbox-measured", SANDBOX, scenarios.with_usage, filter_logs),
    PageState("sandbox-out-of-memory", SANDBOX, scenarios.out_of_memory),
    PageState("sandbox-warning", SANDBOX, scenarios.warned),
    PageState("sandbox-unfunded", SANDBOX, scenarios.unfunded),
    PageState("sandbox-failed", SANDBOX, scenarios.failed),
    PageState("sandbox-ended", SANDBOX, scenarios.ended),
    PageState("sandbox-ended-by-operator", SANDBOX, scenarios.ended_by_operator),
    PageState("sandbox-rename", SANDBOX, scenarios.running, open_rename),
    PageState("new", scenario=scenarios.new),
    PageState("first-call", scenario=scenarios.with_api, interact=show_credentials),
    PageState("explorer-start", SANDBOX + "api/", scenarios.with_api),
    PageState("explorer", SANDBOX + "api/", scenarios.with_api, send_a_request),
    PageState("explorer-row", SANDBOX + "api/", scenarios.with_api, open_a_row),
    PageState("explorer-unreachable", SANDBOX + "api/", scenarios.running),
    PageState("save-points", "/save-points/", scenarios.with_save_points),
    PageState("save-points-empty", "/save-points/", scenarios.running),
    PageState("inbox", SANDBOX + "inbox/", scenarios.with_inbox),
    PageState("inbox-event", SANDBOX + "inbox/", scenarios.with_inbox, open_event),
    PageState("inbox-empty", SANDBOX + "inbox/", scenarios.running),
    PageState("requests", SANDBOX + "requests/", scenarios.with_inbox),
    PageState("requests-sent", SANDBOX + "requests/", scenarios.with_inbox, repeat_request),
    PageState("requests-unreachable", SANDBOX + "requests/", scenarios.running),
    PageState("reset", SANDBOX, scenarios.running, ask_to_reset),
    PageState("undo", scenario=scenarios.running, interact=destroy),
    PageState("confirm", SANDBOX + "destroy/", scenarios.running),
    PageState("confirm-reset", SANDBOX + "reset/", scenarios.running),
    PageState("history", "/history/", scenarios.long_history),
    PageState("history-filtered", "/history/?end=failed&q=nothing", scenarios.long_history),
    PageState("history-older", "/history/", scenarios.long_history, open_older_page),
    PageState("history-empty", "/history/"),
    PageState("history-usage", "/history/usage/", scenarios.long_history),
    PageState("client", "/cli/", scenarios.with_the_client),
    PageState(
        "open-endpoint",
        SANDBOX + "open/web/",
        scenarios.owner_only,
        settings=scenarios.OWNER_ONLY,
    ),
    PageState("docs", "/docs/", user=""),
    PageState("docs-own", "/docs/", scenarios.credentials_read),
    PageState("docs-page", "/docs/api/", scenarios.running),
    PageState("docs-operators", "/docs/operators/configuration/", user="olga"),
    PageState("docs-search", "/docs/search/?q=idempotency"),
    PageState("docs-search-empty", "/docs/search/?q=xylophone"),
    PageState("device", "/device/"),
    PageState("device-code", "/device/?user_code=BCDF-GHJK", scenarios.with_a_client_that_signs_in),
    PageState("tokens", "/tokens/"),
    PageState("tokens-new", "/tokens/", interact=create_token),
    PageState("tokens-revoke", "/tokens/", interact=ask_to_revoke),
    PageState("revoke", "/tokens/1/revoke/", scenarios.with_a_token),
    PageState("webhooks", "/webhooks/"),
    PageState("webhooks-new", "/webhooks/", interact=create_webhook),
    PageState("webhook", paths.webhook),
    PageState("webhook-disabled", paths.webhook, interact=disable_webhook),
    PageState("webhook-secret", paths.webhook, interact=ask_to_rotate_secret),
    PageState("webhook-delete", paths.webhook, interact=ask_to_delete_webhook),
    PageState("preferences", "/preferences/"),
    PageState("warning-banner", "/tokens/", scenarios.warned_by_banner),
    PageState("keep", paths.keep_alive_link, scenarios.warned_by_banner, user=""),
    PageState("keep-done", paths.keep_alive_link, scenarios.warned_by_banner, keep_alive, user=""),
    PageState("keep-extend", paths.extend_link, scenarios.warned_by_banner, user=""),
    PageState("keep-unknown", "/keep/forged/", user=""),
    PageState("unsubscribe", paths.unsubscribe, user=""),
    PageState("unsubscribe-done", paths.unsubscribe, interact=unsubscribe, user=""),
    PageState("account-email", "/accounts/email/"),
    PageState("account-password", "/accounts/password/change/"),
    PageState("account-confirm", "/accounts/reauthenticate/"),
    PageState("account-2fa", "/accounts/2fa/"),
    PageState("account-2fa-unverified", "/accounts/2fa/", scenarios.unverified),
    PageState("account-2fa-setup", "/accounts/2fa/totp/activate/", interact=confirm_identity),
    PageState("account-2fa-on", "/accounts/2fa/", scenarios.two_factors),
    PageState("account-2fa-codes", CODES, scenarios.two_factors, confirm_identity),
    PageState(
        "account-2fa-new-codes", CODES + "generate/", scenarios.two_factors, confirm_identity
    ),
    PageState(
        "account-2fa-off", "/accounts/2fa/totp/deactivate/", scenarios.two_factors, confirm_identity
    ),
    PageState("account-sessions", "/accounts/sessions/", scenarios.signed_in_elsewhere),
    PageState("account-connections", "/accounts/3rdparty/", scenarios.with_github, settings=GITHUB),
    PageState("404", "/nothing-here"),
    PageState("403", template="403.html"),
    PageState("403-form", template="403_csrf.html"),
    PageState("500", template="500.html"),
    PageState("503", template="503.html"),
]
ADMIN = [
    PageState("admin", "/admin/", scenarios.busy_week, user="olga"),
    PageState("admin-reason", "/admin/", scenarios.busy_week, ask_for_a_reason, user="olga"),
    PageState("admin-sandboxes", "/admin/sandboxes/sandbox/", scenarios.busy_week, user="olga"),
    PageState("admin-sandbox", paths.admin_sandbox, scenarios.with_usage, user="olga"),
    PageState(
        "admin-confirm", paths.admin_sandbox, scenarios.with_usage, ask_to_extend, user="olga"
    ),
    PageState("admin-monitor", paths.admin_monitor, scenarios.with_usage, user="olga"),
    PageState("admin-usage", "/admin/sandboxes/sandbox/usage/", scenarios.busy_week, user="olga"),
    PageState("admin-maintenance", "/admin/", scenarios.maintenance, user="olga"),
    PageState("admin-pools", "/admin/sandboxes/pool/", scenarios.busy_week, user="olga"),
    PageState(
        "admin-versions",
        "/admin/sandboxes/blueprintversion/",
        scenarios.blueprint_versions,
        user="olga",
    ),
    PageState("admin-version", paths.admin_version, scenarios.blueprint_versions, user="olga"),
    PageState("admin-engines", "/admin/sandboxes/engine/", scenarios.several_engines, user="olga"),
    PageState("admin-engine-add", "/admin/sandboxes/engine/add/", scenarios.busy_week, user="olga"),
    PageState("admin-users", "/admin/auth/user/", scenarios.busy_week, user="olga"),
    PageState(
        "admin-settings", "/admin/sandboxes/runtimesettings/", scenarios.busy_week, user="olga"
    ),
    PageState("admin-audit", "/admin/sandboxes/auditentry/", scenarios.busy_week, user="olga"),
]
PAGE_STATES = {state.name: state for state in (*PORTAL, *ADMIN)}

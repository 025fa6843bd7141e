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

    Scene = Callable[[User, MemoryRuntime], Sandbox | None]


@dataclass(frozen=True)
class Stop:
    """A page, the data and user it is opened with, and interactions on it.

    In `path`, `{id}` is the public id of the sandbox that the scenario returns.
    """

    name: str
    path: str | Callable[[User], str] = "/"
    """A path, or a function that returns it for alice."""
    scene: Scene = scenarios.first_run
    act: Callable[[Page], None] = lambda page: None
    who: str = "alice"
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


def ask_to_destroy(page: Page) -> None:
    page.get_by_role("link", name="Destroy").first.click()
    page.get_by_role("dialog").wait_for()


def destroy(page: Page) -> None:
    ask_to_destroy(page)
    page.get_by_role("dialog").get_by_role("button", name="Destroy").click()
    page.get_by_role("button", name="Undo").wait_for()


def dismiss_ended(page: Page) -> None:
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name="Undo").wait_for()


def create_token(page: Page) -> None:
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_role("button", name="Create token").click()
    page.get_by_text("see it again").wait_for()


def create_webhook(page: Page) -> None:
    page.get_by_label("Endpoint URL").fill("https://hooks.example.com/portal")
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_role("button", name="Create webhook").click()
    page.get_by_text("Copy the signing secret").wait_for()


def open_webhook(page: Page) -> None:
    create_webhook(page)
    page.get_by_role("link", name="Open ci-pipeline").click()


def disable_webhook(page: Page) -> None:
    open_webhook(page)
    page.get_by_role("button", name="Disable").click()


def ask_to_rotate_secret(page: Page) -> None:
    open_webhook(page)
    page.get_by_role("link", name="Rotate secret").click()


def ask_to_delete_webhook(page: Page) -> None:
    open_webhook(page)
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
    Stop("login", "/accounts/login/", who=""),
    Stop("login-refused", "/accounts/login/", act=enter_wrong_password, who=""),
    Stop("login-elsewhere", "/accounts/login/", who="", settings=GITHUB),
    Stop(
        "login-second-step", "/accounts/login/", scenarios.two_factors, enter_the_password, who=""
    ),
    Stop("logout", "/accounts/logout/"),
    Stop("signup", "/accounts/signup/", who=""),
    Stop("signup-closed", "/accounts/signup/", who="", settings={"ACCOUNT_SIGNUP_OPEN": False}),
    Stop("invitation", paths.invitation, who=""),
    Stop("invitation-over", "/invitations/forged/", who=""),
    Stop("confirm-email", paths.confirmation, who=""),
    Stop("confirm-email-over", "/accounts/confirm-email/forged/", who=""),
    Stop("confirm-email-sent", "/accounts/confirm-email/", who=""),
    Stop("password-reset", "/accounts/password/reset/", who=""),
    Stop("password-reset-sent", "/accounts/password/reset/done/", who=""),
    Stop("password-reset-key", paths.password_reset_key, who=""),
    Stop("password-reset-over", "/accounts/password/reset/key/1-forged/", who=""),
    Stop("password-reset-done", "/accounts/password/reset/key/done/", who=""),
    Stop("suspended", "/accounts/inactive/", who=""),
    Stop("first-run"),
    Stop("provisioning", scene=scenarios.provisioning),
    Stop("dashboard", scene=scenarios.running),
    Stop("menu", scene=scenarios.running, act=open_menu),
    Stop("extend", scene=scenarios.running, act=open_extend),
    Stop("warning", scene=scenarios.warned),
    Stop("limit", scene=scenarios.at_the_limit),
    Stop("portal-full", scene=scenarios.no_free_slot, settings={"SANDBOX_MAX_SITE": 1}),
    Stop("failed", scene=scenarios.failed),
    Stop("failed-beside", scene=scenarios.failed_below_running),
    Stop("removing", scene=scenarios.removal_failed),
    Stop("maintenance", scene=scenarios.maintenance),
    Stop("nothing-runs", scene=scenarios.ended),
    Stop("cleared", scene=scenarios.ended, act=dismiss_ended),
    Stop("trial", scene=scenarios.running, settings={"SANDBOX_RUNTIME": "process"}),
    Stop("sandbox", SANDBOX, scenarios.with_logs, read_logs),
    Stop("sandbox-provisioning", SANDBOX, scenarios.provisioning),
    Stop("sandbox-expected", SANDBOX, scenarios.provisioning_with_estimate),
    Stop("sandbox-measured", SANDBOX, scenarios.with_usage, filter_logs),
    Stop("sandbox-outgrown", SANDBOX, scenarios.out_of_memory),
    Stop("sandbox-warning", SANDBOX, scenarios.warned),
    Stop("sandbox-unfunded", SANDBOX, scenarios.unfunded),
    Stop("sandbox-failed", SANDBOX, scenarios.failed),
    Stop("sandbox-ended", SANDBOX, scenarios.ended),
    Stop("explorer", SANDBOX + "api/", scenarios.with_api, send_a_request),
    Stop("explorer-row", SANDBOX + "api/", scenarios.with_api, open_a_row),
    Stop("explorer-unreachable", SANDBOX + "api/", scenarios.running),
    Stop("destroy", SANDBOX, scenarios.running, ask_to_destroy),
    Stop("undo", scene=scenarios.running, act=destroy),
    Stop("confirm", SANDBOX + "destroy/", scenarios.running),
    Stop("confirm-reset", SANDBOX + "reset/", scenarios.running),
    Stop("history", "/history/", scenarios.long_history),
    Stop("history-narrowed", "/history/?end=failed&q=nothing", scenarios.long_history),
    Stop("history-older", "/history/", scenarios.long_history, open_older_page),
    Stop("history-empty", "/history/"),
    Stop("tokens", "/tokens/"),
    Stop("tokens-new", "/tokens/", act=create_token),
    Stop("tokens-revoke", "/tokens/", act=ask_to_revoke),
    Stop("revoke", "/tokens/1/revoke/", scenarios.with_a_token),
    Stop("webhooks", "/webhooks/"),
    Stop("webhooks-new", "/webhooks/", act=create_webhook),
    Stop("webhook", "/webhooks/", act=open_webhook),
    Stop("webhook-off", "/webhooks/", act=disable_webhook),
    Stop("webhook-secret", "/webhooks/", act=ask_to_rotate_secret),
    Stop("webhook-delete", "/webhooks/", act=ask_to_delete_webhook),
    Stop("preferences", "/preferences/"),
    Stop("told", "/tokens/", scenarios.warned_by_banner),
    Stop("keep", paths.keep_alive_link, scenarios.warned_by_banner, who=""),
    Stop("keep-done", paths.keep_alive_link, scenarios.warned_by_banner, keep_alive, who=""),
    Stop("keep-extend", paths.extend_link, scenarios.warned_by_banner, who=""),
    Stop("keep-unknown", "/keep/forged/", who=""),
    Stop("unsubscribe", paths.unsubscribe, who=""),
    Stop("unsubscribe-done", paths.unsubscribe, act=unsubscribe, who=""),
    Stop("account-email", "/accounts/email/"),
    Stop("account-password", "/accounts/password/change/"),
    Stop("account-confirm", "/accounts/reauthenticate/"),
    Stop("account-2fa", "/accounts/2fa/"),
    Stop("account-2fa-setup", "/accounts/2fa/totp/activate/", act=confirm_identity),
    Stop("account-2fa-on", "/accounts/2fa/", scenarios.two_factors),
    Stop("account-2fa-codes", CODES, scenarios.two_factors, confirm_identity),
    Stop("account-2fa-new-codes", CODES + "generate/", scenarios.two_factors, confirm_identity),
    Stop(
        "account-2fa-off", "/accounts/2fa/totp/deactivate/", scenarios.two_factors, confirm_identity
    ),
    Stop("account-sessions", "/accounts/sessions/", scenarios.signed_in_elsewhere),
    Stop("account-connections", "/accounts/3rdparty/", scenarios.with_github, settings=GITHUB),
    Stop("404", "/nothing-here"),
    Stop("403", template="403.html"),
    Stop("403-form", template="403_csrf.html"),
    Stop("500", template="500.html"),
]
CONSOLE = [
    Stop("console", "/admin/", scenarios.busy_week, who="olga"),
    Stop("console-reason", "/admin/", scenarios.busy_week, ask_for_a_reason, who="olga"),
    Stop("console-sandboxes", "/admin/sandboxes/sandbox/", scenarios.busy_week, who="olga"),
    Stop("console-sandbox", paths.admin_sandbox, scenarios.with_usage, who="olga"),
    Stop("console-question", paths.admin_sandbox, scenarios.with_usage, ask_to_extend, who="olga"),
    Stop("console-pools", "/admin/sandboxes/pool/", scenarios.busy_week, who="olga"),
    Stop("console-people", "/admin/auth/user/", scenarios.busy_week, who="olga"),
    Stop("console-settings", "/admin/sandboxes/runtimesettings/", scenarios.busy_week, who="olga"),
    Stop("console-audit", "/admin/sandboxes/auditentry/", scenarios.busy_week, who="olga"),
]
STOPS = {stop.name: stop for stop in (*PORTAL, *CONSOLE)}

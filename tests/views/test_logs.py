"""Log pages: filter, follow, download, and final logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.core import lifecycle
from sandboxes.models import Sandbox
from tests.conftest import Clock
from tests.helpers.scenarios import launch, request, run_on_commit
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

LINES = HTMX | {"HX-Target": "log-lines"}


def ask(web: Client, sandbox: Sandbox, headers: dict[str, str] = HTMX, **said: str) -> HttpResponse:
    return web.get(reverse("logs", args=[sandbox.public_id]), said, headers=headers)


def download(web: Client, sandbox: Sandbox, service: str = "") -> HttpResponse:
    return web.get(reverse("download-logs", args=[sandbox.public_id]), {"service": service})


def test_logs_are_read_by_service(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "GET /v1/plans <200>")
    address = reverse("logs", args=[sandbox.public_id])
    for headers in ({}, HTMX):
        response = web.get(address, {"service": "api"}, headers=headers)
        assert "GET /v1/plans &lt;200&gt;" in response.content.decode()


def test_logs_never_show_the_keys(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    key = sandbox.secrets["API_KEY"]
    runtime.write_log(sandbox.public_id, "api", f"started with {key}")
    address = reverse("logs", args=[sandbox.public_id])
    assert key not in web.get(address, {"service": "api"}).content.decode()


def test_unreadable_logs_show_the_error(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    address = reverse("logs", args=[launch(alice).public_id])
    assert "Choose one of" in text(web.get(address, {"service": "nonsense"}))
    runtime.unreachable = True
    assert "The engine did not answer." in text(web.get(address, {"service": "api"}))


def test_logs_can_be_filtered_ignoring_case(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    for line in ("GET /v1/plans 200", "POST /v1/invoices 500 <broken>", "get /v1/plans 404"):
        runtime.write_log(sandbox.public_id, "api", line)
    for headers in ({}, HTMX, LINES):
        page = ask(web, sandbox, headers, service="api", q="get /V1").content.decode()
        assert "<mark>GET /v1</mark>/plans 200" in page
        assert "<mark>get /v1</mark>/plans 404" in page
        assert "invoices" not in page
        assert "2 matches in the last 4 lines" in page
    found = ask(web, sandbox, service="api", q="<BROKEN>").content.decode()
    assert "500 <mark>&lt;broken&gt;</mark>" in found
    none = text(ask(web, sandbox, service="api", q="(teapot"))
    assert "No matches for “(teapot” in the last 4 lines." in none


def test_htmx_fetches_only_the_lines(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    assert 'name="q"' in ask(web, sandbox, service="api").content.decode()
    assert 'name="q"' not in ask(web, sandbox, LINES, service="api").content.decode()


def test_a_followed_log_polls_and_gets_204_if_unchanged(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    assert "every 3s" not in ask(web, sandbox, LINES, service="api").content.decode()
    followed = ask(web, sandbox, LINES, service="api", follow="on")
    log = followed.context["log"]
    assert "every 3s" in followed.content.decode()
    poll = {"service": "api", "until": str(log.until), "etag": log.etag}
    assert ask(web, sandbox, LINES, **poll).status_code == 204
    runtime.write_log(sandbox.public_id, "api", "something new")
    assert "something new" in text(ask(web, sandbox, LINES, **poll))


def test_following_stops_after_a_time_and_with_the_sandbox(
    web: Client, alice: User, clock: Clock
) -> None:
    sandbox = launch(alice)
    log = ask(web, sandbox, LINES, service="api", follow="on").context["log"]
    poll = {"service": "api", "until": str(log.until), "etag": log.etag}
    clock.forward(minutes=11)
    stopped = ask(web, sandbox, LINES, **poll)
    assert "every 3s" not in stopped.content.decode()
    assert "Live tail paused after 10 minutes" in text(stopped)
    log = ask(web, sandbox, LINES, service="api", follow="on").context["log"]
    with run_on_commit():
        actions.destroy(sandbox, alice)
    over = ask(web, sandbox, LINES, service="api", until=str(log.until), etag=log.etag)
    assert "every 3s" not in over.content.decode()
    assert "saved when the sandbox ended" in text(over)


@pytest.mark.parametrize("until", ["soon", "-1", "9" * 400, "²", "99999999999"])
def test_following_is_limited_in_time(web: Client, alice: User, clock: Clock, until: str) -> None:
    log = ask(web, launch(alice), LINES, service="api", until=until).context["log"]
    clock.forward(minutes=11)
    assert not log.is_followed


def test_without_javascript_a_followed_log_reloads_the_page(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    refreshed = '<meta http-equiv="refresh"'
    assert refreshed in ask(web, sandbox, {}, service="api", follow="on").content.decode()
    assert refreshed not in ask(web, sandbox, {}, service="api").content.decode()


def test_a_downloaded_log_contains_no_keys(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice, name="Checkout, tests")
    for number in range(300):
        runtime.write_log(sandbox.public_id, "api", f"line {number} {sandbox.secrets['API_KEY']}")
    answer = download(web, sandbox, "api")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="checkout-tests-api.log"'
    assert "line 0 •••" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_a_failed_download_redirects_to_the_page_with_the_error(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    runtime.unreachable = True
    answer = web.get(download(web, sandbox, "api")["Location"])
    assert "The engine did not answer." in text(answer)


def test_the_last_log_lines_are_kept(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "GET /v1/plans 200")
    with run_on_commit():
        actions.destroy(sandbox, alice)
    page = text(web.get(reverse("sandbox", args=[sandbox.public_id])))
    assert "== api == api started GET /v1/plans 200" in page
    assert "GET /v1/plans 200" in download(web, sandbox).content.decode()
    assert "1 match in the last" in text(ask(web, sandbox, q="plans"))


def test_no_log_is_loaded_before_services_exist(web: Client, alice: User) -> None:
    sandbox = request(alice)
    page = web.get(reverse("sandbox", args=[sandbox.public_id]))
    assert "Logs appear once it's running." in text(page)
    lifecycle.start_provisioning(sandbox)
    assert "No output from api yet." in text(ask(web, sandbox, LINES, service="api"))


def test_a_pending_log_is_polled_until_available(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    runtime.unreachable = True
    late = ask(web, sandbox, LINES, service="api")
    assert "The engine did not answer." in text(late)
    assert "every 3s" in late.content.decode()
    runtime.unreachable = False
    there = ask(web, sandbox, LINES, service="api", etag=late.context["log"].etag)
    assert "api started" in text(there)
    assert "every 3s" not in there.content.decode()
    assert "every 3s" not in ask(web, sandbox, LINES, service="nonsense").content.decode()

"""Signing in from a terminal: the device authorization of RFC 8628, and its page."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.http import urlencode

from sandboxes.accounts import api_tokens
from sandboxes.api.oauth import DEVICE_GRANT
from sandboxes.lib import clock
from sandboxes.models import DeviceAuthorization
from sandboxes.models.accounts import device_authorization
from sandboxes.reaper import housekeeping
from tests.cli.conftest import COMMAND
from tests.helpers.wait import wait_for

FORM = "application/x-www-form-urlencoded"
START = {"client_id": "sandbox-client", "scope": "launch", "device_name": "laptop"}


@pytest.fixture
def pages(alice: User) -> Client:
    return signed_in(alice)


def signed_in(user: User) -> Client:
    pages = Client()
    pages.force_login(user)
    return pages


def send(path: str, form: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    response = Client().post(f"/api/v1/{path}", urlencode(form), content_type=FORM)
    return response.status_code, response.json()


def start(**changed: str) -> dict[str, Any]:
    status, body = send("device_authorization", START | changed)
    assert status == 200, body
    return body


def poll(started: dict[str, Any], **changed: str) -> tuple[int, str]:
    """Poll once, and return the status and the error or the token."""
    code = started["device_code"]
    form = {"client_id": "sandbox-client", "grant_type": DEVICE_GRANT, "device_code": code}
    status, body = send("token", form | changed)
    return status, body.get("error") or body["access_token"]


def decide(pages: Client, started: dict[str, Any], decision: str = "approve") -> Any:
    data = {"user_code": started["user_code"], "decision": decision}
    return pages.post("/device/", data, follow=True)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_login_is_approved_in_the_browser_and_stores_a_token(
    environment: dict[str, str], pages: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = DeviceAuthorization._meta.get_field("interval_seconds")
    monkeypatch.setattr(field, "default", 1)
    variables = environment | {"SANDBOX_TOKEN": "", "SANDBOX_URL": ""}
    login = [*COMMAND, "login", environment["SANDBOX_URL"], "--scope", "read"]
    with subprocess.Popen(
        login, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(DeviceAuthorization.objects.exists, "the client asks", 30)
        row = DeviceAuthorization.objects.get()
        page = pages.get("/device/", {"user_code": str(row)}).content.decode()
        assert row.device_name in page
        assert "view sandboxes" in page
        pages.post("/device/", {"user_code": str(row), "decision": "approve"})
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert str(row) in told
    token = alice.api_tokens.latest("pk")
    assert (token.name, token.scope) == (row.token_name, "read")
    whoami = subprocess.run([*COMMAND, "whoami"], env=variables, check=True, capture_output=True)
    assert environment["SANDBOX_URL"] in whoami.stdout.decode()


@pytest.mark.django_db
class TestDeviceAuthorization:
    def test_a_token_is_issued_once_to_the_user_who_approved(
        self, pages: Client, alice: User
    ) -> None:
        started = start()
        assert poll(started) == (400, "authorization_pending")
        DeviceAuthorization.objects.update(polled_at=None)  # As if the interval were over.
        shown = decide(pages, started)
        assert "sandbox client on laptop" in shown.content.decode()

        status, text = poll(started)
        token = api_tokens.authenticate(text)
        assert status == 200
        assert token
        assert (token.user, token.name, token.scope) == (
            alice,
            "sandbox client on laptop",
            "launch",
        )
        assert token.expires_at
        assert poll(started) == (400, "invalid_grant")

    def test_a_denied_request_gets_no_token(self, pages: Client) -> None:
        started = start()
        decide(pages, started, "deny")
        assert poll(started) == (400, "access_denied")
        assert not pages.get("/tokens/").context["usable"]

    def test_codes_expire_and_are_deleted(self, pages: Client) -> None:
        started = start()
        past = clock.now() - timedelta(seconds=1)
        DeviceAuthorization.objects.update(expires_at=past)
        assert "No sign-in waits" in decide(pages, started).content.decode()
        assert poll(started) == (400, "expired_token")
        housekeeping.prune()
        assert not DeviceAuthorization.objects.exists()

    def test_each_poll_that_comes_too_early_makes_the_interval_longer(self) -> None:
        started = start()
        answers = [poll(started)[1] for _ in range(3)]
        assert answers == ["authorization_pending", "slow_down", "slow_down"]
        interval = DeviceAuthorization.objects.get().interval_seconds
        assert interval == started["interval"] + 10 == device_authorization.POLL_SECONDS + 10

    def test_a_decision_is_final(self, pages: Client, bob: User, alice: User) -> None:
        started = start()
        decide(pages, started)
        other = signed_in(bob)
        assert "No sign-in waits" in decide(other, started, "deny").content.decode()
        token = api_tokens.authenticate(poll(started)[1])
        assert token
        assert token.user == alice

    def test_a_suspended_user_gets_no_token(self, pages: Client, alice: User) -> None:
        started = start()
        decide(pages, started)
        User.objects.filter(pk=alice.pk).update(is_active=False)
        assert poll(started) == (400, "access_denied")

    @pytest.mark.parametrize(
        ("path", "changed", "error"),
        [
            ("device_authorization", {"scope": "admin"}, "invalid_scope"),
            ("device_authorization", {"client_id": "other"}, "invalid_client"),
            ("device_authorization", {"client_id": ""}, "invalid_request"),
            ("device_authorization", {"client_id": ["sandbox-client"] * 2}, "invalid_request"),
            ("token", {"grant_type": "password"}, "unsupported_grant_type"),
            ("token", {"grant_type": DEVICE_GRANT}, "invalid_request"),
            ("token", {"grant_type": DEVICE_GRANT, "device_code": "x"}, "invalid_grant"),
        ],
    )
    def test_errors_have_the_names_of_the_rfcs(
        self, path: str, changed: dict[str, Any], error: str
    ) -> None:
        form = urlencode(START | changed, doseq=True)
        response = Client().post(f"/api/v1/{path}", form, content_type=FORM)
        assert (response.status_code, response.json()["error"]) == (400, error)
        assert response["Cache-Control"] == "no-store"

    def test_user_codes_can_not_be_guessed(self, pages: Client) -> None:
        started = start()
        wrong = [pages.get("/device/", {"user_code": "BBBB-BBBB"}) for _ in range(11)]
        assert [page.status_code for page in wrong] == [200] * 10 + [429]
        assert decide(pages, started).status_code == 429
        assert poll(started)[1] == "authorization_pending"

    def test_an_address_can_not_start_any_number_of_requests(self) -> None:
        for _ in range(20):
            start()
        status, body = send("device_authorization", START)
        assert (status, body["error"]) == (429, "slow_down")

    def test_a_user_code_is_read_as_people_type_it(self, pages: Client) -> None:
        code = start(device_name='<b>"x"</b>' + "y" * 99)["user_code"]
        typed = f" {code.lower().replace('-', ' ')} "
        page = pages.get("/device/", {"user_code": typed})
        assert page.context["row"].device_name == ("bxb" + "y" * 99)[:40]

    def test_approving_needs_the_form_of_the_page(self, alice: User) -> None:
        started = start()
        pages = Client(enforce_csrf_checks=True)
        pages.force_login(alice)
        assert decide(pages, started).status_code == 403
        assert pages.get("/device/", {"user_code": started["user_code"], "decision": "approve"})
        assert poll(started)[1] == "authorization_pending"

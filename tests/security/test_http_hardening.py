"""HTTP attacks by outsiders: foreign hosts, open redirects, session fixation, log injection."""

from __future__ import annotations

import gzip
import json
import logging
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

EXTERNAL_URLS = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "javascript:alert(1)",
]


def sign_in(browser: Client, user: User, **query: str):
    form = {"login": user.email, "password": PASSWORD} | query
    return browser.post(reverse("account_login"), form)


@pytest.mark.parametrize("target", EXTERNAL_URLS)
def test_signing_in_does_not_redirect_to_another_host(
    alice: User, client: Client, target: str
) -> None:
    assert sign_in(client, alice, next=target)["Location"] == "/"


@pytest.mark.parametrize("path", ["//evil.example/", "/%09/evil.example/", "/\\evil.example/"])
def test_a_path_that_resembles_a_host_does_not_redirect_to_it(
    client: Client, rf, path: str
) -> None:
    answer = client.get(path)
    assert not answer.headers.get("Location", "/").startswith(("//", "http", "/\\"))


def test_a_foreign_referrer_is_not_redirected_to(alice: User, client: Client) -> None:
    client.force_login(alice)
    sandbox = ApiClient(alice).launch()
    headers = {"Referer": f"https://evil.example/sandboxes/{sandbox['id']}/"}
    answer = client.post(reverse("touch", args=[sandbox["id"]]), headers=headers)
    assert answer["Location"].startswith("/")


def test_signing_in_starts_a_new_session(alice: User, client: Client) -> None:
    client.get(reverse("account_login"))
    client.session["planted"] = True
    client.session.save()
    planted = client.session.session_key
    sign_in(client, alice)

    assert client.session.session_key != planted
    other = Client()
    other.cookies["sessionid"] = planted or "planted"
    assert other.get("/").status_code == 302


def test_signing_out_ends_a_copied_session(alice: User, client: Client) -> None:
    sign_in(client, alice)
    copy = Client()
    copy.cookies.load({"sessionid": client.cookies["sessionid"].value})
    assert copy.get("/").status_code == 200
    client.post(reverse("account_logout"))
    assert copy.get("/").status_code == 302


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "127.0.0.1:80@evil"])
def test_an_unknown_host_is_rejected(client: Client, host: str) -> None:
    assert client.get("/accounts/login/", headers={"Host": host}).status_code == 400


def test_a_forwarded_host_is_not_trusted(client: Client) -> None:
    answer = client.get("/", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1"})
    assert "evil" not in answer["Location"]


def test_a_body_that_is_too_large_is_rejected_before_it_is_read(
    alice: User, client: Client
) -> None:
    large = json.dumps({"name": "x" * 3_000_000})
    answer = ApiClient(alice).client.post("/api/v1/sandboxes", large, "application/json")
    assert_problem(answer, 413)
    client.force_login(alice)
    assert client.post("/sandboxes/", {"name": "x" * 3_000_000}).status_code == 400


def test_a_request_cannot_inject_log_lines(client: Client, capfd, caplog) -> None:
    forged = "2030-01-01T00:00:00Z [info] journal kind=destroyed"
    client.get(f"/nothing%0a{forged}", headers={"User-Agent": f"curl\n{forged}"})
    client.get("/healthz", headers={"Host": f"evil\n{forged}"})
    logging.getLogger("tests").warning("the end")
    written = capfd.readouterr().err + caplog.text

    assert "the end" in written
    assert not [line for line in written.splitlines() if line.startswith("2030")]


def test_cookies_are_inaccessible_to_scripts_and_other_sites(alice: User, client: Client) -> None:
    sign_in(client, alice)
    for cookie in client.cookies.values():
        assert cookie["httponly"], cookie.key
        assert cookie["samesite"] in {"Lax", "Strict"}, cookie.key
    assert {"sessionid", "csrftoken"} <= client.cookies.keys()


def test_only_programs_get_compressed_responses(alice: User, client: Client) -> None:
    program = ApiClient(alice)
    program.launch()
    client.force_login(alice)
    listed = program.get("/sandboxes", Accept_Encoding="gzip")
    assert listed["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(listed.content))["data"]
    again = program.get("/sandboxes", Accept_Encoding="gzip", If_None_Match=listed["ETag"])
    assert again.status_code == 304
    assert "Content-Encoding" not in program.get("/sandboxes")
    for path in ("/", "/api/v1/sandboxes"):
        shown = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert shown.status_code == 200
        assert "Content-Encoding" not in shown

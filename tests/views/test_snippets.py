"""Code snippets and downloads that contain the real values of a sandbox."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.models import Sandbox
from sandboxes.representations.database_commands import client_and_command
from sandboxes.views import request_code
from sandboxes.views.request_code import Access, Call, curl
from tests.fakes.sandbox_api import SandboxApi, billing_document, with_api_address
from tests.harness.ports import reserve_port
from tests.helpers.blueprints import tiny, write
from tests.helpers.scenarios import event_kinds, launch, request, run_on_commit
from tests.helpers.web import click, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    return with_api_address(launch(alice, name="checkout"), api.address)


def address(sandbox: Sandbox, name: str) -> str:
    return reverse(name, args=[sandbox.public_id])


def test_every_tab_contains_the_real_values(web: Client, sandbox: Sandbox) -> None:
    html = unescape(click(web, "credentials", sandbox).content.decode())
    plans, key = f"http://{sandbox.addresses['api:8080']}/v1/plans", sandbox.secrets["API_KEY"]
    assert f"curl {plans} \\\n  -H 'Authorization: Bearer {key}'" in html
    assert f'Request(\n    "{plans}"' in html
    assert f'fetch("{plans}"' in html
    assert f"psql postgresql://developer:{sandbox.secrets['DATABASE_PASSWORD']}@" in html
    assert f"API_KEY={key}\n" in html
    for title in ("curl", "Python", "JavaScript", "psql", ".env", "Postman"):
        assert f">{title}</label>" in html


def test_the_env_file_is_a_download_and_recorded_as_viewed_credentials(
    web: Client, sandbox: Sandbox
) -> None:
    response = web.post(address(sandbox, "download-env"))
    lines = dict(line.split("=", 1) for line in response.content.decode().splitlines())
    assert lines["API_URL"] == f"http://{sandbox.addresses['api:8080']}"
    assert lines["API_KEY"] == sandbox.secrets["API_KEY"]
    assert lines["DATABASE_URL"].startswith("postgresql://developer:")
    assert lines["STELLAR_PUBLIC_KEY"] == sandbox.stellar_public_key
    assert lines["STELLAR_SECRET"] == sandbox.secrets["STELLAR_SECRET"]
    assert response["Content-Disposition"] == f'attachment; filename="{sandbox.public_id}.env"'
    assert response["Cache-Control"] == "no-store"
    assert event_kinds(sandbox).count("credentials_read") == 1


def test_the_postman_collection_contains_the_address_and_key_of_the_sandbox(
    web: Client, sandbox: Sandbox
) -> None:
    response = web.post(address(sandbox, "download-postman"))
    collection = json.loads(response.content)
    values = {one["key"]: one["value"] for one in collection["variable"]}
    assert values["base_url"] == f"http://{sandbox.addresses['api:8080']}"
    assert values["api_key"] == sandbox.secrets["API_KEY"]
    assert sum(len(folder["item"]) for folder in collection["item"]) == 64
    assert (response["Content-Type"], response["Cache-Control"]) == ("application/json", "no-store")
    assert event_kinds(sandbox).count("credentials_read") == 1


def test_the_openapi_document_contains_the_address_but_no_key(
    web: Client, sandbox: Sandbox
) -> None:
    response = web.get(address(sandbox, "download-openapi"))
    servers = {"servers": [{"url": f"http://{sandbox.addresses['api:8080']}"}]}
    assert json.loads(response.content) == billing_document() | servers
    assert sandbox.secrets["API_KEY"] not in response.content.decode()
    assert "credentials_read" not in event_kinds(sandbox)


def test_when_a_download_is_unavailable_the_sandbox_page_explains_why(
    web: Client, alice: User, sandbox: Sandbox
) -> None:
    with_api_address(sandbox, f"127.0.0.1:{reserve_port()}")
    page = web.post(address(sandbox, "download-postman"), follow=True)
    assert "can&#x27;t reach the sandbox" in text(page)
    assert "credentials_read" not in event_kinds(sandbox)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert "Only a running sandbox" in text(web.post(address(sandbox, "download-env"), follow=True))
    page = web.get(address(sandbox, "download-openapi"), follow=True)
    assert "Only a running sandbox responds" in text(page)


def test_a_curl_command_quotes_shell_characters() -> None:
    access = Access("http://h", Auth(AuthType.BEARER, "api_key"), "sk_test_x")
    command = curl(Call("POST", "/v1?a=$(id)&b='x'", body='{"n": "it\'s $(id)"}'), access)
    assert command == (
        "curl -X POST 'http://h/v1?a=$(id)&b='\"'\"'x'\"'\"'' \\\n"
        "  -H 'Authorization: Bearer sk_test_x' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        '  --data-raw \'{"n": "it\'"\'"\'s $(id)"}\''
    )


HEADER = Auth(AuthType.HEADER, "access_key", name="X-Api-Key")
BASIC = Auth(AuthType.BASIC, "password", username="ada l")
POST = Call("POST", "/things?n=1", [("X-Tenant", "t 1")], '{"done": true}')


@pytest.mark.parametrize(
    ("auth", "option", "with_variable"),
    [
        (Auth(), None, None),
        (HEADER, "-H 'X-Api-Key: s3'", '-H "X-Api-Key: $ACCESS_KEY"'),
        (BASIC, "-u 'ada l:s3'", "-u 'ada l:'\"$PASSWORD\""),
    ],
)
def test_curl_authenticates_as_the_blueprint_says(
    auth: Auth, option: str | None, with_variable: str | None
) -> None:
    access = Access("http://h", auth, "s3" if auth.credential else "")
    for made, expected in ((access, option), (access.with_variable(), with_variable)):
        rest = ["-H 'X-Tenant: t 1'", "-H 'Content-Type: application/json'"]
        lines = ["curl -X POST 'http://h/things?n=1'", *([expected] if expected else []), *rest]
        lines.append("--data-raw '{\"done\": true}'")
        assert curl(POST, made) == " \\\n  ".join(lines)


@pytest.mark.parametrize("auth", [HEADER, BASIC])
def test_a_secret_that_looks_like_a_variable_is_quoted(auth: Auth) -> None:
    command = curl(Call("GET", "/"), Access("http://h", auth, "$(id)"))
    assert "$(id)" in shlex.split(command)[-1]
    assert '"' not in command


@pytest.mark.parametrize("auth", [Auth(), HEADER, BASIC])
def test_python_snippets_send_the_same_request(api: SandboxApi, auth: Auth) -> None:
    access = Access(f"http://{api.address}", auth, "s3" if auth.credential else "")
    call = Call("POST", "/v1/plans", [("X-Tenant", "t 1")], '{"active": true, "none": null}')
    ran = subprocess.run(
        [sys.executable, "-c", request_code.python(call, access)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    (asked,) = api.asked
    assert json.loads(asked.body) == {"active": True, "none": None}
    assert (asked.method, asked.headers["x-tenant"]) == ("POST", "t 1")
    assert json.loads(ran.stdout)["active"] is True
    for name, value in access.headers:
        assert asked.headers[name.lower()] == value


def test_a_response_that_may_not_be_json_is_printed_as_text() -> None:
    call, access = Call("GET", "/", returns_json=False), Access("http://h")
    assert "json" not in request_code.python(call, access)
    assert request_code.javascript(call, access) == (
        'fetch("http://h/")\n'
        "  .then((response) => response.text())\n"
        "  .then((data) => console.log(data));"
    )


@pytest.mark.parametrize(
    ("url", "client", "command"),
    [
        ("postgresql://ada:p%20w@h:5/db", "psql", "psql postgresql://ada:p%20w@h:5/db"),
        ("postgres://h/db?a=$(id)", "psql", "psql 'postgres://h/db?a=$(id)'"),
        ("postgresql+psycopg://h:5/db", "psql", "psql postgresql://h:5/db"),
        ("redis://:s3@[::1]:6/0", "redis-cli", "redis-cli -u 'redis://:s3@[::1]:6/0'"),
        (
            "mysql+pymysql://ada:p%27w@h:3306/shop",
            "mysql",
            "mysql --protocol=TCP --host=h --port=3306 --user=ada '--password=p'\"'\"'w' shop",
        ),
        ("mariadb://h", "mysql", "mysql --protocol=TCP --host=h"),
    ],
)
def test_a_database_is_opened_with_the_client_of_its_scheme(
    url: str, client: str, command: str
) -> None:
    assert client_and_command(url) == (client, command)


def test_a_card_without_any_command_promises_none(
    web: Client, alice: User, settings: Any, tmp_path: Path
) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
    plain = tiny()
    plain["x-sandbox"]["endpoints"]["web"]["url"] = "tcp://{host}:{port}"
    plain["x-sandbox"]["ready"] = [{"endpoint": "web", "path": "/"}]
    write(tmp_path, plain)
    request(alice)
    assert "Make your first call" not in text(web.get("/"))


@pytest.mark.parametrize("url", ["http://h", "s3cret", "", "mysql://h:port/x", "redis://[::1"])
def test_other_values_are_not_opened_as_databases(url: str) -> None:
    assert client_and_command(url) is None

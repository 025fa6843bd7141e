"""Pieces to paste and files to import, with a sandbox's real values in them."""

from __future__ import annotations

import json
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.models import Sandbox
from sandboxes.views.snippets import curl
from tests.acting import committed, launch, story
from tests.browsing import click, text
from tests.portal import free_port
from tests.sandbox_apis import SandboxApi, at, billing_document

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    return at(launch(alice, name="checkout"), api.address)


def address(sandbox: Sandbox, name: str) -> str:
    return reverse(name, args=[sandbox.public_id])


def test_every_tab_has_the_real_values(web: Client, sandbox: Sandbox) -> None:
    shown = unescape(click(web, "credentials", sandbox).content.decode())
    plans, key = f"http://{sandbox.addresses['api:8080']}/v1/plans", sandbox.secrets["API_KEY"]
    assert f"curl {plans} \\\n  -H 'Authorization: Bearer {key}'" in shown
    assert f'Request(\n    "{plans}"' in shown
    assert f'fetch("{plans}"' in shown
    assert f"psql postgresql://developer:{sandbox.secrets['DATABASE_PASSWORD']}@" in shown
    assert f"API_KEY={key}\n" in shown
    for title in ("curl", "Python", "JavaScript", "psql", ".env", "Postman"):
        assert f">{title}</label>" in shown


def test_the_env_file_is_a_download_and_journalled_as_a_look(web: Client, sandbox: Sandbox) -> None:
    answer = web.post(address(sandbox, "env-file"))
    lines = dict(line.split("=", 1) for line in answer.content.decode().splitlines())
    assert lines["API_URL"] == f"http://{sandbox.addresses['api:8080']}"
    assert lines["API_KEY"] == sandbox.secrets["API_KEY"]
    assert lines["DATABASE_URL"].startswith("postgresql://developer:")
    assert lines["STELLAR_PUBLIC_KEY"] == sandbox.stellar_public_key
    assert lines["STELLAR_SECRET"] == sandbox.secrets["STELLAR_SECRET"]
    assert answer["Content-Disposition"] == f'attachment; filename="{sandbox.public_id}.env"'
    assert answer["Cache-Control"] == "no-store"
    assert story(sandbox).count("credentials_read") == 1


def test_the_collection_holds_this_sandboxs_address_and_key(web: Client, sandbox: Sandbox) -> None:
    answer = web.post(address(sandbox, "postman"))
    made = json.loads(answer.content)
    values = {one["key"]: one["value"] for one in made["variable"]}
    assert values["base_url"] == f"http://{sandbox.addresses['api:8080']}"
    assert values["api_key"] == sandbox.secrets["API_KEY"]
    assert sum(len(folder["item"]) for folder in made["item"]) == 28
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/json", "no-store")
    assert story(sandbox).count("credentials_read") == 1


def test_the_document_says_where_the_sandbox_is_and_holds_no_key(
    web: Client, sandbox: Sandbox
) -> None:
    answer = web.get(address(sandbox, "own-openapi"))
    own = {"servers": [{"url": f"http://{sandbox.addresses['api:8080']}"}]}
    assert json.loads(answer.content) == billing_document() | own
    assert sandbox.secrets["API_KEY"] not in answer.content.decode()
    assert "credentials_read" not in story(sandbox)


def test_where_there_is_no_file_the_sandboxs_page_says_why(
    web: Client, alice: User, sandbox: Sandbox
) -> None:
    at(sandbox, f"127.0.0.1:{free_port()}")
    page = web.post(address(sandbox, "postman"), follow=True)
    assert "can&#x27;t reach the sandbox" in text(page)
    assert "credentials_read" not in story(sandbox)
    with committed():
        actions.destroy(sandbox, alice)
    assert "Only a running sandbox" in text(web.post(address(sandbox, "env-file"), follow=True))
    page = web.get(address(sandbox, "own-openapi"), follow=True)
    assert "Only a running sandbox answers" in text(page)


def test_a_command_is_safe_to_paste_whatever_is_in_it() -> None:
    made = curl("POST", "http://h/v1?a=$(id)&b='x'", "sk_test_x", '{"n": "it\'s $(id)"}')
    assert made == (
        "curl -X POST 'http://h/v1?a=$(id)&b='\"'\"'x'\"'\"'' \\\n"
        "  -H 'Authorization: Bearer sk_test_x' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        '  --data-raw \'{"n": "it\'"\'"\'s $(id)"}\''
    )

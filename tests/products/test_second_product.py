"""A blueprint of another product: its own names everywhere, and no word of the one that ships."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from sandboxes import actions
from sandboxes.lib.exceptions import StateConflict
from sandboxes.metrics.collector import PortalCollector
from sandboxes.models import Sandbox, WebhookDelivery
from sandboxes.webhooks import endpoints
from sandboxes.webhooks.messages import body_of
from sandboxes.worker import funding
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch, reload, run_on_commit
from tests.helpers.web import HTMX, click, text
from tests.products.notes.notes_api.__main__ import server

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.fakes.friendbot import Friendbot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

ROOT = Path(__file__).resolve().parents[2]
OF_THE_OTHER = re.compile(
    r"billing|stellar|friendbot|invoice|subscriber|subscription|payment|postgres|psql|bearer"
    r"|\bplans?\b|database_url|\bapi_key\b",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True)
def _offered(settings: Any) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = ROOT / "tests" / "products"
    settings.SANDBOX_DEFAULT_BLUEPRINT = "notes"


@pytest.fixture
def sandbox(alice: User) -> Iterator[Sandbox]:
    """Return a sandbox whose API is a real server."""
    made = launch(alice, name="meetings")
    with server(made.secrets["ACCESS_KEY"]) as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        addresses = {"web:9000": f"127.0.0.1:{running.server_port}"}
        Sandbox.objects.filter(pk=made.pk).update(addresses=addresses)
        yield reload(made)
        running.shutdown()


def path_of(sandbox: Sandbox, name: str) -> str:
    return reverse(name, args=[sandbox.public_id])


def shown(response: Any) -> str:
    """Return what a reader of the page sees, attributes included; not the navigation's tokens."""
    return unescape(response.content.decode())


def test_the_api_and_webhooks_have_the_names_of_the_blueprint(
    alice: User, sandbox: Sandbox
) -> None:
    api = ApiClient(alice)
    url = f"http://{sandbox.addresses['web:9000']}"
    expected = {"api": None, "database": None, "docs": None, "rest": url, "manual": f"{url}/manual"}
    found = api.get(f"/sandboxes/{sandbox.public_id}").json()
    assert found["endpoints"] == expected
    assert found["stellar"] is None
    assert api.get("/sandboxes").json()["data"][0]["endpoints"] == expected
    assert api.get(f"/sandboxes/{sandbox.public_id}/credentials").json() == {
        "api_key": None,
        "database_url": None,
        "stellar_secret": None,
        "access_key": sandbox.secrets["ACCESS_KEY"],
    }


def test_a_webhook_message_has_the_names_of_the_blueprint(alice: User) -> None:
    endpoints.create(alice, "https://93.184.216.34/hook", ["sandbox.running"])
    made = launch(alice)
    (delivery,) = WebhookDelivery.objects.all()
    data = json.loads(body_of(delivery))["data"]
    assert data["endpoints"]["rest"] == f"http://{made.addresses['web:9000']}"
    assert (data["endpoints"]["api"], data["stellar"]) == (None, None)


def test_a_sandbox_without_an_account_has_no_keys_and_is_never_funded(
    alice: User, bot: Friendbot
) -> None:
    with run_on_commit():
        made, _ = actions.launch_sandbox(alice, actions.LaunchRequest())
    made = reload(made)
    assert (made.stellar_public_key, made.funding, made.funding_due_at) == ("", "", None)
    assert made.secrets.keys() == {"ACCESS_KEY"}
    funding.fund_due()
    with pytest.raises(StateConflict, match="no account"):
        actions.retry_funding(made, alice)
    assert bot.asked_for == []
    registry = CollectorRegistry()
    registry.register(PortalCollector())
    assert b"funding" not in generate_latest(registry)


def test_snippets_of_the_card_make_the_first_call(web: Client, sandbox: Sandbox) -> None:
    page = shown(click(web, "credentials", sandbox))
    key, url = sandbox.secrets["ACCESS_KEY"], f"http://{sandbox.addresses['web:9000']}"
    assert (
        f"curl -X POST {url}/notes \\\n  -H 'X-Api-Key: {key}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        """  --data-raw '{"text": "Buy milk"}'"""
    ) in page
    for title in ("curl", "Python", "JavaScript", ".env", "Postman"):
        assert f">{title}</label>" in page
    code = re.search(r"<code>(import json.*?)</code>", page, re.DOTALL)
    assert code
    ran = subprocess.run(
        [sys.executable, "-c", code[1]], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(ran.stdout) == {"id": 4, "text": "Buy milk"}
    assert web.post(path_of(sandbox, "download-env")).content.decode().splitlines() == [
        f"REST_URL={url}",
        f"MANUAL_URL={url}/manual",
        f"ACCESS_KEY={key}",
    ]
    collection = json.loads(web.post(path_of(sandbox, "download-postman")).content)
    assert collection["auth"]["type"] == "apikey"
    assert {"key": "access_key", "value": key} in collection["variable"]


def test_the_explorer_sends_the_key_and_header_parameters(web: Client, sandbox: Sandbox) -> None:
    page = text(web.get(path_of(sandbox, "explorer")))
    assert "Authenticated with your access key" in page
    assert "Note 1" in page, "the list, read with the example of its required header"
    assert "X-Team" in page and "X-Api-Key" not in page
    sent = {"operation": "addNote", "header.X-Team": "blue", "body": '{"text": "Mine"}'}
    answer = shown(web.post(path_of(sandbox, "explorer-send"), sent, headers=HTMX))
    assert "200 OK" in answer
    assert '-H "X-Api-Key: $ACCESS_KEY"' in answer and "-H 'X-Team: blue'" in answer
    assert sandbox.secrets["ACCESS_KEY"] not in answer


@pytest.mark.usefixtures("sandbox")
def test_pages_and_files_have_no_word_of_the_other_product(
    client: Client, web: Client, alice: User, sandbox: Sandbox
) -> None:
    newcomer = Client()
    newcomer.force_login(type(alice).objects.create_user("new", "new@example.com"))
    seen = {
        "sign-in": Client().get(reverse("account_login")),
        "welcome": newcomer.get("/"),
        "dashboard": web.get("/"),
        "sandbox": web.get(path_of(sandbox, "sandbox")),
        "credentials": click(web, "credentials", sandbox),
        "explorer": web.get(path_of(sandbox, "explorer")),
        "postman": web.post(path_of(sandbox, "download-postman")),
        "env": web.post(path_of(sandbox, "download-env")),
        "history": web.get(reverse("history")),
        "blueprints": ApiClient(alice).get("/blueprints"),
        "events": ApiClient(alice).get(f"/sandboxes/{sandbox.public_id}/events"),
    }
    found = {name: OF_THE_OTHER.findall(shown(page)) for name, page in seen.items()}
    assert {name: words for name, words in found.items() if words} == {}
    for name in ("sign-in", "welcome"):
        page = text(seen[name])
        assert "Keep notes of meetings, and find them again." in page
        assert "3 notes" in page and "2 tags" in page
        assert "-H 'X-Api-Key: nk_…'" in unescape(page)

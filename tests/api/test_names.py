"""Names in requests: one rule for sandboxes, webhooks and tokens, in the API and on pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from sandboxes.models import ApiToken, Sandbox, Webhook
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]

GOOD = ["\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}", "می\u200cشود", "e\u0301tude", "x" * 60]
BAD = ["\ud800", "a\nb", "a\0b", "a\x1bb", "a\u2028b", "\u202eexe", "\u200d", "x" * 61]
URL = "https://93.184.215.14/hook"


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_the_api_refuses_a_name_with_its_field_and_the_remedy(alice: User, name: str) -> None:
    program = ApiClient(alice)
    webhook = Webhook.objects.create(user=alice, slot=1, url=URL, secrets={"current": "x"})
    for answer in (
        program.post("/sandboxes", {"name": name}),
        program.post("/webhooks", {"url": URL, "name": name}),
        program.send("PATCH", f"/webhooks/{webhook.public_id}", {"name": name}),
    ):
        problem = assert_problem(answer, 422)
        assert [error["field"] for error in problem["errors"]] == ["name"]
        assert problem["errors"][0]["message"].split()[0] in ("Remove", "Use", "Ensure")
    assert not Sandbox.objects.exists()
    assert Webhook.objects.get().name == ""


@pytest.mark.parametrize("name", GOOD)
def test_names_of_all_scripts_are_kept_everywhere(
    alice: User, web: Client, settings: SettingsWrapper, name: str
) -> None:
    program = ApiClient(alice)
    stored = name.replace("e\u0301", "é")
    assert program.post("/sandboxes", {"name": name}).json()["name"] == stored
    assert program.post("/webhooks", {"url": URL, "name": name}).json()["name"] == stored
    web.post("/tokens/", {"name": name, "scope": "read", "expires": "7"})
    assert ApiToken.objects.get(scope="read").name == stored
    assert stored in web.get("/").content.decode()


@pytest.mark.parametrize("name", [name for name in BAD if name != "\ud800"], ids=ascii)
def test_pages_refuse_the_same_names(web: Client, name: str) -> None:
    forms = {
        "/tokens/": {"name": name, "scope": "read", "expires": "7"},
        "/sandboxes/": {"name": name, "key": "k"},
        "/webhooks/": {"name": name, "url": URL, "events": ["sandbox.running"]},
    }
    for path, form in forms.items():
        page = web.post(path, form, follow=True).content.decode()
        assert any(word in page for word in ("Remove", "Use at", "Ensure", "Null characters")), path
    assert not (ApiToken.objects.exists() or Sandbox.objects.exists() or Webhook.objects.exists())


@pytest.mark.parametrize("text", ["\ud800", "\0"], ids=ascii)
def test_text_that_cannot_be_stored_is_refused_in_every_field(alice: User, text: str) -> None:
    program = ApiClient(alice)
    sandbox: dict[str, Any] = program.launch()
    calls = [
        program.post("/sandboxes", {"blueprint": text}),
        program.post("/sandboxes", {text: 1}),
        program.post("/sandboxes", {}, Idempotency_Key=f"a{text}"),
        program.post("/webhooks", {"url": URL + text}),
        program.post("/webhooks", {"url": URL, "events": [text]}),
        program.post(f"/sandboxes/{sandbox['id']}/extend", {"minutes": text}),
        program.get(f"/sandboxes/{sandbox['id']}%00"),
        program.get("/sandboxes?state=%00"),
        program.get("/sandboxes?cursor=%00"),
        program.get(f"/sandboxes/{sandbox['id']}/logs?service=%00"),
        program.get("/webhooks/%ed%a0%80"),
    ]
    assert [call.status_code for call in calls if not 400 <= call.status_code < 500] == []

"""Names of sandboxes: generated if none is given, and changed by their owners."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.core import friendly_names
from sandboxes.core.friendly_names import friendly_name
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import last_message, launch, reload, run_on_commit
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


@pytest.mark.parametrize("given", ["", "   "])
def test_a_sandbox_without_a_name_gets_a_friendly_one(alice: User, given: str) -> None:
    assert re.fullmatch("[a-z]+-[a-z]+", launch(alice, name=given).name)


def test_active_sandboxes_of_a_user_have_different_generated_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(friendly_names, "ADJECTIVES", "amber")
    monkeypatch.setattr(friendly_names, "NOUNS", "falcon")
    assert friendly_name() == "amber-falcon"
    assert re.fullmatch(r"amber-falcon-\d+", friendly_name({"amber-falcon"}))


def test_repeating_a_launch_without_a_name_returns_the_same_sandbox(alice: User) -> None:
    request = actions.LaunchRequest()
    first, _ = actions.launch_sandbox(alice, request, "once")
    assert actions.launch_sandbox(alice, request, "once") == (first, False)


def test_an_owner_renames_a_sandbox_through_the_api(alice: User) -> None:
    sandbox, program = launch(alice, name="checkout"), ApiClient(alice)
    answer = program.patch(f"/sandboxes/{sandbox.public_id}", {"name": " Payments 🧾 "})
    assert answer.json()["name"] == "Payments 🧾"
    assert last_message(sandbox) == "Renamed from checkout to Payments 🧾."
    program.patch(f"/sandboxes/{sandbox.public_id}", {"name": "Payments 🧾"})
    assert sandbox.events.filter(kind="renamed").count() == 1


def test_an_ended_sandbox_can_be_renamed(alice: User) -> None:
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    actions.rename(sandbox, "the one with the bug", alice)
    assert reload(sandbox).name == "the one with the bug"


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "two\nlines", "\x00"])
def test_an_invalid_new_name_is_rejected(web: Client, alice: User, name: str) -> None:
    sandbox = launch(alice, name="checkout")
    answer = ApiClient(alice).patch(f"/sandboxes/{sandbox.public_id}", {"name": name})
    problem: Any = assert_problem(answer, 422)
    assert [error["field"] for error in problem["errors"]] == ["name"]
    address = reverse("rename", args=[sandbox.public_id])
    page = text(web.post(address, {"name": name}, follow=True))
    assert problem["errors"][0]["message"] in page
    assert reload(sandbox).name == "checkout"


def test_the_page_of_a_sandbox_renames_it_and_shows_the_new_name(web: Client, alice: User) -> None:
    sandbox = launch(alice, name="checkout")
    own = reverse("sandbox", args=[sandbox.public_id])
    headers = {"Referer": f"http://testserver{own}"}
    address = reverse("rename", args=[sandbox.public_id])
    page = web.post(address, {"name": "payments"}, headers=headers, follow=True)
    assert page.redirect_chain == [(own, 302)]
    assert "Renamed to payments." in text(page)
    assert "payments · Sandbox Portal" in " ".join(page.content.decode().split())


def test_a_name_can_be_changed_only_by_its_owner(alice: User, bob: User) -> None:
    sandbox = launch(alice)
    other = ApiClient(bob).patch(f"/sandboxes/{sandbox.public_id}", {"name": "mine"})
    reader = ApiClient(alice, scope="read").patch(
        f"/sandboxes/{sandbox.public_id}", {"name": "mine"}
    )
    assert (other.status_code, reader.status_code) == (404, 403)

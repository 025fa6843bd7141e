"""The poll of an open dashboard: nothing, what changed, or all of it."""

from __future__ import annotations

import re
from html import unescape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.models import Funding, Sandbox
from sandboxes.worker import provisioning, resets
from tests.helpers.scenarios import launch, reload, request, run_on_commit
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def poll(web: Client, page: str, **fields: Any) -> HttpResponse:
    """Send what a page that shows this would send."""
    address = re.findall(r'hx-get="(/overview/[^"]*)"', unescape(page))[-1]
    fields["shown"] = re.findall(r'name="shown"\s+value="([^"]*)"', page)
    return web.get(f"{address}&{urlencode(fields, doseq=True)}", headers=HTMX)  # type: ignore[return-value]


def test_a_poll_gets_only_the_cards_that_changed(web: Client, alice: User) -> None:
    ends, stays = launch(alice, name="ends"), launch(alice, name="stays")
    page = web.get("/").content.decode()
    assert poll(web, page).status_code == HTTPStatus.NO_CONTENT
    with run_on_commit():
        actions.destroy(ends, alice)
    response = poll(web, page)
    assert response["HX-Reswap"] == "none"
    assert f'id="card-{ends.public_id}"' in response.content.decode()
    assert f'id="card-{stays.public_id}"' not in response.content.decode()


def test_a_poll_gets_only_the_status_if_no_more_of_a_card_changed(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    page = web.get("/").content.decode()
    Sandbox.objects.filter(pk=sandbox.pk).update(funding=Funding.FUNDED)
    news = poll(web, page).content.decode()
    assert f'id="status-{sandbox.public_id}"' in news
    assert f'id="card-{sandbox.public_id}"' not in news


def test_a_reset_that_ends_before_the_next_poll_is_reported(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    page = web.get("/").content.decode()
    web.post(reverse("reset", args=[sandbox.public_id]), headers=HTMX)
    resets.reset(reload(sandbox))
    news = poll(web, page, resetting=sandbox.public_id)
    assert "Reset finished in" in news["HX-Trigger"]
    assert f'id="card-{sandbox.public_id}"' in news.content.decode()


def test_polls_become_rare_again_after_a_launch_whose_end_another_request_showed(
    web: Client, alice: User
) -> None:
    sandbox = request(alice)
    page = web.get("/").content.decode()
    assert 'hx-trigger="every 1s' in page
    provisioning.provision(reload(sandbox))
    shows_it = web.get("/").content.decode()
    seen = re.sub(r"revision=\w+", "revision=", shows_it)
    news = poll(web, seen)
    assert 'hx-trigger="every 10s' in news.content.decode()
    assert f'id="card-{sandbox.public_id}"' not in text(news)

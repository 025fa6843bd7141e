"""Pages of webhooks and preferences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes.lib import clock
from sandboxes.models import EventType, Preferences, Webhook, WebhookDelivery
from sandboxes.webhooks import outbox
from tests.fakes.webhook_receiver import Receiver, create_webhook
from tests.helpers.scenarios import run_on_commit
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{40,}")


def create(web: Client, receiver: Receiver, **data: object) -> str:
    fields = {"url": receiver.url, "name": "bot", "events": EventType.values} | data
    return web.post(reverse("webhooks"), fields).content.decode()


def act(web: Client, verb: str, webhook: Webhook, *more: str, **data: str) -> str:
    with run_on_commit():
        page = web.post(reverse(verb, args=[webhook.public_id, *more]), data, follow=True)
    return page.content.decode()


def test_a_webhook_is_created_and_tested(web: Client, alice: User, receiver: Receiver) -> None:
    shown = SECRET.search(create(web, receiver))
    assert shown
    webhook = alice.webhooks.get()
    page = act(web, "test-webhook", webhook)
    assert "Test event sent." in page
    assert receiver.types(shown[0]) == ["webhook.test"]
    page = web.get(reverse("webhook", args=[webhook.public_id]))
    assert "204" in text(page) and "webhook.test" in text(page)
    for address in (reverse("webhooks"), reverse("webhook", args=[webhook.public_id])):
        assert not SECRET.search(web.get(address).content.decode())


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ({"url": ""}, "This field is required."),
        ({"url": "ftp://example.com"}, "starts with"),
        ({"events": []}, "This field is required."),
        ({"events": ["sandbox.sold"]}, "Select a valid choice."),
        ({"name": "x" * 61}, "at most 60 characters"),
    ],
)
def test_a_form_error_is_shown_beside_its_field(
    web: Client, receiver: Receiver, data: dict[str, object], remedy: str
) -> None:
    assert remedy in create(web, receiver, **data)
    assert not Webhook.objects.exists()


def test_the_page_shows_the_webhook_limit(
    web: Client, alice: User, receiver: Receiver, settings
) -> None:
    settings.WEBHOOKS_PER_USER = 1
    create(web, receiver)
    assert "Delete one to create another" in web.get(reverse("webhooks")).content.decode()
    assert Webhook.objects.count() == 1
    create(web, receiver)
    assert Webhook.objects.count() == 1


def test_a_webhook_is_updated_toggled_and_deleted(
    web: Client, alice: User, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    new = {"url": receiver.url + "/2", "name": "other", "events": "sandbox.failed"}
    assert "Changes saved." in act(web, "webhook", webhook, **new)
    webhook = Webhook.objects.get()
    assert (webhook.name, webhook.events) == ("other", ["sandbox.failed"])
    assert webhook.url.endswith("/2")
    assert "starts with" in act(web, "webhook", webhook, **new | {"url": "ftp://x"})

    assert "disabled by you" in act(web, "toggle-webhook", webhook, on="no")
    assert "disabled. Enable it" in act(web, "test-webhook", webhook)
    assert "Webhook enabled." in act(web, "toggle-webhook", webhook, on="yes")

    asks = web.get(reverse("delete-webhook", args=[webhook.public_id]))
    assert "Delete other?" in text(asks)
    assert "Webhook other deleted." in act(web, "delete-webhook", webhook)
    assert not Webhook.objects.exists()


def test_a_rotated_secret_is_shown_once(web: Client, alice: User, receiver: Receiver) -> None:
    webhook, old = create_webhook(alice, receiver)
    address = reverse("rotate-webhook", args=[webhook.public_id])
    assert "Rotate the signing secret of bot?" in text(web.get(address))
    assert Webhook.objects.get().secrets == {"current": old}
    shown = SECRET.search(web.post(address).content.decode())
    assert shown and shown[0] != old
    assert Webhook.objects.get().secrets == {"current": shown[0], "previous": old}


def test_deliveries_are_listed_and_resent(web: Client, alice: User, receiver: Receiver) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status, receiver.body = 500, b"<script>alert(1)</script>"
    with run_on_commit():
        delivery = outbox.send_test(webhook)
    page = web.get(reverse("webhook", args=[webhook.public_id])).content.decode()
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    receiver.status = 200
    act(web, "resend-delivery", webhook, delivery.message_id)
    assert len(receiver.messages) == 2
    assert WebhookDelivery.objects.get().status == "delivered"


def test_the_list_polls_while_a_delivery_is_pending(
    web: Client, alice: User, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    address = reverse("webhook-log", args=[webhook.public_id])
    assert "hx-trigger" not in web.get(address).content.decode()
    outbox.send_test(webhook)
    assert "hx-trigger" in web.get(address).content.decode()


def test_deliveries_are_paginated(web: Client, alice: User, receiver: Receiver) -> None:
    webhook, _ = create_webhook(alice, receiver)
    messages = [WebhookDelivery(webhook=webhook, due_at=clock.now(), body="{}") for _ in range(25)]
    WebhookDelivery.objects.bulk_create(messages)
    page = web.get(reverse("webhook", args=[webhook.public_id]))
    assert len(page.context["deliveries"]) == 20
    rest = web.get(page.request["PATH_INFO"], {"cursor": page.context["following"]})
    assert len(rest.context["deliveries"]) == 5
    assert web.get(page.request["PATH_INFO"], {"cursor": "x"}).status_code == 200


def test_webhooks_of_other_users_are_not_found(web: Client, bob: User, receiver: Receiver) -> None:
    webhook, _ = create_webhook(bob, receiver)
    delivery = outbox.send_test(webhook)
    assert webhook.public_id not in web.get(reverse("webhooks")).content.decode()
    for name in ("webhook", "webhook-log", "rotate-webhook", "delete-webhook"):
        assert web.get(reverse(name, args=[webhook.public_id])).status_code == 404
    for name in ("webhook", "test-webhook", "toggle-webhook", "rotate-webhook", "delete-webhook"):
        assert web.post(reverse(name, args=[webhook.public_id])).status_code == 404
    again = reverse("resend-delivery", args=[webhook.public_id, delivery.message_id])
    assert web.post(again).status_code == 404
    assert Webhook.objects.get().is_enabled


def test_webhooks_and_preferences_require_sign_in(
    client: Client, alice: User, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    pages = [reverse("webhooks"), reverse("webhook", args=[webhook.public_id])]
    for address in [*pages, reverse("preferences")]:
        assert client.get(address).status_code == 302


def test_preferences_are_saved_per_user(web: Client, alice: User, bob: User) -> None:
    page = web.get(reverse("preferences")).content.decode()
    assert page.count(" checked") == 2
    assert not Preferences.objects.exists(), "looking writes nothing"
    saved = web.post(reverse("preferences"), {"mail_expiry": "on", "browser": "on"}, follow=True)
    assert "Preferences saved." in text(saved)
    mine = Preferences.for_user(alice)
    assert (mine.mail_idle, mine.mail_expiry, mine.browser) == (False, True, True)
    others = Preferences.for_user(bob)
    assert (others.mail_idle, others.mail_expiry, others.browser) == (True, True, False)


def test_a_click_on_a_banner_turns_notifications_on(web: Client, alice: User) -> None:
    assert web.get(reverse("notify-me")).status_code == 405
    assert web.post(reverse("notify-me")).status_code == 204
    wishes = Preferences.for_user(alice)
    assert (wishes.browser, wishes.mail_idle) == (True, True)

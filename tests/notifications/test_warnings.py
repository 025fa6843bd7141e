"""Each warning reaches the banner, the mail and the webhook exactly once for each deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.models import Preferences, Sandbox, SandboxWarning
from sandboxes.notifications import tasks as worker_tasks
from sandboxes.reaper import housekeeping
from sandboxes.reaper.sweep import Sweep
from tests.fakes.webhook_receiver import Receiver, hook
from tests.helpers.scenarios import (
    again,
    committed,
    launch,
    story,
    sweep,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.store]

SWEEPS = 4
"""In each stretch of time that passes: several see the same deadline."""


@dataclass
class Ears:
    """What reaches alice by each way while time passes and the reaper sweeps."""

    web: Client
    clock: Clock
    receiver: Receiver
    secret: str
    banners: list[str] = field(default_factory=list)
    """Of each banner that came up on a page, the words; one that stays is there once."""
    _up: set[str] = field(default_factory=set)

    def pass_by(self, minutes: float) -> None:
        for _ in range(SWEEPS):
            self.clock.forward(minutes=minutes / SWEEPS)
            sweep()
            self.look()

    def look(self) -> None:
        shown = self.web.get(reverse("tokens")).context["banners"]
        now = {str(banner["warning"].pk): str(banner["sandbox"]) for banner in shown}
        self.banners += [name for key, name in now.items() if key not in self._up]
        self._up = set(now)

    @property
    def heard(self) -> tuple[int, int, int]:
        """How many warnings came by banner, mail and webhook."""
        mails = [letter for letter in mail.outbox if "UTC" in letter.subject]
        return len(self.banners), len(mails), len(self.receiver.verified(self.secret))


@pytest.fixture
def ears(
    alice: User, runtime: MemoryRuntime, web: Client, clock: Clock, receiver: Receiver
) -> Ears:
    secret = hook(alice, receiver, "sandbox.warning")[1]
    sweep()
    return Ears(web, clock, receiver, secret)


def test_an_expiry_warning_reaches_each_channel_once_per_deadline(alice: User, ears: Ears) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    ears.pass_by(minutes=9.5)
    assert ears.heard == (0, 0, 0)
    ears.pass_by(minutes=0.5)
    assert ears.heard == (1, 1, 1)
    ears.pass_by(minutes=3.5)
    assert ears.heard == (1, 1, 1)
    actions.extend(sandbox, 15, alice)
    ears.look()
    assert not ears._up, "the banner goes with the deadline"
    ears.pass_by(minutes=9)
    assert ears.heard == (1, 1, 1)
    ears.pass_by(minutes=9)
    assert again(sandbox).end_reason == "expired"
    assert ears.heard == (2, 2, 2)
    assert story(sandbox).count("warned") == 2


def test_an_idle_warning_reaches_each_channel_once_per_deadline(
    alice: User, ears: Ears, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice, ttl_minutes=120)
    ears.pass_by(minutes=24.5)
    assert ears.heard == (0, 0, 0)
    ears.pass_by(minutes=4)
    assert ears.heard == (1, 1, 1)
    actions.touch(sandbox, alice)
    ears.pass_by(minutes=24)
    assert ears.heard == (1, 1, 1)
    ears.pass_by(minutes=4)
    assert ears.heard == (2, 2, 2)
    runtime.add_traffic(sandbox.public_id)
    sweep()
    ears.pass_by(minutes=24)
    assert ears.heard == (2, 2, 2), "traffic keeps it, too"
    ears.pass_by(minutes=8)
    assert again(sandbox).end_reason == "idle"
    assert ears.heard == (3, 3, 3)
    assert story(sandbox).count("warned") == 3


def test_both_deadlines_of_a_sandbox_are_warned_of_once(alice: User, ears: Ears) -> None:
    sandbox = launch(alice, ttl_minutes=32)
    ears.pass_by(minutes=28)
    assert ears.heard == (1, 1, 1)
    actions.touch(sandbox, alice)
    ears.pass_by(minutes=3)
    assert ears.heard == (2, 2, 2)
    assert [row.deadline_kind for row in SandboxWarning.objects.order_by("pk")] == [
        "idle",
        "expired",
    ]


def test_each_of_several_sandboxes_is_warned_of_once(alice: User, ears: Ears) -> None:
    for name in ("one", "two", "three"):
        launch(alice, ttl_minutes=15, name=name)
    ears.pass_by(minutes=14)
    assert ears.heard == (3, 3, 3)
    assert sorted(ears.banners) == ["one", "three", "two"]


def test_overlapping_sweeps_warn_once(alice: User, ears: Ears) -> None:
    launch(alice, ttl_minutes=15)
    ears.clock.forward(minutes=11)
    with committed():
        stale = Sandbox.objects.select_related("owner").get()
        Sweep().run()
        assert not housekeeping.warn(stale, idle=False)
    worker_tasks.send_mails()
    ears.pass_by(minutes=1)
    assert ears.heard == (1, 1, 1)


def test_a_second_warning_for_one_deadline_violates_a_constraint(alice: User, ears: Ears) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    ears.pass_by(minutes=11)
    row = SandboxWarning.objects.get(sandbox=sandbox)
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize(
    ("off", "minutes", "ttl", "heard"),
    [
        ("mail_expiry", 11, 15, (1, 0, 1)),
        ("mail_idle", 11, 15, (1, 1, 1)),
        ("mail_idle", 26, 120, (1, 0, 1)),
        ("mail_expiry", 26, 120, (1, 1, 1)),
    ],
)
def test_one_kind_of_email_can_be_disabled_without_affecting_other_channels(
    alice: User, ears: Ears, off: str, minutes: int, ttl: int, heard: tuple[int, int, int]
) -> None:
    Preferences.objects.create(user=alice, **{off: False})
    launch(alice, ttl_minutes=ttl)
    ears.pass_by(minutes=minutes)
    assert ears.heard == heard


def test_a_warning_is_sent_only_to_the_owner(alice: User, bob: User, ears: Ears) -> None:
    launch(bob, ttl_minutes=15, name="bob's")
    ears.pass_by(minutes=11)
    assert [letter.to for letter in mail.outbox] == [["bob@example.com"]]
    assert ears.banners == []
    assert ears.receiver.messages == []


def test_the_banner_has_a_button_that_extends_the_sandbox(alice: User, ears: Ears) -> None:
    sandbox = launch(alice, ttl_minutes=15, name="<i>checkout</i>")
    ears.pass_by(minutes=11)
    page = ears.web.get(reverse("tokens")).content.decode()
    assert "&lt;i&gt;checkout&lt;/i&gt;" in page and "<i>checkout" not in page
    assert f'action="{reverse("extend", args=[sandbox.public_id])}"' in page
    ears.web.post(reverse("extend", args=[sandbox.public_id]), {"minutes": 120})
    assert again(sandbox).expires_at > sandbox.expires_at
    page = ears.web.get(reverse("tokens")).content.decode()
    assert "checkout" not in page


def test_the_banner_reports_that_no_extension_is_left(alice: User, ears: Ears) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    actions.extend(sandbox, 1, alice)
    ears.pass_by(minutes=12)
    page = ears.web.get(reverse("tokens")).content.decode()
    assert "can't be extended" in page and "Extend by" not in page


def test_the_banner_is_quiet_where_a_card_shows_the_warning(alice: User, ears: Ears) -> None:
    sandbox, other = launch(alice, ttl_minutes=15), launch(alice, ttl_minutes=15)
    ears.pass_by(minutes=11)
    shown = ears.web.get(reverse("sandbox", args=[sandbox.public_id])).context["banners"]
    quiet = {banner["sandbox"].public_id: banner["quiet"] for banner in shown}
    assert quiet == {sandbox.public_id: True, other.public_id: False}


def test_polling_returns_only_new_warnings(alice: User, ears: Ears) -> None:
    asks = reverse("warnings")
    assert ears.web.get(asks).status_code == 204
    launch(alice, ttl_minutes=15, name="checkout")
    ears.pass_by(minutes=11)
    news = ears.web.get(asks)
    assert "checkout" in news.content.decode()
    seen = news.context["etag"]
    assert ears.web.get(asks, {"etag": seen}).status_code == 204
    assert ears.web.get(asks, {"etag": seen, "where": "cards"}).status_code == 204
    assert Client().get(asks).status_code == 302

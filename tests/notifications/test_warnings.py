"""Each warning reaches banner, email and webhook exactly once per deadline."""

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
from sandboxes.notifications import sandbox_warnings
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.reaper.sweep import Sweep
from tests.fakes.webhook_receiver import Receiver, create_webhook
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    run_on_commit,
    sweep,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db

SWEEPS = 2
"""Sweeps per elapsed period, so that several see the same deadline."""


@dataclass
class WarningRecorder:
    """Recorder of the warnings that reach alice through each channel."""

    web: Client
    clock: Clock
    receiver: Receiver
    secret: str
    banners: list[str] = field(default_factory=list)
    """Names in the banners that appeared; one that stays is recorded once."""
    _visible: set[str] = field(default_factory=set)

    def advance(self, minutes: float) -> None:
        for _ in range(SWEEPS):
            self.clock.forward(minutes=minutes / SWEEPS)
            sweep()
            self.poll()

    def poll(self) -> None:
        shown = self.web.get(reverse("tokens")).context["banners"]
        now = {str(banner["warning"].pk): str(banner["sandbox"]) for banner in shown}
        self.banners += [name for key, name in now.items() if key not in self._visible]
        self._visible = set(now)

    @property
    def received(self) -> tuple[int, int, int]:
        """Number of warnings received by banner, email and webhook."""
        mails = [letter for letter in mail.outbox if "UTC" in letter.subject]
        return len(self.banners), len(mails), len(self.receiver.verified(self.secret))


@pytest.fixture
def recorder(
    alice: User, runtime: MemoryRuntime, web: Client, clock: Clock, receiver: Receiver
) -> WarningRecorder:
    secret = create_webhook(alice, receiver, "sandbox.warning")[1]
    sweep()
    return WarningRecorder(web, clock, receiver, secret)


def test_an_expiry_warning_reaches_each_channel_once_per_deadline(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    recorder.advance(minutes=9.5)
    assert recorder.received == (0, 0, 0)
    recorder.advance(minutes=0.5)
    assert recorder.received == (1, 1, 1)
    recorder.advance(minutes=3.5)
    assert recorder.received == (1, 1, 1)
    actions.extend(sandbox, 15, alice)
    recorder.poll()
    assert not recorder._visible, "the banner disappears with its deadline"
    recorder.advance(minutes=9)
    assert recorder.received == (1, 1, 1)
    recorder.advance(minutes=9)
    assert reload(sandbox).end_reason == "expired"
    assert recorder.received == (2, 2, 2)
    assert event_kinds(sandbox).count("warned") == 2


def test_an_idle_warning_reaches_each_channel_once_per_deadline(
    alice: User, recorder: WarningRecorder, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice, ttl_minutes=120)
    recorder.advance(minutes=24.5)
    assert recorder.received == (0, 0, 0)
    recorder.advance(minutes=4)
    assert recorder.received == (1, 1, 1)
    actions.touch(sandbox, alice)
    recorder.advance(minutes=24)
    assert recorder.received == (1, 1, 1)
    recorder.advance(minutes=4)
    assert recorder.received == (2, 2, 2)
    runtime.add_traffic(sandbox.public_id)
    sweep()
    recorder.advance(minutes=24)
    assert recorder.received == (2, 2, 2), "traffic keeps the sandbox alive, too"
    recorder.advance(minutes=8)
    assert reload(sandbox).end_reason == "idle"
    assert recorder.received == (3, 3, 3)
    assert event_kinds(sandbox).count("warned") == 3


def test_both_deadlines_of_a_sandbox_are_warned_of_once(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox = launch(alice, ttl_minutes=32)
    recorder.advance(minutes=28)
    assert recorder.received == (1, 1, 1)
    actions.touch(sandbox, alice)
    recorder.advance(minutes=3)
    assert recorder.received == (2, 2, 2)
    assert [row.deadline_kind for row in SandboxWarning.objects.order_by("pk")] == [
        "idle",
        "expired",
    ]


def test_each_of_several_sandboxes_is_warned_of_once(
    alice: User, recorder: WarningRecorder
) -> None:
    for name in ("one", "two", "three"):
        launch(alice, ttl_minutes=15, name=name)
    recorder.advance(minutes=14)
    assert recorder.received == (3, 3, 3)
    assert sorted(recorder.banners) == ["one", "three", "two"]


def test_overlapping_sweeps_warn_once(alice: User, recorder: WarningRecorder) -> None:
    launch(alice, ttl_minutes=15)
    recorder.clock.forward(minutes=11)
    with run_on_commit():
        stale = Sandbox.objects.select_related("owner").get()
        Sweep().run()
        assert not sandbox_warnings.warn(stale, idle=False)
    notification_tasks.send_mails()
    recorder.advance(minutes=1)
    assert recorder.received == (1, 1, 1)


def test_a_second_warning_for_one_deadline_violates_a_constraint(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    recorder.advance(minutes=11)
    row = SandboxWarning.objects.get(sandbox=sandbox)
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize(
    ("off", "minutes", "ttl", "received"),
    [
        ("mail_expiry", 11, 15, (1, 0, 1)),
        ("mail_idle", 11, 15, (1, 1, 1)),
        ("mail_idle", 26, 120, (1, 0, 1)),
        ("mail_expiry", 26, 120, (1, 1, 1)),
    ],
)
def test_one_kind_of_email_can_be_disabled_without_affecting_other_channels(
    alice: User,
    recorder: WarningRecorder,
    off: str,
    minutes: int,
    ttl: int,
    received: tuple[int, int, int],
) -> None:
    Preferences.objects.create(user=alice, **{off: False})
    launch(alice, ttl_minutes=ttl)
    recorder.advance(minutes=minutes)
    assert recorder.received == received


def test_a_warning_is_sent_only_to_the_owner(
    alice: User, bob: User, recorder: WarningRecorder
) -> None:
    launch(bob, ttl_minutes=15, name="bob's")
    recorder.advance(minutes=11)
    assert [letter.to for letter in mail.outbox] == [["bob@example.com"]]
    assert recorder.banners == []
    assert recorder.receiver.messages == []


def test_the_banner_has_a_button_that_extends_the_sandbox(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox = launch(alice, ttl_minutes=15, name="<i>checkout</i>")
    recorder.advance(minutes=11)
    page = recorder.web.get(reverse("tokens")).content.decode()
    assert "&lt;i&gt;checkout&lt;/i&gt;" in page and "<i>checkout" not in page
    assert f'action="{reverse("extend", args=[sandbox.public_id])}"' in page
    recorder.web.post(reverse("extend", args=[sandbox.public_id]), {"minutes": 120})
    assert reload(sandbox).expires_at > sandbox.expires_at
    page = recorder.web.get(reverse("tokens")).content.decode()
    assert "checkout" not in page


def test_the_banner_reports_that_no_extension_is_left(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    actions.extend(sandbox, 1, alice)
    recorder.advance(minutes=12)
    page = recorder.web.get(reverse("tokens")).content.decode()
    assert "can't be extended" in page and "Extend by" not in page


def test_the_banner_is_quiet_where_a_card_shows_the_warning(
    alice: User, recorder: WarningRecorder
) -> None:
    sandbox, other = launch(alice, ttl_minutes=15), launch(alice, ttl_minutes=15)
    recorder.advance(minutes=11)
    shown = recorder.web.get(reverse("sandbox", args=[sandbox.public_id])).context["banners"]
    quiet = {banner["sandbox"].public_id: banner["quiet"] for banner in shown}
    assert quiet == {sandbox.public_id: True, other.public_id: False}


def test_polling_returns_only_new_warnings(alice: User, recorder: WarningRecorder) -> None:
    url = reverse("warnings")
    assert recorder.web.get(url).status_code == 204
    launch(alice, ttl_minutes=15, name="checkout")
    recorder.advance(minutes=11)
    response = recorder.web.get(url)
    assert "checkout" in response.content.decode()
    seen = response.context["etag"]
    assert recorder.web.get(url, {"etag": seen}).status_code == 204
    assert recorder.web.get(url, {"etag": seen, "where": "cards"}).status_code == 204
    assert Client().get(url).status_code == 302

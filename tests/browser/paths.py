"""Paths that depend on the data: links in emails and the admin page of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from django.urls import reverse

from sandboxes.accounts import invitations
from sandboxes.models import (
    BlueprintVersion,
    DeadlineKind,
    EventType,
    Invitation,
    Sandbox,
    SandboxWarning,
)
from sandboxes.notifications import signed_links
from sandboxes.webhooks import endpoints

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def path_of(link: str) -> str:
    return urlsplit(link).path


def invitation(alice: User) -> str:
    return path_of(invitations.link(Invitation.objects.create(email="bob@example.com")))


def confirmation(alice: User) -> str:
    address = EmailAddress.objects.create(user=alice, email="alice@work.example.com")
    return reverse("account_confirm_email", args=[EmailConfirmationHMAC(address).key])


def password_reset_key(alice: User) -> str:
    keys = [user_pk_to_url_str(alice), default_token_generator.make_token(alice)]
    return reverse("account_reset_password_from_key", args=keys)


def keep_alive_link(alice: User, ends: DeadlineKind = DeadlineKind.IDLE) -> str:
    return path_of(signed_links.keep_alive_url(SandboxWarning.objects.get(deadline_kind=ends)))


def extend_link(alice: User) -> str:
    return keep_alive_link(alice, DeadlineKind.EXPIRED)


def unsubscribe(alice: User) -> str:
    return path_of(signed_links.unsubscribe_url(alice, DeadlineKind.IDLE))


def webhook(alice: User) -> str:
    created, _ = endpoints.create(
        alice, "https://hooks.example.com/portal", EventType.values, "ci-pipeline"
    )
    return reverse("webhook", args=[created.public_id])


def admin_monitor(alice: User) -> str:
    newest = Sandbox.objects.filter(owner=alice).latest("pk")
    return reverse("admin:sandboxes_sandbox_monitor", args=[newest.pk])


def admin_version(alice: User) -> str:
    active = BlueprintVersion.objects.get(is_active=True)
    return reverse("admin:sandboxes_blueprintversion_change", args=[active.pk])


def admin_sandbox(alice: User) -> str:
    newest = Sandbox.objects.filter(owner=alice).latest("pk")
    return reverse("admin:sandboxes_sandbox_change", args=[newest.pk])

"""Emails with a plain text and an HTML part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string


def send_templated(
    name: str, to: str, context: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Render and send the email with this name, which has three templates. Raises OSError."""
    shown = {**context, "site_url": settings.SITE_URL}

    def part(ending: str) -> str:
        return render_to_string(f"sandboxes/mail/{name}{ending}", shown)

    # Names of users may contain line breaks, which must not add headers.
    subject = " ".join(part("_subject.txt").split())
    email = EmailMultiAlternatives(subject, part(".txt"), None, [to], headers=dict(headers or {}))
    email.attach_alternative(part(".html"), "text/html")
    email.send()

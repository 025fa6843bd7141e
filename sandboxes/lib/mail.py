"""Letters of the portal: plain text, with an HTML part that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string


def send_templated(
    name: str, to: str, context: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Send the mail of this name, made of its three templates. Raises OSError."""
    shown = {**context, "site_url": settings.SITE_URL}

    def part(ending: str) -> str:
        return render_to_string(f"sandboxes/mail/{name}{ending}", shown)

    # Names come from people: no line of theirs becomes a header.
    subject = " ".join(part("_subject.txt").split())
    letter = EmailMultiAlternatives(subject, part(".txt"), None, [to], headers=dict(headers or {}))
    letter.attach_alternative(part(".html"), "text/html")
    letter.send()

"""Links from pages to the documentation."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse

from sandboxes.blueprints import find_for_sandbox
from sandboxes.documentation.headings import Anchors
from sandboxes.models import Sandbox, State

register = template.Library()


@register.simple_tag(takes_context=True)
def own_apis(context: dict[str, Any]) -> list[Sandbox]:
    """Return the reader's running sandboxes with a described API."""
    user = getattr(context.get("request"), "user", None)
    if user is None or not user.is_authenticated:
        return []
    running = user.sandboxes.filter(state=State.RUNNING).order_by("-created_at")
    return [
        sandbox
        for sandbox in running
        if (blueprint := find_for_sandbox(sandbox)) and blueprint.openapi_endpoint
    ]


@register.filter
def help_with_end(sandbox: Sandbox) -> str:
    """Return the URL of what the documentation says about the end of a sandbox."""
    anchor = Anchors().add(sandbox.get_end_reason_display())
    return f"{reverse('docs-page', args=['troubleshooting'])}#{anchor}"

"""Template tags of the portal's name and logo.

They need no request, because error pages and emails have none.
"""

from __future__ import annotations

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse

from sandboxes.lib import branding

register = template.Library()


@register.simple_tag
def portal_name() -> str:
    return str(settings.PORTAL_NAME)


@register.simple_tag
def logo_url() -> str:
    """Return the URL of the operator's logo; empty if the portal has its own."""
    logo = branding.logo()
    return f"{reverse('logo')}?v={logo.version}" if logo else ""


@register.simple_tag
def icon_url() -> str:
    """Return the URL of the icon for the browser's tab."""
    return logo_url() or static("favicon.svg")

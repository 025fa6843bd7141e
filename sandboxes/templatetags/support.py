"""Template tags that name the portal's administrator and the support contact.

They need no request, because error pages and emails have none.
"""

from __future__ import annotations

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes.lib import support

register = template.Library()
register.simple_tag(support.administrator)


@register.simple_tag
def administrator_link() -> SafeString:
    """Render the words for the portal's administrator, with the contact as a link."""
    if not (url := support.contact_url()):
        return SafeString("your administrator")
    shown = settings.SUPPORT_CONTACT
    return format_html('your administrator (<a href="{}">{}</a>)', url, shown)

"""Template filters of the API explorer."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

CODE = re.compile(r"(`{1,2})([^`]+)\1")


@register.filter
def with_code(text: str) -> SafeString:
    """Render text in backticks as code."""
    return mark_safe(CODE.sub(r"<code>\2</code>", escape(text)))  # noqa: S308 - it is escaped

"""What templates of the API explorer need besides `portal`."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

CODE = re.compile(r"(`{1,2})([^`]+)\1")


@register.filter
def with_code(text: str) -> SafeString:
    """Words in backticks, as descriptions of APIs have them, as code."""
    return mark_safe(CODE.sub(r"<code>\2</code>", escape(text)))  # noqa: S308 - it is escaped

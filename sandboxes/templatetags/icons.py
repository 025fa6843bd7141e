"""Lucide's icons, rendered once per process.

The package's own `lucide` tag builds the XML of each icon each time, which took a quarter of the
rendering time of a dashboard.
"""

from __future__ import annotations

from functools import lru_cache

from django import template
from lucide.templatetags.lucide import lucide

register = template.Library()
register.simple_tag(lru_cache(maxsize=500)(lucide), name="lucide")

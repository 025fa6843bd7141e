"""Lucide's icons, each drawn once for a process.

The package's own tag, which has the same name, builds the XML anew for every icon of every page: a
quarter of the time that a dashboard took.
"""

from __future__ import annotations

from functools import lru_cache

from django import template
from lucide.templatetags.lucide import lucide

register = template.Library()
register.simple_tag(lru_cache(maxsize=500)(lucide), name="lucide")

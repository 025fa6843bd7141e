"""Search among very many rows: each word becomes a condition that an index can answer.

Django's `search_fields` join tables with a condition on either side, for which the database reads
both tables completely.
"""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from sandboxes import blueprints
from sandboxes.models import Event, Sandbox
from sandboxes.models.sandbox import SandboxQuerySet

PUBLIC_ID = re.compile(r"sbx_[a-z0-9]{16}")
METADATA = re.compile(r"(?<!\S)(?P<key>[^\s=]+)=(?:\"(?P<quoted>[^\"]*)\"|(?P<word>\S*))")
MAX_INLINE_KEYS = 500


class BlueprintFilter(admin.SimpleListFilter):
    """Filter by installed blueprint. Finding others in the table would read all rows."""

    title = parameter_name = "blueprint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in blueprints.available()]

    def queryset(self, request: HttpRequest, rows: QuerySet[Sandbox]) -> QuerySet[Sandbox]:  # noqa: ARG002
        return rows.filter(blueprint=self.value()) if self.value() else rows


def search_sandboxes(rows: SandboxQuerySet, text: str) -> SandboxQuerySet:
    """Return sandboxes with each word in their id, their name, or the owner's email address.

    `key=value` and `key="some value"` are metadata.
    """
    for pair in METADATA.finditer(text):
        value = pair["word"] if pair["quoted"] is None else pair["quoted"]
        rows = rows.with_metadata({pair["key"]: value})
    text = METADATA.sub("", text)
    for word in text.split():
        rows = rows.filter(_matches(word))
    return rows


def _matches(word: str) -> Q:
    if PUBLIC_ID.fullmatch(word):
        return Q(public_id=word)
    owned = Q(owner__in=_keys(get_user_model().objects.filter(email__icontains=word)))
    if "@" in word:
        return owned
    return owned | Q(public_id__icontains=word) | Q(name__icontains=word)


def search_events(rows: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Return events for which each word is the sandbox's id, kind, or actor's email address."""
    for word in text.split():
        if PUBLIC_ID.fullmatch(word):
            rows = rows.filter(sandbox__in=_keys(Sandbox.objects.filter(public_id=word)))
        elif "@" in word:
            rows = rows.filter(actor__in=_keys(get_user_model().objects.filter(email__iexact=word)))
        else:
            rows = rows.filter(kind=word.lower())
    return rows


def _keys(rows: QuerySet[Any]) -> list[int] | QuerySet[Any]:
    """Return the keys inline if there are few, so that an ordered index can be used."""
    keys = list(rows.values_list("pk", flat=True)[: MAX_INLINE_KEYS + 1])
    return keys if len(keys) <= MAX_INLINE_KEYS else rows.values("pk")

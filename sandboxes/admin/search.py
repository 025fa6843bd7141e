"""How operators find rows among very many: each word of a search asks what an index can answer.

A join with a condition on either side, which is what Django makes of `search_fields`, would have
the database read both tables as a whole.
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

PUBLIC_ID = re.compile(r"sbx_[a-z0-9]{16}")
MAX_INLINE_KEYS = 500


class BlueprintFilter(admin.SimpleListFilter):
    """By blueprint, of those that the portal offers; all rows would have to be read for others."""

    title = parameter_name = "blueprint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in blueprints.available()]

    def queryset(self, request: HttpRequest, rows: QuerySet[Sandbox]) -> QuerySet[Sandbox]:  # noqa: ARG002
        return rows.filter(blueprint=self.value()) if self.value() else rows


def search_sandboxes(rows: QuerySet[Sandbox], text: str) -> QuerySet[Sandbox]:
    """Those of which each word is part of the id, the name or the owner's e-mail address."""
    for word in text.split():
        rows = rows.filter(_matches(word))
    return rows


def _matches(word: str) -> Q:
    if PUBLIC_ID.fullmatch(word):
        return Q(public_id=word)
    theirs = Q(owner__in=_keys(get_user_model().objects.filter(email__icontains=word)))
    if "@" in word:
        return theirs
    return theirs | Q(public_id__icontains=word) | Q(name__icontains=word)


def search_events(rows: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Those of which each word is the sandbox's id, the kind or the actor's e-mail address."""
    for word in text.split():
        if PUBLIC_ID.fullmatch(word):
            rows = rows.filter(sandbox__in=_keys(Sandbox.objects.filter(public_id=word)))
        elif "@" in word:
            rows = rows.filter(actor__in=_keys(get_user_model().objects.filter(email__iexact=word)))
        else:
            rows = rows.filter(kind=word.lower())
    return rows


def _keys(rows: QuerySet[Any]) -> list[int] | QuerySet[Any]:
    """Their keys; with few of them at hand, an index gives what is theirs in its order."""
    keys = list(rows.values_list("pk", flat=True)[: MAX_INLINE_KEYS + 1])
    return keys if len(keys) <= MAX_INLINE_KEYS else rows.values("pk")

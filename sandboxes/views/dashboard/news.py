"""The cards of an open dashboard that have changed since it was rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from django.db.models import prefetch_related_objects

from sandboxes.models import Sandbox
from sandboxes.views import pending_resets
from sandboxes.views.dashboard.summary import DashboardSummary
from sandboxes.views.helpers import Request
from sandboxes.views.sandbox_card import Card, cards

MAX_SHOWN = 100
"""Cards of a dashboard that a poll compares."""


@dataclass
class DashboardNews:
    """Cards to replace, and cards of which only the status has changed."""

    cards: list[Card] = field(default_factory=list)
    statuses: list[Card] = field(default_factory=list)
    finished_resets: list[str] = field(default_factory=list)
    """A sentence for each reset of which the page doesn't know yet that it has finished."""

    def __bool__(self) -> bool:
        return bool(self.cards or self.statuses)

    @classmethod
    def find(cls, request: Request, summary: DashboardSummary, shown: Sequence[str]) -> Self:
        """Compare cards with what the page shows of them: `ID.LAYOUT.STATUS` for each."""
        etags = dict(one.split(".", 1) for one in shown[:MAX_SHOWN] if "." in one)
        prefetch_related_objects([row for row in summary.live if row.started_at], "extensions")
        live = cards(summary.live, fleet=summary.fleet)
        gone = set(etags) - {row.public_id for row in summary.live}
        ended = cards(request.user.sandboxes.filter(public_id__in=gone)) if gone else []
        news = cls()
        for card in (*live, *ended):
            if etag := etags.get(card.sandbox.public_id):
                news._compare(request, card, etag)
        return news

    def _compare(self, request: Request, card: Card, etag: str) -> None:
        sandbox: Sandbox = card.sandbox
        is_reset = pending_resets.is_shown(request, sandbox) and not card.is_resetting
        if is_reset and card.is_running:
            self.cards.append(self._with_result(request, card))
        elif etag == card.etag:
            return
        elif etag.partition(".")[0] == card.layout_hash:
            self.statuses.append(card)
        else:
            self.cards.append(card)

    def _with_result(self, request: Request, card: Card) -> Card:
        result = pending_resets.take_result(request, card.sandbox)
        if result and not result.succeeded:
            return replace(card, error_message=result.message)
        self.finished_resets += [result.message] if result else []
        return card

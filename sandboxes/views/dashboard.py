"""The dashboard: what I have, what is left, and one click for another one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import reswap

from sandboxes import actions, clock, limits, presentation
from sandboxes.errors import Invalid, KeyReused, LimitReached, Refusal
from sandboxes.forms import LaunchForm
from sandboxes.models import Sandbox, Site
from sandboxes.views.base import Request, page
from sandboxes.views.cards import Card, cards, digest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RECENTLY_ENDED = 3


@dataclass(frozen=True)
class Overview:
    """What the top of the dashboard says about one user."""

    user: User

    @cached_property
    def live(self) -> list[Sandbox]:
        return list(self.user.sandboxes.live().newest_first())

    @cached_property
    def ended(self) -> list[Sandbox]:
        rows = self.user.sandboxes.ended().order_by("-ended_at", "-id")
        return list(rows[:RECENTLY_ENDED])

    @cached_property
    def active(self) -> list[Sandbox]:
        return [sandbox for sandbox in self.live if sandbox.is_active]

    @cached_property
    def limits(self) -> limits.Limits:
        return limits.limits_of(self.user)

    @property
    def places(self) -> list[bool]:
        """One for each place that the user has: whether it is taken."""
        free = max(0, self.limits.max_active - len(self.active))
        return [True] * len(self.active) + [False] * free

    @cached_property
    def full(self) -> LimitReached | None:
        return limits.refusal_for(self.user, self.limits, self.active)

    @property
    def frees_first(self) -> Sandbox | None:
        """The sandbox of the user's own that ends first, when the limit is reached."""
        name = self.full and self.full.frees_first
        return next((row for row in self.live if row.public_id == name), None)

    @property
    def full_words(self) -> str:
        whose = "All your places" if self.frees_first else "All places of this portal"
        return f"{whose} are taken."

    @property
    def wait_words(self) -> str:
        """What the wait is for, where that is the user's own."""
        if self.frees_first is None:
            return ""
        why = "idle" if self.frees_first.ends_because == "idle" else "its time is up then"
        return f" ({self.frees_first}: {why})"

    @cached_property
    def site(self) -> Site:
        return Site.current()

    @property
    def drained(self) -> bool:
        until = self.site.drained_until
        return until is not None and until > clock.now()

    @cached_property
    def warnings(self) -> list[Card]:
        """The sandboxes that end soon."""
        soon = [row for row in self.active if presentation.ending(row).soon]
        prefetch_related_objects(soon, "extensions")
        return [Card(row, site=self.site) for row in soon]

    @property
    def is_first_run(self) -> bool:
        return not self.live and not self.ended

    @cached_property
    def listed(self) -> str:
        """Changes when a sandbox appears that the page does not show yet."""
        return digest(max((row.pk for row in chain(self.live, self.ended)), default=0))

    @cached_property
    def seen(self) -> str:
        first = self.frees_first
        top = digest(
            self.places,
            self.full and (self.full.scope, first and (first.pk, first.ends_at)),
            self.drained and (self.site.drained_until, self.site.drain_message),
            [(card.sandbox.pk, card.ending, card.extension) for card in self.warnings],
        )
        return f"{self.listed}.{top}"


def _context(request: Request, form: LaunchForm | None = None) -> dict[str, object]:
    overview = Overview(request.user)
    notices = messages.get_messages(request)
    form = form or LaunchForm(request.user, own=overview.limits)
    prefetch_related_objects(overview.live, "extensions")
    live = cards(overview.live, notices, overview.site)
    return {
        "overview": overview,
        "blueprints": form.offered,
        "form": form,
        "live": live,
        "waits": any(card.waits for card in live),
        "ended": cards(overview.ended, notices, overview.site),
    }


@page
@require_GET
def dashboard(request: Request) -> HttpResponse:
    return render(request, "sandboxes/dashboard.html", _context(request))


@page
@require_GET
def overview(request: Request) -> HttpResponse:
    """News for an open dashboard: nothing, its top, or all of it when a sandbox has come up."""
    now, seen = Overview(request.user), request.GET.get("seen", "")
    if seen == now.seen:
        return HttpResponse(status=204)
    if seen.partition(".")[0] == now.listed:
        context = {
            "overview": now,
            "form": LaunchForm(request.user, own=now.limits),
            "out_of_band": True,
        }
        return reswap(render(request, "sandboxes/_overview.html", context), "none")
    return render(request, "sandboxes/_dashboard.html", _context(request))


@page
@require_http_methods(["GET", "POST"])
def launch(request: Request) -> HttpResponse:
    if request.method == "GET":
        # Where a form with a mistake was shown, its address stays behind.
        return redirect("dashboard")
    form = LaunchForm(request.user, request.POST)
    sandbox = _launch(request, form)
    if sandbox and not request.htmx:
        return redirect(f"{reverse('dashboard')}#card-{sandbox.public_id}")
    name = "_dashboard" if request.htmx else "dashboard"
    return render(request, f"sandboxes/{name}.html", _context(request, None if sandbox else form))


def _launch(request: Request, form: LaunchForm) -> Sandbox | None:
    """The sandbox that the form asked for, or None with the reason in the form."""
    if not form.is_valid():
        return None
    try:
        return actions.launch(request.user, form.request, form.cleaned_data["key"])[0]
    except Invalid as invalid:
        form.add_error(invalid.field if invalid.field in form.fields else None, str(invalid))
    except KeyReused:
        form.with_new_key().add_error(None, "This form was sent before; send it again as it is.")
    except Refusal as refusal:
        form.add_error(None, str(refusal))
    return None

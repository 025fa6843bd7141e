"""What the services write: by service, narrowed, followed, and taken home as a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_GET

from sandboxes.actions import logs
from sandboxes.lib import clock
from sandboxes.lib.exceptions import ServiceError, Unavailable
from sandboxes.models import Sandbox, State
from sandboxes.representations import display
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page
from sandboxes.views.sandbox_card import make_etag

SHOWN_LINES = 200
DOWNLOADED_LINES = 1000
MAX_FILTER_LENGTH = 100
FOLLOW_SECONDS = 600
"""So long it is followed without another click: a page that is left open costs little then."""


@dataclass(frozen=True)
class Log:
    """One service's log as somebody wants to see it, and what was found."""

    sandbox: Sandbox
    service: str = ""
    query: str = ""
    """Only lines with these, in whatever case."""
    until: int = 0
    """Followed until then (seconds since 1970); 0: not at all."""
    text: str = ""
    error: str = ""
    is_read: bool = True
    is_pending: bool = False
    """No answer yet, or the engine is away: the page asks again by itself."""
    max_lines: int = field(default=SHOWN_LINES, init=False)

    @cached_property
    def services(self) -> list[str]:
        return logs.service_names(self.sandbox)

    @property
    def is_live(self) -> bool:
        return self.sandbox.state in (State.PROVISIONING, State.RUNNING)

    @property
    def has_logs_or_will(self) -> bool:
        """There is a log, or there will be: its place is kept."""
        return self.sandbox.is_active

    @property
    def is_followed(self) -> bool:
        return self.is_live and self.until > clock.now().timestamp()

    @property
    def is_paused(self) -> bool:
        """It was followed, and for long enough."""
        return self.is_live and bool(self.until) and not self.is_followed

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def matches(self) -> list[str]:
        query = self.query.casefold()
        return [line for line in self.lines if query in line.casefold()]

    @property
    def query_string(self) -> str:
        """Of the address that shows the same again."""
        wanted = {"service": self.service, "q": self.query, "until": self.until}
        return urlencode({name: value for name, value in wanted.items() if value})

    @property
    def etag(self) -> str:
        return make_etag(self.is_followed, self.matches, self.error)


def lazy_log(sandbox: Sandbox) -> Log:
    """For a page that shows at once and has the log come after it."""
    services = logs.service_names(sandbox)
    preferred = "api" if "api" in services else "".join(services[:1])
    if not sandbox.is_active:
        return _final_log(sandbox)
    return Log(sandbox, preferred, is_read=sandbox.state == State.PENDING)


def _final_log(sandbox: Sandbox, query: str = "") -> Log:
    return Log(sandbox, query=query, text=display.final_logs(sandbox))


def _read(request: Request, sandbox: Sandbox) -> Log:
    """The log that the address asks for; a worker reads it, since only that reaches the engine."""
    asked = request.GET
    query = asked.get("q", "")[:MAX_FILTER_LENGTH]
    if sandbox.has_ended or sandbox.state == State.DESTROYING:
        return _final_log(sandbox, query)
    service, until = asked.get("service", ""), _until(request)
    try:
        text = logs.read_log(sandbox, service, SHOWN_LINES)
    except ServiceError as refused:
        # Until it runs, its services may not be there yet, which is no error.
        error = "" if sandbox.state == State.PROVISIONING else str(refused)
        late = isinstance(refused, Unavailable)
        return Log(sandbox, service, query, until, error=error, is_pending=late)
    return Log(sandbox, service, query, until, text)


def _until(request: Request) -> int:
    """As long as was promised when it began to be followed, and no longer than from now."""
    latest = int(clock.now().timestamp()) + FOLLOW_SECONDS
    if "follow" in request.GET:
        return latest
    said = request.GET.get("until", "")
    return min(int(said), latest) if said.isdecimal() and len(said) < len(str(latest)) + 1 else 0


@login_required_page
@require_GET
def read_logs(request: Request, public_id: str) -> HttpResponse:
    """The log as a page, as the section of one, or as nothing when it is followed and quiet."""
    log = _read(request, get_owned_sandbox(request, public_id))
    if not request.htmx:
        return render(request, "sandboxes/logs.html", {"log": log})
    if request.GET.get("etag") == log.etag:
        return HttpResponse(status=204)
    name = "_log_lines" if request.htmx.target == "log-lines" else "_logs"
    return render(request, f"sandboxes/{name}.html", {"log": log})


@login_required_page
@require_GET
def download_logs(request: Request, public_id: str) -> HttpResponse:
    """As many lines as can be had, as a file; where there are none to be had, the page says why."""
    sandbox = get_owned_sandbox(request, public_id)
    service = request.GET.get("service", "")
    try:
        live = sandbox.state in (State.PROVISIONING, State.RUNNING)
        text = (
            logs.read_log(sandbox, service, DOWNLOADED_LINES) if live else _final_log(sandbox).text
        )
    except ServiceError:
        address = reverse("logs", args=[public_id])
        return redirect(f"{address}?{urlencode({'service': service})}")
    name = slugify(f"{sandbox} {service}") or sandbox.public_id
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.log"'
    return answer

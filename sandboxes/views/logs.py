"""Service logs: view, filter, follow and download."""

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
"""How long a page follows a log until the user clicks again, so that idle pages cost little."""


@dataclass(frozen=True)
class Log:
    """The log of a service, filtered as the user asked."""

    sandbox: Sandbox
    service: str = ""
    query: str = ""
    """Text that lines must contain, ignoring case."""
    until: int = 0
    """Unix time until which the log is followed; 0 if it isn't."""
    text: str = ""
    error: str = ""
    is_read: bool = True
    is_pending: bool = False
    """No worker has answered yet or the engine is unreachable; the page retries."""
    max_lines: int = field(default=SHOWN_LINES, init=False)

    @cached_property
    def services(self) -> list[str]:
        return logs.service_names(self.sandbox)

    @property
    def is_live(self) -> bool:
        return self.sandbox.state in (State.PROVISIONING, State.RUNNING)

    @property
    def has_logs_or_will(self) -> bool:
        """Whether there are logs or will be, so that the page reserves space."""
        return self.sandbox.is_active

    @property
    def is_followed(self) -> bool:
        return self.is_live and self.until > clock.now().timestamp()

    @property
    def is_paused(self) -> bool:
        """Whether following stopped because its time was over."""
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
        """The query string that shows the same log again."""
        values = {"service": self.service, "q": self.query, "until": self.until}
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def etag(self) -> str:
        return make_etag(self.is_followed, self.matches, self.error)


def lazy_log(sandbox: Sandbox) -> Log:
    """Return a log that isn't read yet, for pages that load it afterwards."""
    services = logs.service_names(sandbox)
    preferred = "api" if "api" in services else "".join(services[:1])
    if not sandbox.is_active:
        return _final_log(sandbox)
    return Log(sandbox, preferred, is_read=sandbox.state == State.PENDING)


def _final_log(sandbox: Sandbox, query: str = "") -> Log:
    return Log(sandbox, query=query, text=display.final_logs(sandbox))


def _read(request: Request, sandbox: Sandbox) -> Log:
    """Read the requested log through a worker, since web processes don't reach the engine."""
    query = request.GET.get("q", "")[:MAX_FILTER_LENGTH]
    if sandbox.has_ended or sandbox.state == State.DESTROYING:
        return _final_log(sandbox, query)
    service, until = request.GET.get("service", ""), _until(request)
    try:
        text = logs.read_log(sandbox, service, SHOWN_LINES)
    except ServiceError as exc:
        # Services may not exist yet while the sandbox starts; that isn't an error.
        error = "" if sandbox.state == State.PROVISIONING else str(exc)
        late = isinstance(exc, Unavailable)
        return Log(sandbox, service, query, until, error=error, is_pending=late)
    return Log(sandbox, service, query, until, text)


def _until(request: Request) -> int:
    """Return the time until which to follow, at most FOLLOW_SECONDS from now."""
    latest = int(clock.now().timestamp()) + FOLLOW_SECONDS
    if "follow" in request.GET:
        return latest
    text = request.GET.get("until", "")
    is_time = text.isascii() and text.isdecimal() and len(text) <= len(str(latest))
    return min(int(text), latest) if is_time else 0


@login_required_page
@require_GET
def read_logs(request: Request, public_id: str) -> HttpResponse:
    """Show the log as a page or a fragment; return 204 if a followed log hasn't changed."""
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
    """Download the log; redirect to the page with the error if it can't be read."""
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
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.log"'
    return response

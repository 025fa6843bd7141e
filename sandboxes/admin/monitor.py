"""The admin page with the logs and the usage of one sandbox, for operators on call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET

from sandboxes.actions import logs
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import Sandbox
from sandboxes.representations import display
from sandboxes.usage import series

if TYPE_CHECKING:
    SandboxModelAdmin = admin.ModelAdmin[Sandbox]
else:
    SandboxModelAdmin = admin.ModelAdmin

MAX_SAMPLES = 30
MAX_LINES = 200


class MonitorMixin(SandboxModelAdmin):
    """Adds the page, and a link to it, to the admin of sandboxes."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.monitor))
        own = path("<int:object_id>/monitor/", view, name="sandboxes_sandbox_monitor")
        return [own, *super().get_urls()]

    def monitor(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Show usage samples, and the log of the service that `?service=` names."""
        sandbox = self.get_object(request, str(object_id))
        if sandbox is None:
            raise Http404
        if not self.has_view_permission(request, sandbox):
            raise PermissionDenied
        newest = list(sandbox.samples.order_by("-pk")[: MAX_SAMPLES + 1])
        points = series.to_series(newest[::-1], sandbox.started_at)
        services = logs.service_names(sandbox)
        service = request.GET.get("service") or "".join(services[:1])
        context = self.admin_site.each_context(request) | {
            "title": f"Logs and usage of {sandbox}",
            "opts": self.opts,
            "media": self.media,
            "sandbox": sandbox,
            "points": points[::-1][:MAX_SAMPLES],
            "services": services,
            "service": service,
            "max_lines": MAX_LINES,
            **_read_log(sandbox, service),
        }
        return TemplateResponse(request, "admin/monitor.html", context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if row := kwargs.get("obj"):
            context["monitor_url"] = reverse("admin:sandboxes_sandbox_monitor", args=[row.pk])
        return super().render_change_form(request, context, *args, **kwargs)


def _read_log(sandbox: Sandbox, service: str) -> dict[str, str]:
    """Return the log as `log`, or why it can't be read as `log_error`."""
    if not sandbox.is_active:
        return {"log": display.final_logs(sandbox)}
    try:
        return {"log": logs.read_log(sandbox, service, MAX_LINES)}
    except ServiceError as error:
        return {"log_error": str(error)}

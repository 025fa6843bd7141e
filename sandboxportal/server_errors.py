"""The response to a request that failed with an exception that no view handled."""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.defaults import server_error as default_server_error

from sandboxes.api.problems import DEFAULT_RETRY_AFTER_SECONDS, database_unavailable
from sandboxes.lib.database_errors import UNAVAILABLE, is_disk_full, unavailable_reason


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 with the reason if the database or the disk is to blame, or 500.

    It needs neither the database nor the session. Raised outside the API's own views, exceptions of
    API requests arrive here, too.
    """
    error = sys.exc_info()[1]
    if error is None or not (isinstance(error, UNAVAILABLE) or is_disk_full(error)):
        return default_server_error(request)
    if request.path.startswith("/api/"):
        return database_unavailable(request, error)
    page = render_to_string("503.html", {"reason": unavailable_reason(error)})
    headers = {"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)}
    return HttpResponse(page, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)

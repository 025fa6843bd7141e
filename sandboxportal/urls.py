"""Root URL configuration: pages, API, admin, health checks, and metrics."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from sandboxes.api import api
from sandboxes.api.methods import answer_every_method
from sandboxes.api.oauth import device_authorization_endpoint, token_endpoint
from sandboxes.api.root import api_root, unknown_path
from sandboxes.api.streams import read_streams
from sandboxes.metrics import health
from sandboxes.views import gateway

# Operators use the same sign-in page as users, with its rate limits and two-factor authentication.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler429 = "sandboxes.views.well_known.too_many_requests"
handler500 = "sandboxportal.server_errors.server_error"

urlpatterns = [
    path("", include("sandboxes.urls")),
    path("accounts/", include("allauth.urls")),
    # Replaces Django's page to change a password, which doesn't limit attempts.
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
    path(
        "api/v1/device_authorization",
        answer_every_method(device_authorization_endpoint),
        name="device-authorization",
    ),
    path("api/v1/token", answer_every_method(token_endpoint), name="token"),
    path("api/v1/", api.urls),
    # Without the slash, and what could be other versions.
    path("api/v1", answer_every_method(api_root)),
    re_path("^api(?:/|$)", answer_every_method(unknown_path)),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("gateway/routes", gateway.gateway_routes, name="gateway-routes"),
    re_path(
        "^gateway/authorize/(?P<host_label>sbx-[a-z0-9]+--[a-z0-9-]+)$",
        gateway.authorize,
        name="gateway-authorize",
    ),
    path("streams/read", read_streams, name="read-streams"),
    path("metrics", health.metrics, name="metrics"),
]

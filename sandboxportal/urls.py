"""Where everything is: pages, API, admin, probes."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from sandboxes import health
from sandboxes.api import api

# Operators sign in where everybody does: the same rate limits, the same second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler429 = "sandboxes.views.wellknown.too_many_tries"

urlpatterns = [
    path("", include("sandboxes.urls")),
    path("accounts/", include("allauth.urls")),
    # Passwords are changed there as well: Django's own page for it counts no tries.
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]

"""The pages of the portal."""

from __future__ import annotations

from django.urls import path

from sandboxes.views import dashboard, history, logs, sandbox, tokens, usage

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("overview/", dashboard.overview, name="overview"),
    path("history/", history.history, name="history"),
    path("sandboxes/", dashboard.launch, name="launch"),
    path("sandboxes/<str:public_id>/", sandbox.detail, name="sandbox"),
    path("sandboxes/<str:public_id>/card/", sandbox.card, name="card"),
    path("sandboxes/<str:public_id>/journal/", sandbox.journal, name="journal"),
    path("sandboxes/<str:public_id>/logs/", logs.read_logs, name="logs"),
    path("sandboxes/<str:public_id>/logs/download/", logs.download_logs, name="download-logs"),
    path("sandboxes/<str:public_id>/usage/", usage.usage, name="usage"),
    path("sandboxes/<str:public_id>/again/", history.launch_again, name="again"),
    path("sandboxes/<str:public_id>/credentials/", sandbox.credentials, name="credentials"),
    path("sandboxes/<str:public_id>/extend/", sandbox.extend, name="extend"),
    path("sandboxes/<str:public_id>/touch/", sandbox.touch, name="touch"),
    path("sandboxes/<str:public_id>/fund/", sandbox.fund, name="fund"),
    path("sandboxes/<str:public_id>/reset/", sandbox.reset, name="reset"),
    path("sandboxes/<str:public_id>/destroy/", sandbox.destroy, name="destroy"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="revoke-token"),
]

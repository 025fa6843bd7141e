"""The pages of the portal."""

from __future__ import annotations

from django.urls import path

from sandboxes.views import (
    accounts,
    dashboard,
    downloads,
    explorer,
    history,
    logs,
    sandbox,
    tokens,
    usage,
    wellknown,
)

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("overview/", dashboard.overview, name="overview"),
    path("clear/", dashboard.clear, name="clear"),
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
    path("sandboxes/<str:public_id>/credentials/env/", downloads.env_file, name="env-file"),
    path("sandboxes/<str:public_id>/credentials/postman/", downloads.collection, name="postman"),
    path("sandboxes/<str:public_id>/openapi.json", downloads.specification, name="own-openapi"),
    path("sandboxes/<str:public_id>/api/", explorer.explorer, name="explorer"),
    path("sandboxes/<str:public_id>/api/send/", explorer.send, name="explorer-send"),
    path("sandboxes/<str:public_id>/extend/", sandbox.extend, name="extend"),
    path("sandboxes/<str:public_id>/touch/", sandbox.touch, name="touch"),
    path("sandboxes/<str:public_id>/fund/", sandbox.fund, name="fund"),
    path("sandboxes/<str:public_id>/reset/", sandbox.reset, name="reset"),
    path("sandboxes/<str:public_id>/destroy/", sandbox.destroy, name="destroy"),
    path("invitations/<str:signed>/", accounts.invitation, name="invitation"),
    path("sessions/<int:pk>/end/", accounts.end_session, name="end-session"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="revoke-token"),
    path("favicon.ico", wellknown.favicon, name="favicon"),
    path("robots.txt", wellknown.robots, name="robots"),
]

"""URLs of the portal's pages."""

from __future__ import annotations

from django.urls import path

from sandboxes.views import (
    accounts,
    client,
    device,
    documentation,
    downloads,
    email_links,
    gateway,
    history,
    logs,
    preferences,
    sandbox,
    tokens,
    usage,
    webhooks,
    well_known,
)
from sandboxes.views.dashboard import views as dashboard
from sandboxes.views.explorer import requests
from sandboxes.views.explorer import views as explorer
from sandboxes.views.inbox import events as inbox
from sandboxes.views.save_points import views as save_points

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("overview/", dashboard.overview, name="overview"),
    path("dismiss-ended/", dashboard.dismiss_ended, name="dismiss-ended"),
    path("history/", history.history, name="history"),
    path("history/usage/", history.own_usage, name="own-usage"),
    path("sandboxes/", dashboard.launch, name="launch"),
    path("launch-options/", dashboard.launch_options, name="launch-options"),
    path("sandboxes/<str:public_id>/", sandbox.detail, name="sandbox"),
    path("sandboxes/<str:public_id>/card/", sandbox.card, name="card"),
    path("sandboxes/<str:public_id>/journal/", sandbox.journal, name="journal"),
    path("sandboxes/<str:public_id>/logs/", logs.read_logs, name="logs"),
    path("sandboxes/<str:public_id>/logs/download/", logs.download_logs, name="download-logs"),
    path("sandboxes/<str:public_id>/usage/", usage.usage, name="usage"),
    path("sandboxes/<str:public_id>/relaunch/", history.relaunch, name="relaunch"),
    path("sandboxes/<str:public_id>/credentials/", sandbox.credentials, name="credentials"),
    path("sandboxes/<str:public_id>/credentials/env/", downloads.env_file, name="download-env"),
    path(
        "sandboxes/<str:public_id>/credentials/postman/",
        downloads.collection,
        name="download-postman",
    ),
    path(
        "sandboxes/<str:public_id>/openapi.json", downloads.specification, name="download-openapi"
    ),
    path("sandboxes/<str:public_id>/api/", explorer.explorer, name="explorer"),
    path("sandboxes/<str:public_id>/api/reference/", explorer.reference, name="api-reference"),
    path("sandboxes/<str:public_id>/api/send/", explorer.send, name="explorer-send"),
    path("sandboxes/<str:public_id>/requests/", requests.show, name="requests"),
    path(
        "sandboxes/<str:public_id>/requests/<str:log_id>/repeat/",
        requests.repeat,
        name="repeat-request",
    ),
    path("sandboxes/<str:public_id>/inbox/", inbox.show, name="inbox"),
    path("sandboxes/<str:public_id>/inbox/events/", inbox.events, name="inbox-events"),
    path("sandboxes/<str:public_id>/inbox/create/", inbox.create, name="create-event"),
    path("sandboxes/<str:public_id>/inbox/clock/", inbox.change_clock, name="change-clock"),
    path(
        "sandboxes/<str:public_id>/inbox/<str:event_id>/replay/", inbox.replay, name="replay-event"
    ),
    path(
        "sandboxes/<str:public_id>/inbox/endpoints/<str:endpoint_id>/",
        inbox.misbehave,
        name="misbehave",
    ),
    path(
        "sandboxes/<str:public_id>/open/<str:label>/", gateway.open_endpoint, name="open-endpoint"
    ),
    path("sandboxes/<str:public_id>/save-points/", save_points.create, name="save"),
    path("sandboxes/<str:public_id>/extend/", sandbox.extend, name="extend"),
    path("sandboxes/<str:public_id>/touch/", sandbox.touch, name="touch"),
    path("sandboxes/<str:public_id>/retry-funding/", sandbox.retry_funding, name="retry-funding"),
    path("sandboxes/<str:public_id>/rename/", sandbox.rename, name="rename"),
    path("sandboxes/<str:public_id>/replace/", sandbox.replace_unreachable, name="replace"),
    path("sandboxes/<str:public_id>/reset/", sandbox.reset, name="reset"),
    path("sandboxes/<str:public_id>/destroy/", sandbox.destroy, name="destroy"),
    path("invitations/<str:signed>/", accounts.invitation, name="invitation"),
    path("sessions/<int:session>/end/", accounts.end_session, name="end-session"),
    path("save-points/", save_points.save_point_list, name="save-points"),
    path(
        "save-points/<str:save_point_id>/restore/", save_points.restore, name="restore-save-point"
    ),
    path("save-points/<str:save_point_id>/launch/", save_points.launch, name="launch-save-point"),
    path("save-points/<str:save_point_id>/rename/", save_points.rename, name="rename-save-point"),
    path("save-points/<str:save_point_id>/delete/", save_points.delete, name="delete-save-point"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="revoke-token"),
    path("cli/", client.client_page, name="client"),
    path("cli/<str:name>", client.client_file, name="client-package"),
    path("device/", device.device, name="device"),
    path("docs/", documentation.start, name="docs"),
    path("docs/search/", documentation.search, name="docs-search"),
    path(
        "docs/operators/<path:operators_page>/",
        documentation.operators_page,
        name="docs-operators",
    ),
    path("docs/<path:page>/", documentation.page, name="docs-page"),
    path("favicon.ico", well_known.favicon, name="favicon"),
    path("logo", well_known.logo, name="logo"),
    path("robots.txt", well_known.robots, name="robots"),
    path("webhooks/", webhooks.webhook_list, name="webhooks"),
    path("webhooks/<str:webhook_id>/", webhooks.webhook, name="webhook"),
    path("webhooks/<str:webhook_id>/log/", webhooks.log, name="webhook-log"),
    path("webhooks/<str:webhook_id>/test/", webhooks.test, name="test-webhook"),
    path("webhooks/<str:webhook_id>/toggle/", webhooks.toggle, name="toggle-webhook"),
    path("webhooks/<str:webhook_id>/rotate/", webhooks.rotate, name="rotate-webhook"),
    path("webhooks/<str:webhook_id>/delete/", webhooks.delete, name="delete-webhook"),
    path("webhooks/<str:webhook_id>/<str:message_id>/", webhooks.resend, name="resend-delivery"),
    path("preferences/", preferences.preferences, name="preferences"),
    path("preferences/notify-me/", preferences.notify_me, name="notify-me"),
    path("warnings/", preferences.warnings, name="warnings"),
    # Emails that were already sent link to this path.
    path("keep/<str:token>/", email_links.keep_alive, name="keep-from-email"),
    path("unsubscribe/<str:token>/", email_links.unsubscribe, name="unsubscribe"),
]

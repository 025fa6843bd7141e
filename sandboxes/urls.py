"""The pages of the portal."""

from __future__ import annotations

from django.urls import path

from sandboxes.views import dashboard, preferences, sandbox, signed, tokens, webhooks

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("overview/", dashboard.overview, name="overview"),
    path("history/", dashboard.history, name="history"),
    path("sandboxes/", dashboard.launch, name="launch"),
    path("sandboxes/<str:public_id>/", sandbox.detail, name="sandbox"),
    path("sandboxes/<str:public_id>/card/", sandbox.card, name="card"),
    path("sandboxes/<str:public_id>/journal/", sandbox.journal, name="journal"),
    path("sandboxes/<str:public_id>/logs/", sandbox.read_logs, name="logs"),
    path("sandboxes/<str:public_id>/credentials/", sandbox.credentials, name="credentials"),
    path("sandboxes/<str:public_id>/extend/", sandbox.extend, name="extend"),
    path("sandboxes/<str:public_id>/touch/", sandbox.touch, name="touch"),
    path("sandboxes/<str:public_id>/fund/", sandbox.fund, name="fund"),
    path("sandboxes/<str:public_id>/reset/", sandbox.reset, name="reset"),
    path("sandboxes/<str:public_id>/destroy/", sandbox.destroy, name="destroy"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="revoke-token"),
    path("webhooks/", webhooks.webhook_list, name="webhooks"),
    path("webhooks/<str:webhook_id>/", webhooks.webhook, name="webhook"),
    path("webhooks/<str:webhook_id>/log/", webhooks.log, name="webhook-log"),
    path("webhooks/<str:webhook_id>/test/", webhooks.test, name="test-webhook"),
    path("webhooks/<str:webhook_id>/switch/", webhooks.switch, name="switch-webhook"),
    path("webhooks/<str:webhook_id>/rotate/", webhooks.rotate, name="rotate-webhook"),
    path("webhooks/<str:webhook_id>/delete/", webhooks.delete, name="delete-webhook"),
    path("webhooks/<str:webhook_id>/<str:message_id>/", webhooks.send_again, name="send-again"),
    path("preferences/", preferences.preferences, name="preferences"),
    path("preferences/notify-me/", preferences.notify_me, name="notify-me"),
    path("warnings/", preferences.warnings, name="warnings"),
    path("keep/<str:token>/", signed.rescue, name="rescue"),
    path("unsubscribe/<str:token>/", signed.unsubscribe, name="unsubscribe"),
]

"""The app's configuration: registers system checks and signal receivers."""

from __future__ import annotations

from django.apps import AppConfig


class SandboxesConfig(AppConfig):
    name = "sandboxes"
    verbose_name = "Portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # These modules need the settings and models, which are loaded only now.
        from allauth.account.signals import (
            password_changed,
            password_reset,
            password_set,
            user_signed_up,
        )
        from celery.signals import task_prerun
        from django.contrib.auth.signals import user_logged_in, user_logged_out

        from sandboxes import checks
        from sandboxes.accounts import invitations, known_browsers, sessions
        from sandboxes.core import disk_reserve
        from sandboxes.models.runtime_settings import config
        from sandboxes.notifications import event_mails
        from sandboxes.webhooks import publish
        from sandboxes.webhooks.inbox import feeds

        checks.register()
        publish.connect()
        feeds.connect()
        event_mails.connect()
        user_signed_up.connect(
            lambda request, user, **_: invitations.accept(request, user), weak=False
        )
        user_logged_out.connect(sessions.delete_current_session)
        task_prerun.connect(lambda **_: disk_reserve.release_if_full(), weak=False)
        user_logged_in.connect(sessions.note_sign_in)
        user_logged_out.connect(sessions.note_sign_out)
        for signal in (user_logged_in, password_changed, password_reset, password_set):
            signal.connect(known_browsers.note)
        task_prerun.connect(lambda **_: config.refresh(), weak=False)

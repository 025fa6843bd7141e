"""The app: one that registers its system checks and who listens to the journal."""

from __future__ import annotations

from django.apps import AppConfig


class SandboxesConfig(AppConfig):
    name = "sandboxes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # These need the settings, which are there only now.
        from celery.signals import task_prerun

        from sandboxes import announcing, checks
        from sandboxes.models.tuning import settings

        checks.register()
        announcing.connect()
        task_prerun.connect(lambda **_: settings.refresh(), weak=False)

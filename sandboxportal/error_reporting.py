"""Error reports that name variables and their types, but don't contain their values.

Django's own filter hides nothing while DEBUG is on, and otherwise only marked variables.
"""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class RedactingReporterFilter(SafeExceptionReporterFilter):
    """Redacts Django's debug page and the error mails to administrators."""

    def is_active(self, request: HttpRequest | None) -> bool:  # noqa: ARG002 - Django's signature
        return True

    def get_traceback_frame_variables(
        self,
        request: HttpRequest | None,  # noqa: ARG002 - Django's signature
        tb_frame: FrameType,
    ) -> ItemsView[str, str]:
        return {name: type(value).__name__ for name, value in tb_frame.f_locals.items()}.items()

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, str]:
        return dict.fromkeys(request.POST, self.cleansed_substitute) if request else {}

"""The audit log: actions of operators, append-only."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models

from sandboxes.lib import clock


class AuditIsAppendOnly(Exception):
    """Code tried to change or delete an audit entry."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **_: object) -> NoReturn:
        raise AuditIsAppendOnly("The audit log is append-only.")

    def delete(self) -> NoReturn:
        raise AuditIsAppendOnly("The audit log is append-only.")


class AuditEntry(models.Model):
    """An action of an operator, described in text, so that it outlives accounts and sandboxes.

    Database triggers enforce that entries don't change (`sandboxes.models.abstract.append_only`).
    """

    at = models.DateTimeField(default=clock.now)
    actor = models.CharField(max_length=254)
    """The operator's email address at that time."""
    address = models.GenericIPAddressField(null=True)
    """The operator's IP address."""
    action = models.CharField(max_length=40)
    model = models.CharField(max_length=40)
    """Verbose name of the subject's model: `sandbox`, `user`…"""
    subject = models.CharField(max_length=200)
    subject_key = models.CharField(max_length=40)
    affected_user = models.CharField(max_length=254, blank=True)
    """Email address of the user who is affected."""
    reason = models.CharField(max_length=200)
    changes = models.JSONField(default=dict)
    """Old and new value of each changed field."""

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~models.Q(reason=""), name="auditentry_reason_required"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="audit_by_time"),
            models.Index(fields=["model", "subject_key"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditIsAppendOnly("The audit log is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *_: object, **__: object) -> NoReturn:
        raise AuditIsAppendOnly("The audit log is append-only.")

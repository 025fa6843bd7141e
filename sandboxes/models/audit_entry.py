"""What operators did, to whom and why: written once, never changed, never deleted."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models

from sandboxes.lib import clock


class AuditIsAppendOnly(Exception):
    """The audit was asked to change or forget what it says."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **_: object) -> NoReturn:
        raise AuditIsAppendOnly("The audit is append-only.")

    def delete(self) -> NoReturn:
        raise AuditIsAppendOnly("The audit is append-only.")


class AuditEntry(models.Model):
    """One act of one operator. In words of its own, so that it outlives accounts and sandboxes.

    Triggers of the database stand behind it (`sandboxes.models.append_only`).
    """

    at = models.DateTimeField(default=clock.now)
    by = models.CharField(max_length=254)
    """The operator's e-mail address at that time."""
    address = models.GenericIPAddressField(null=True)
    """From where."""
    act = models.CharField(max_length=40)
    kind = models.CharField(max_length=40)
    """Of what the subject is: `sandbox`, `user`…"""
    subject = models.CharField(max_length=200)
    subject_key = models.CharField(max_length=40)
    concerns = models.CharField(max_length=254, blank=True)
    """The e-mail address of the person to whom it was done."""
    reason = models.CharField(max_length=200)
    changes = models.JSONField(default=dict)
    """By field: what it was before, and what it is now."""

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit"
        constraints: ClassVar = [
            models.CheckConstraint(condition=~models.Q(reason=""), name="every_act_has_a_reason")
        ]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="audit_by_time"),
            models.Index(fields=["kind", "subject_key"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.act} {self.subject}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditIsAppendOnly("The audit is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *_: object, **__: object) -> NoReturn:
        raise AuditIsAppendOnly("The audit is append-only.")

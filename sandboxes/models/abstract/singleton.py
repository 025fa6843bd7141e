"""Tables with one row for the whole portal."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q


class Singleton(models.Model):
    """A table with one row, whose primary key is 1."""

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(pk=1), name="%(class)s_singleton")
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.pk = 1
        super().save(*args, **kwargs)

    @classmethod
    def current(cls) -> Self:
        """Return the row; create it if it is missing."""
        return cls._default_manager.get_or_create(pk=1)[0]

    @classmethod
    def read(cls) -> Self:
        """Return the row, or one with default values that isn't saved."""
        return cls._default_manager.filter(pk=1).first() or cls(pk=1)

    @classmethod
    def store(cls, **values: Any) -> None:
        """Save the values in one query; other columns keep theirs."""
        if not cls._default_manager.filter(pk=1).update(**values):
            cls._default_manager.update_or_create(pk=1, defaults=values)

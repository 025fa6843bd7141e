"""The lock under which sandboxes are counted against the limits."""

from __future__ import annotations

from sandboxes.models.abstract.singleton import Singleton


class LaunchLock(Singleton):
    """The row that a transaction locks before it counts sandboxes and launches another."""

    @classmethod
    def acquire(cls) -> None:
        """Lock the row until the transaction ends."""
        cls.objects.select_for_update().get_or_create(pk=1)

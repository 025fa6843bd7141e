"""All engines together, as their rows describe them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from sandboxes.lib import clock
from sandboxes.models import Engine, Sandbox
from sandboxes.models.runtime_settings import config


@dataclass(frozen=True)
class Fleet:
    """The engines that operators have not removed, by name."""

    engines: Sequence[Engine]

    @classmethod
    def read(cls) -> Self:
        """Read all engines, with one query once the row of the default engine exists."""
        return cls.of(Engine.objects.present())

    @classmethod
    def of(cls, engines: Iterable[Engine]) -> Self:
        return cls(list(engines) or [Engine.default()])

    @property
    def open(self) -> list[Engine]:
        """The engines that get new sandboxes.

        Engines that are away get some only if no other is left: their launches wait.
        """
        wanted = [engine for engine in self.engines if engine.draining_since is None]
        return [engine for engine in wanted if engine.away_since is None] or wanted

    @property
    def is_single(self) -> bool:
        return len(self.engines) == 1

    @property
    def away_for_long(self) -> dict[str, Engine]:
        """The engines, by name, whose sandboxes may be replaced; never a single one."""
        now, minutes = clock.now(), timedelta(minutes=config.SANDBOX_ENGINE_AWAY_MINUTES)
        return {
            engine.name: engine
            for engine in ([] if self.is_single else self.engines)
            if engine.away_since and clock.is_older(engine.away_since, now, minutes)
        }

    def record_silence(self, engine: Engine) -> None:
        """Place nothing more on an engine that gave no answer, until a sweep gets one."""
        if not self.is_single and engine.away_since is None:
            engine.store(away_since=clock.now())

    def engine_of(self, sandbox: Sandbox) -> Engine:
        """Return the engine of a sandbox, without a query unless the engine was removed."""
        found = (engine for engine in self.engines if engine.name == sandbox.engine_id)
        return next(found, None) or sandbox.engine

    def total(self, field: str) -> int | None:
        """Return the sum of a column of all engines; None if no engine has a value."""
        values = [value for each in self.engines if (value := getattr(each, field)) is not None]
        return sum(values) if values else None

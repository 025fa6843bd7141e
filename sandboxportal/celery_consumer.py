"""The worker's consumer of messages: it rejects malformed ones and reports that it is alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from vine import promise

from sandboxes.worker.heartbeat import Heartbeat


class Consumer(CeleryConsumer):
    """Celery's consumer, with a heartbeat, and resistant to messages with wrong types."""

    hub: Any
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heartbeat = Heartbeat()

    def create_task_handler(self, promise: Any = promise) -> Callable[[Any], Any]:
        """Return the handler of messages; called whenever the main loop starts."""
        if self.hub:
            # The loop for brokers with an event loop performs no pending operations.
            self.hub.on_tick.add(self.heartbeat.record_progress)
        if not self.heartbeat.is_alive():
            self.heartbeat.start()
        handle = super().create_task_handler(promise)
        broker_errors = (*self.connection_errors, *self.channel_errors)

        def on_task_received(message: Any) -> Any:
            try:
                return handle(message)
            except broker_errors:
                raise
            except Exception as error:  # noqa: BLE001 - of any content
                return self.on_invalid_task(None, message, error)

        return on_task_received

    def perform_pending_operations(self) -> None:
        self.heartbeat.record_progress()
        super().perform_pending_operations()

"""Bytes that passed between a sandbox and its callers."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RESPONSE_RATIO = 2
"""Sent bytes that count per received byte; the response to a ready check is about as long as it."""


@dataclass(frozen=True)
class NetworkBytes:
    """Bytes received and sent by services, measured on the host's side of their network."""

    received: int
    sent: int

    @property
    def activity_bytes(self) -> int:
        """Bytes that count as activity: those sent in response to requests.

        A host announces itself on every new interface: about 400 bytes are received in the first
        seconds, to which no service responds. A service that only sends, such as metrics that can't
        be delivered, doesn't receive a response either.
        """
        return min(self.sent, MAX_RESPONSE_RATIO * self.received)

    def without(self, other: NetworkBytes) -> NetworkBytes:
        """Return what remains without the other bytes."""
        return NetworkBytes(max(0, self.received - other.received), max(0, self.sent - other.sent))

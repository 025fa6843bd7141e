"""Subscribers: create and change."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from ..web import Call, Operation, invalid
from .crud import read_operations
from .models import (
    CONTROL,
    NAME_PATTERN,
    SUBSCRIBERS,
    Line,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    Subscriber,
)
from .stellar import is_address
from .table import PageQuery, provided_fields

SubscriberName = Annotated[str, Meta(min_length=1, max_length=120, pattern=NAME_PATTERN)]
Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=rf"^[^@\s{CONTROL}]+@[^@\s{CONTROL}]+\.[^@\s.{CONTROL}]+\Z",
        examples=["ada@example.com"],
    ),
]
Country = Annotated[
    str, Meta(pattern=r"^[A-Z]{2}\Z", description="ISO 3166-1 code", examples=["DE"])
]
StellarAddress = Annotated[str, Meta(pattern=r"^G[A-Z2-7]{55}\Z")]


class NewSubscriber(Struct, forbid_unknown_fields=True):
    """A new subscriber. Email addresses are unique, ignoring case."""

    name: SubscriberName
    email: Email
    country: Country
    company: Line = ""
    stellar_address: StellarAddress | None = None
    metadata: MetadataInput = {}


class SubscriberChanges(Struct, forbid_unknown_fields=True):
    """Changes to a subscriber."""

    name: SubscriberName | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    company: Line | UnsetType = UNSET
    stellar_address: StellarAddress | UnsetType | None = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class SubscriberQuery(PageQuery, kw_only=True):
    """Filters of the list of subscribers."""

    email: Email | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    stellar_address: StellarAddress | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def create(call: Call) -> Subscriber:
    """Create a subscriber."""
    return SUBSCRIBERS.insert(call.cursor, **_check_address(structs.asdict(call.body)))


def update(call: Call) -> Subscriber:
    """Change a subscriber."""
    SUBSCRIBERS.get(call.cursor, call.id, lock=True)
    return SUBSCRIBERS.update(call.cursor, call.id, **_check_address(provided_fields(call.body)))


def _check_address(values: dict[str, Any]) -> dict[str, Any]:
    address = values.get("stellar_address")
    if address and not is_address(address):
        raise invalid("stellar_address", "invalid checksum; check for typing errors")
    return values


OPERATIONS = [
    *read_operations(SUBSCRIBERS, SubscriberQuery),
    Operation(
        "createSubscriber",
        "POST",
        "/v1/subscribers",
        "Create a subscriber",
        create,
        Subscriber,
        NewSubscriber,
        status=201,
    ),
    Operation(
        "updateSubscriber",
        "PATCH",
        "/v1/subscribers/{id}",
        "Change a subscriber",
        update,
        Subscriber,
        SubscriberChanges,
    ),
]
